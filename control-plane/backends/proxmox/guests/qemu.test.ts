import { describe, expect, it } from 'vitest';
import type { Attachment, InstanceSpec, Network, VmOptions, VolumeId } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { bridged, bridgedNetwork } from '../../../../test/fakes/cluster-networks.ts';
import { newSpec } from '../../../../test/conformance/backend.ts';
import type { Configuration, GuestChanges, SpecContext } from './guest-kind.ts';
import { serialOf } from './qemu-disks.ts';
import { qemuKind } from './qemu.ts';

const version = { major: 8, minor: 4 };
const context: SpecContext = { node: 'pve1', vmid: 7200, version, storageOf: (pool) => pool || 'local' };
const onFiles: SpecContext = { ...context, diskFormat: () => 'qcow2' };
const mark = { tag: 'drover-0123456789ab', line: 'drover:instance=…' };
const cloudImage = { kind: 'import', volid: 'local:import/noble.qcow2' } as const;
const key = `ssh-ed25519 ${'A'.repeat(68)} user+test@example.test`;

const eth0 = bridged({
  addresses: ['10.99.86.120/24', 'fd00::5/64'],
  gateways: ['10.99.86.1', 'fd00::1'],
  mtu: 1400,
  vlan: 12,
});
const claim = { name: 'data', mountPath: '/data', sizeMib: 1500, pool: 'btr', readOnly: false, keep: false };
const plain = newSpec({
  runtime: 'proxmox-vm',
  image: `https://images.example/noble.img@sha256:${'a'.repeat(64)}`,
  command: [],
  displayName: 'web-x7k2p',
  resources: { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 4096 },
});
const richVm: VmOptions = {
  ...plainVmOptions,
  cpuType: 'host',
  sockets: 2,
  balloonMib: 256,
  numa: true,
  bios: 'ovmf',
  machine: 'q35',
  tpm: true,
  serial: true,
  display: 'serial0',
  cloudInit: { user: 'admin', sshKeys: [key] },
  disk: { bus: 'scsi', cache: 'writeback', discard: true, ssd: true, iothread: true },
};
const rich: InstanceSpec = {
  ...plain,
  resources: { cpuMillicores: 3500, memoryMib: 1024, diskMib: 5000, pids: 4096 },
  network: 'bridged',
  dns: { servers: ['10.99.86.1', '9.9.9.9'], search: ['example.test'], options: [] },
  startOrder: 3,
  volumes: [claim],
  vm: richVm,
  cluster: { ...plainClusterOptions, pool: 'team', tags: ['blue', 'web'], protection: true },
  assigned: {
    ...emptyAssignment,
    attachments: [eth0],
    volumes: [{ name: 'data', volumeId: 'v' as VolumeId }],
  },
};

/** As the cluster tells it for the rich spec. */
const richConfig: Configuration = {
  agent: 'enabled=1',
  balloon: 256,
  bios: 'ovmf',
  boot: 'order=scsi0',
  ciuser: 'admin',
  cores: 2,
  cpu: 'host',
  cpulimit: '3.5',
  description: 'drover:instance=…\n',
  digest: 'd7f9',
  efidisk0: 'local:7200/vm-7200-disk-2.raw,efitype=4m,size=528K',
  ide2: 'local:7200/vm-7200-cloudinit.qcow2,media=cdrom',
  ipconfig0: 'ip=10.99.86.120/24,gw=10.99.86.1,ip6=fd00::5/64,gw6=fd00::1',
  machine: 'q35',
  memory: '1024',
  meta: 'creation-qemu=9.2.0,ctime=1795424896',
  name: 'web-x7k2p',
  nameserver: '10.99.86.1 9.9.9.9',
  net0: 'virtio=02:A1:B2:C3:D4:E5,bridge=vmbr0,tag=12,mtu=1400',
  numa: 1,
  onboot: 1,
  ostype: 'l26',
  protection: 1,
  scsi0: 'local:7200/vm-7200-disk-0.raw,cache=writeback,discard=on,iothread=1,size=5G,ssd=1',
  scsi1: 'btr:7200/vm-7200-disk-1.raw,cache=writeback,discard=on,iothread=1,serial=data,size=2G,ssd=1',
  scsihw: 'virtio-scsi-single',
  searchdomain: 'example.test',
  serial0: 'socket',
  smbios1: 'uuid=5756ca1e-b323-4116-a82b-58b4ca8c49c9',
  sockets: 2,
  sshkeys: encodeURIComponent(`${key}\n`),
  startup: 'order=3',
  tags: 'blue;drover-0123456789ab;web',
  tpmstate0: 'local:7200/vm-7200-disk-3.raw,size=4M,version=v2.0',
  vga: 'serial0',
  vmgenid: 'ff6afc15-aa45-4fe2-ba7e-fcc8095ff343',
};
const none: GuestChanges = { set: {}, unset: [], grow: [], refused: [] };
const bareConfig: Configuration = {
  agent: '1',
  boot: 'order=scsi0',
  cores: 1,
  memory: '512',
  onboot: 1,
  ostype: 'l26',
  scsi0: 'local:7200/vm-7200-disk-0.qcow2,size=2G',
};

describe('a virtual machine of a cluster', () => {
  it('is made of a cloud image, with what the cluster gives where nothing is said', () => {
    const { method, parameters } = qemuKind.create(plain, { ...context, image: cloudImage, mark });
    expect(method).toBe('POST /nodes/{node}/qemu');
    expect(parameters).toEqual({
      node: 'pve1',
      vmid: 7200,
      name: 'web-x7k2p',
      scsihw: 'virtio-scsi-single',
      tags: mark.tag,
      description: mark.line,
      memory: 512,
      cores: 1,
      agent: 'enabled=1',
      ostype: 'l26',
      onboot: true,
      scsi0: 'local:0,import-from=local:import/noble.qcow2',
      boot: 'order=scsi0',
    });
  });

  it('is made with all that a spec can say', () => {
    expect(qemuKind.create(rich, { ...onFiles, image: cloudImage, mark }).parameters).toEqual({
      node: 'pve1',
      vmid: 7200,
      name: 'web-x7k2p',
      scsihw: 'virtio-scsi-single',
      tags: `blue;web;${mark.tag}`,
      description: mark.line,
      pool: 'team',
      memory: 1024,
      balloon: 256,
      sockets: 2,
      cores: 2,
      cpulimit: 3.5,
      cpu: 'host',
      numa: true,
      bios: 'ovmf',
      efidisk0: 'local:1,efitype=4m,format=qcow2',
      tpmstate0: 'local:1,version=v2.0',
      machine: 'q35',
      agent: 'enabled=1',
      serial0: 'socket',
      vga: 'serial0',
      ostype: 'l26',
      onboot: true,
      protection: true,
      startup: 'order=3',
      boot: 'order=scsi0',
      scsi0:
        'local:0,import-from=local:import/noble.qcow2,format=qcow2,cache=writeback,discard=on,ssd=1,iothread=1',
      scsi1: 'btr:2,format=qcow2,cache=writeback,discard=on,ssd=1,iothread=1,serial=data',
      net0: 'virtio=02:A1:B2:C3:D4:E5,bridge=vmbr0,tag=12,mtu=1400',
      ide2: 'local:cloudinit',
      ciuser: 'admin',
      sshkeys: `ssh-ed25519%20${'A'.repeat(68)}%20user%2Btest%40example.test`,
      nameserver: '10.99.86.1 9.9.9.9',
      searchdomain: 'example.test',
      ipconfig0: 'ip=10.99.86.120/24,gw=10.99.86.1,ip6=fd00::5/64,gw6=fd00::1',
    });
  });

  it.each([
    ['8.4', 'local:1,version=v2.0'],
    ['9.0', 'local:1,version=v2.0'],
    ['9.1', 'local:1,version=v2.0,format=qcow2'],
  ])('has a TPM in the format that %s can have', (version, tpmstate0) => {
    const [major = 0, minor = 0] = version.split('.').map(Number);
    const spec = { ...plain, vm: { ...plainVmOptions, tpm: true } };
    const image = { kind: 'import', volid: 'local:import/a.qcow2' } as const;
    const there = { ...onFiles, version: { major, minor }, image, mark };
    expect(qemuKind.create(spec, there).parameters).toMatchObject({ tpmstate0 });
  });

  it('has an empty disk and a drive to install from where its image is one', () => {
    const image = { kind: 'iso', volid: 'nas:iso/alpine.iso' } as const;
    expect(qemuKind.create(plain, { ...context, image, mark }).parameters).toMatchObject({
      scsi0: 'local:8',
      ide0: 'nas:iso/alpine.iso,media=cdrom',
      boot: 'order=scsi0;ide0',
    });
    const ide = {
      ...plain,
      vm: { ...plainVmOptions, disk: { ...plainVmOptions.disk, bus: 'ide' as const } },
    };
    expect(qemuKind.create(ide, { ...context, image, mark }).parameters).toMatchObject({
      ide0: 'local:8',
      ide1: 'nas:iso/alpine.iso,media=cdrom',
      boot: 'order=ide0;ide1',
    });
  });

  it.each<[string, Partial<InstanceSpec>, string, object]>([
    ['in full', {}, 'pve1', { full: true }],
    ['on another storage', { rootPool: 'btr' }, 'pve1', { full: true, storage: 'btr' }],
    [
      'linked, where the template is',
      { rootPool: 'btr', vm: { ...plainVmOptions, clone: 'linked' } },
      'pve1',
      { full: false },
    ],
    ['of another node', {}, 'pve2', { full: true, target: 'pve1' }],
    [
      'into a pool',
      { cluster: { ...plainClusterOptions, pool: 'team' } },
      'pve1',
      { full: true, pool: 'team' },
    ],
  ])('is a copy of a template: %s', (_name, parts, node, wanted) => {
    const image = { kind: 'guest', node, vmid: 9000, isAlone: false, storages: [] } as const;
    const call = qemuKind.create({ ...plain, ...parts }, { ...context, image, mark });
    expect(call.method).toBe('POST /nodes/{node}/qemu/{vmid}/clone');
    expect(call.parameters).toEqual({
      node,
      vmid: 9000,
      newid: 7200,
      name: 'web-x7k2p',
      description: mark.line,
      ...wanted,
    });
  });

  it('needs no change once it is as it was asked for', () => {
    expect(qemuKind.changes(rich, richConfig, context)).toEqual(none);
    expect(qemuKind.changes(plain, bareConfig, context)).toEqual(none);
  });

  it.each<{
    readonly name: string;
    readonly spec: Partial<InstanceSpec>;
    readonly config?: Configuration;
    readonly changes: Partial<GuestChanges>;
  }>([
    {
      name: 'memory and a share of cores',
      spec: { resources: { cpuMillicores: 1500, memoryMib: 256, diskMib: 0, pids: 1 } },
      changes: { set: { memory: 256, cores: 2, cpulimit: 1.5 } },
    },
    {
      name: 'whole cores: a limit of before goes',
      spec: { resources: { cpuMillicores: 2000, memoryMib: 512, diskMib: 0, pids: 1 } },
      config: { cores: 4, sockets: 2, cpulimit: 2 },
      changes: { set: { cores: 2 }, unset: ['sockets', 'cpulimit'] },
    },
    {
      name: 'a limit that limits nothing is none',
      spec: { resources: { cpuMillicores: 2000, memoryMib: 512, diskMib: 0, pids: 1 } },
      config: { cores: 2, cpulimit: 2 },
      changes: {},
    },
    {
      name: 'a limit of before that would limit more cores',
      spec: { resources: { cpuMillicores: 4000, memoryMib: 512, diskMib: 0, pids: 1 } },
      config: { cores: 2, cpulimit: 2 },
      changes: { set: { cores: 4 }, unset: ['cpulimit'] },
    },
    {
      name: 'memory that does not shrink',
      spec: {},
      config: { balloon: 256 },
      changes: { unset: ['balloon'] },
    },
    { name: 'no balloon at all is none that shrinks', spec: {}, config: { balloon: 0 }, changes: {} },
    {
      name: 'another processor: its flags stay',
      spec: { vm: { ...plainVmOptions, cpuType: 'host' } },
      config: { cpu: 'kvm64,flags=+aes' },
      changes: { set: { cpu: 'host,flags=+aes' } },
    },
    { name: 'the usual processor', spec: {}, config: { cpu: 'host' }, changes: { unset: ['cpu'] } },
    {
      name: 'no guest agent',
      spec: { vm: { ...plainVmOptions, agent: false } },
      changes: { unset: ['agent'] },
    },
    {
      name: 'no guest agent: the rest of what is said of it stays',
      spec: { vm: { ...plainVmOptions, agent: false } },
      config: { agent: 'enabled=1,fstrim_cloned_disks=1' },
      changes: { set: { agent: 'enabled=0,fstrim_cloned_disks=1' } },
    },
    {
      name: 'emulation',
      spec: { vm: { ...plainVmOptions, kvm: false } },
      changes: { set: { kvm: false } },
    },
    {
      name: 'firmware and keys',
      spec: { vm: { ...plainVmOptions, bios: 'ovmf', tpm: true } },
      changes: {
        set: { bios: 'ovmf', efidisk0: 'local:1,efitype=4m', tpmstate0: 'local:1,version=v2.0' },
      },
    },
    {
      name: 'a drive of what is protected: first the protection',
      spec: {},
      config: { protection: 1, ide2: 'local:7200/vm-7200-cloudinit.qcow2,media=cdrom' },
      changes: { unset: ['protection'], again: true },
    },
    {
      name: 'a version of its machine, which Windows is kept to',
      spec: { vm: { ...plainVmOptions, osType: 'win11', machine: 'q35' } },
      config: { ostype: 'win11', machine: 'pc-q35-9.2+pve1' },
      changes: {},
    },
    {
      name: 'another kind of machine than Windows is kept to',
      spec: { vm: { ...plainVmOptions, osType: 'win11', machine: 'q35' } },
      config: { ostype: 'win11', machine: 'pc-i440fx-9.2+pve1' },
      changes: { set: { machine: 'q35' } },
    },
    {
      name: 'a version of its machine that nobody asks for',
      spec: {},
      config: { machine: 'pc-i440fx-8.1' },
      changes: { unset: ['machine'] },
    },
    {
      name: 'a TPM that is there',
      spec: {},
      config: { tpmstate0: 'local:7200/x.raw,size=4M' },
      changes: { refused: ['its TPM may hold keys, and stays'] },
    },
    {
      name: 'an attachment of its disks',
      spec: { vm: { ...plainVmOptions, disk: { ...plainVmOptions.disk, discard: true } } },
      config: { scsi0: 'local:7200/a.qcow2,size=2G,backup=0,ssd=1' },
      changes: { set: { scsi0: 'local:7200/a.qcow2,size=2G,backup=0,discard=on' } },
    },
    {
      name: 'a larger root and a data volume',
      spec: { resources: { ...plain.resources, diskMib: 3000 }, volumes: [claim] },
      config: { scsi1: 'local:7200/other.raw,size=1G' },
      changes: { set: { scsi2: 'btr:2,serial=data' }, grow: [{ disk: 'scsi0', sizeGib: 3 }] },
    },
    {
      name: 'a root that is its image, which has no whole number of GiB',
      spec: { resources: { ...plain.resources, diskMib: 4096 } },
      config: { scsi0: 'local:7200/a.qcow2,size=3584M' },
      changes: { grow: [{ disk: 'scsi0', sizeGib: 4 }] },
    },
    {
      name: 'a size that is no whole number of GiB, as it was adopted',
      spec: { resources: { ...plain.resources, diskMib: 3584 } },
      config: { scsi0: 'local:7200/a.qcow2,size=3584M' },
      changes: {},
    },
    {
      name: 'a larger data volume, read only from now on',
      spec: { volumes: [{ ...claim, sizeMib: 4096, readOnly: true }] },
      config: { scsi3: 'btr:7200/d.raw,serial=data,size=2G' },
      changes: {
        set: { scsi3: 'btr:7200/d.raw,serial=data,size=2G,ro=1' },
        grow: [{ disk: 'scsi3', sizeGib: 4 }],
      },
    },
    {
      name: 'a data volume that nobody claims',
      spec: {},
      config: { scsi1: 'btr:1/d.raw,serial=old,size=2G' },
      changes: {},
    },
    {
      name: 'what cannot be',
      spec: { rootPool: 'btr', resources: { ...plain.resources, diskMib: 1024 }, volumes: [claim] },
      config: { scsi1: 'btr:1/d.raw,serial=data,size=8G' },
      changes: {
        refused: [
          'its root has 2 GiB and cannot shrink to 1 GiB',
          'its root is on local, and stays there',
          'volume data is larger than that, and cannot shrink',
        ],
      },
    },
    {
      name: 'another bus',
      spec: { vm: { ...plainVmOptions, disk: { ...plainVmOptions.disk, bus: 'virtio' } } },
      changes: { refused: ['its root is on scsi, and stays there'] },
    },
    {
      name: 'an interface, without a word to the guest',
      spec: { assigned: rich.assigned },
      changes: { set: { net0: 'virtio=02:A1:B2:C3:D4:E5,bridge=vmbr0,tag=12,mtu=1400' } },
    },
    {
      name: 'another bridge: model, hardware address and firewall stay',
      spec: { assigned: rich.assigned },
      config: { net0: 'e1000=BC:24:11:00:00:01,bridge=vmbr9,firewall=1' },
      changes: { set: { net0: 'e1000=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,tag=12,mtu=1400' } },
    },
    {
      name: 'interfaces too many',
      spec: {},
      config: { net0: 'virtio=BC:24:11:00:00:01,bridge=vmbr0', ipconfig0: 'ip=dhcp' },
      changes: { unset: ['net0', 'ipconfig0'] },
    },
    {
      name: 'cloud-init, and an address that the network gives out',
      spec: {
        assigned: { ...rich.assigned, attachments: [{ ...eth0, addresses: [], vlan: 0, mtu: 0 }] },
        vm: { ...plainVmOptions, cloudInit: { user: '', sshKeys: [] } },
        dns: { servers: ['10.0.0.1'], search: [], options: [] },
      },
      config: { net0: 'virtio=BC:24:11:00:00:01,bridge=vmbr0' },
      // Without a word about addresses the cluster itself says DHCP.
      changes: { set: { ide2: 'local:cloudinit', nameserver: '10.0.0.1' } },
    },
    {
      name: 'cloud-init beside another disc',
      spec: { vm: { ...plainVmOptions, cloudInit: { user: '', sshKeys: [] } } },
      config: { ide2: 'nas:iso/alpine.iso,media=cdrom' },
      changes: { set: { ide3: 'local:cloudinit' } },
    },
    {
      name: 'no cloud-init any more',
      spec: {},
      config: { ide2: 'local:7200/vm-7200-cloudinit.qcow2,media=cdrom', ciuser: 'admin', sshkeys: 'x' },
      changes: { unset: ['ide2', 'ciuser', 'sshkeys'] },
    },
    {
      name: 'tags: ours and what no spec can say stay',
      spec: { cluster: { ...plainClusterOptions, tags: ['web'] } },
      config: { tags: 'Db;old;drover-0123456789ab' },
      changes: { set: { tags: 'web;Db;drover-0123456789ab' } },
    },
    {
      name: 'not at the start of its node',
      spec: { cluster: { ...plainClusterOptions, onBoot: false } },
      changes: { unset: ['onboot'] },
    },
    {
      name: 'its place among others: delays stay',
      spec: {},
      config: { startup: 'order=3,up=5' },
      changes: { set: { startup: 'up=5' } },
    },
  ])('changes $name', ({ spec, config, changes }) => {
    const found = qemuKind.changes({ ...plain, ...spec }, { ...bareConfig, ...config }, context);
    expect(found).toEqual({ ...none, ...changes });
  });

  it.each<[string, Partial<InstanceSpec>, RegExp]>([
    ['the network of its host', { network: 'host' }, /network "host"/],
    ['a command', { command: ['sh'] }, /command/],
    ['an environment', { env: { A: 'b' } }, /env/],
    ['a user', { user: 'root' }, /user/],
    ['a directory', { workingDir: '/srv' }, /workingDir/],
    ['devices', { devices: ['/dev/kvm'] }, /devices/],
    ['privileges', { security: { ...plain.security, privileged: true } }, /security\.privileged/],
    ['nesting', { security: { ...plain.security, nesting: true } }, /security\.nesting/],
    ['an id range', { security: { ...plain.security, ownIdRange: true } }, /ownIdRange/],
    ['more rights', { security: { ...plain.security, addCapabilities: ['CAP_SYS_NICE'] } }, /addCap/],
    ['less rights', { security: { ...plain.security, dropCapabilities: ['CAP_CHOWN'] } }, /dropCap/],
    ['keys of LXC', { lxcKeys: { 'lxc.tty.max': '2' } }, /lxc/],
    ['keys of root', { cluster: { ...plainClusterOptions, sshKeys: [key] } }, /cluster\.sshKeys/],
    [
      'features of containers',
      { cluster: { ...plainClusterOptions, features: { keyctl: false, fuse: true, mount: [] } } },
      /cluster\.features/,
    ],
    ['ports', { ports: [{ hostPort: 80, guestPort: 80, protocol: 'tcp', hostAddress: '' }] }, /ports/],
    ['options of name servers', { dns: { servers: [], search: [], options: ['ndots:2'] } }, /dns\.options/],
    ['a volume of no size', { volumes: [{ ...claim, sizeMib: 0 }] }, /volume data: it needs a size/],
    [
      'a balloon above its memory',
      { resources: { ...plain.resources, memoryMib: 128 }, vm: { ...plainVmOptions, balloonMib: 256 } },
      /vm\.balloon/,
    ],
    [
      'a template of containers',
      { image: `proxmox:local:vztmpl/a.tar.gz@sha256:${'a'.repeat(64)}` },
      /image/,
    ],
    [
      'its node’s processor, emulated',
      { vm: { ...plainVmOptions, cpuType: 'host', kvm: false } },
      /^vm.cpuType/,
    ],
  ])('cannot have %s, and says so by name', (_name, parts, words) => {
    expect(qemuKind.cannot({ ...plain, ...parts }, version)).toEqual([expect.stringMatching(words)]);
    expect(qemuKind.cannot(plain, version)).toEqual([]);
    expect(qemuKind.cannot(rich, version)).toEqual([]);
  });

  it('has a serial number of twenty characters for a claim of any length', () => {
    expect(serialOf('data')).toBe('data');
    const [one, other] = [serialOf('a-very-long-name-of-a-volume'), serialOf('a-very-long-name-of-another')];
    expect([one.length, other.length, one === other]).toEqual([20, 20, false]);
  });

  it('tells its addresses, limits and storage', () => {
    expect(qemuKind.fixedAddresses(richConfig)).toEqual(['10.99.86.120', 'fd00::5']);
    expect(qemuKind.rootStorage(richConfig)).toBe('local');
    expect(qemuKind.limits(richConfig)).toEqual({
      limits: { cpuMillicores: 3500, memoryMib: 1024, diskMib: 5120, pids: 0 },
      notEnforced: ['pids'],
    });
    expect(qemuKind.limits({ memory: 'current=2048', cores: 2, sockets: 2 }).limits).toMatchObject({
      cpuMillicores: 4000,
      memoryMib: 2048,
    });
    const answer = {
      result: [
        { name: 'lo', 'ip-addresses': [{ 'ip-address': '127.0.0.1', 'ip-address-type': 'ipv4' }] },
        {
          name: 'eth0',
          'ip-addresses': [{ 'ip-address': '10.99.86.120', prefix: 24 }, { 'ip-address': 'fe80::1' }],
        },
        { name: 'eth1' },
        null,
      ],
    };
    expect(qemuKind.seenAddresses(answer)).toEqual(['10.99.86.120']);
    for (const odd of [null, undefined, 'x', {}, { result: 'x' }])
      expect(qemuKind.seenAddresses(odd)).toEqual([]);
  });
});

const lan = bridgedNetwork(
  [
    { cidr: '10.99.86.0/24', gateway: '10.99.86.1', first: '10.99.86.100', last: '10.99.86.200' },
    { cidr: 'fd00::/64', gateway: 'fd00::1', first: 'fd00::5', last: 'fd00::ff' },
  ],
  { mtu: 1400, vlan: 12 },
);

/** What becomes of a found spec when it is an instance of that workload. */
const instanceOf = (
  config: Configuration,
  networks: readonly Network[],
  attachments: readonly Attachment[],
) => {
  const found = qemuKind.spec(config, { ...context, networks });
  const { replicas: _, placement: __, update: ___, ...alike } = found.spec;
  const assigned = { ...emptyAssignment, attachments };
  return { ...found, instance: { ...alike, displayName: 'x', workload: 'web', assigned } };
};

describe('a virtual machine that was there before', () => {
  it('is what a person would have written, and its changes are none', () => {
    const { spec, notes, obstacles, instance } = instanceOf(richConfig, [lan], [eth0]);
    expect(obstacles).toEqual([]);
    expect(notes).toEqual([
      'it is called web-x7k2p',
      'net0 keeps its hardware address 02:A1:B2:C3:D4:E5',
      'data volumes are data; where its guest mounts them is its own affair',
    ]);
    expect(spec).toMatchObject({
      image: 'proxmox:guest/7200',
      runtime: 'proxmox-vm',
      resources: { cpuMillicores: 3500, memoryMib: 1024, diskMib: 5120 },
      networks: [{ network: 'lan', addresses: ['10.99.86.120', 'fd00::5'] }],
      restart: { policy: 'always' },
      rootPool: 'local',
      volumes: [{ name: 'data', sizeMib: 2048, pool: 'btr' }],
      dns: { servers: ['10.99.86.1', '9.9.9.9'], search: ['example.test'] },
      vm: richVm,
      cluster: { ...plainClusterOptions, tags: ['blue', 'web'], protection: true },
      startOrder: 3,
    });
    expect(qemuKind.changes(instance, richConfig, context)).toEqual(none);
  });

  it.each<[string, Configuration]>([
    ['as little as there can be', { scsi0: 'local:1/a.raw,size=4G' }],
    ['a limit on many cores', { cores: 8, sockets: 2, cpulimit: 3 }],
    ['a limit above its cores', { cores: 2, cpulimit: '4' }],
    [
      'a disk elsewhere',
      { scsi0: undefined, virtio0: 'local:1/a.raw,size=4G,cache=none', boot: 'order=virtio0' },
    ],
    ['an old way to name its first disk', { bootdisk: 'scsi5', boot: 'c', scsi5: 'btr:1/b.raw,size=1G' }],
    ['disks without serial numbers', { scsi1: 'local:1/b.raw,size=1G', scsi2: 'local:1/c.raw,size=1G' }],
    ['disks of all kinds', { sata0: 'local:1/b.raw,size=1G', scsi3: 'local:1/c.raw,size=1G,cache=unsafe' }],
    ['a disc and no system', { ide2: 'none,media=cdrom', ostype: undefined }],
    [
      'words for old machines',
      { ostype: 'w2k8', vga: 'qxl,memory=32', machine: 'type=pc-i440fx-9.0', kvm: 0 },
    ],
    ['an agent with more to it', { agent: 'enabled=1,type=isa' }],
    ['an agent that is off', { agent: 'enabled=0' }],
    ['a balloon', { memory: 2048, balloon: 1024 }],
    ['a balloon as large as its memory', { memory: 2048, balloon: 2048 }],
    ['tags of a person', { tags: 'Db,prod' }],
  ])('with %s becomes an instance without a change', (_name, parts) => {
    const config = Object.fromEntries(
      Object.entries({ ...bareConfig, ...parts }).filter((entry) => entry[1] !== undefined),
    );
    const { instance, obstacles } = instanceOf(config, [], []);
    expect(obstacles).toEqual([]);
    expect(qemuKind.cannot(instance, version)).toEqual([]);
    expect(qemuKind.changes(instance, config, context)).toEqual(none);
  });

  it.each<[string, Configuration, RegExp]>([
    ['a template', { template: 1 }, /template/],
    ['a locked one', { lock: 'backup' }, /locked \(backup\)/],
    ['one on a device of its host', { scsi0: '/dev/sdb,size=4G' }, /no storage/],
    ['one without a disk', { scsi0: 'none,media=cdrom' }, /no storage/],
    ['one in an unknown network', { net0: 'virtio=BC:24:11:00:00:01,bridge=vmbr7' }, /eth0 is on vmbr7/],
    [
      'one whose address nobody tells',
      { net0: 'virtio=BC:24:11:00:00:01,bridge=vmbr0,tag=12,mtu=1400' },
      /no fixed address/,
    ],
    [
      'one with a key that a spec cannot say',
      {
        ide2: 'local:7200/vm-7200-cloudinit.qcow2,media=cdrom',
        sshkeys: encodeURIComponent('command="sh" ssh-rsa AAAA'),
      },
      /sshkeys\[0\]/,
    ],
  ])('says why it cannot be an instance: %s', (_name, parts, words) => {
    const { obstacles } = qemuKind.spec({ ...bareConfig, ...parts }, { ...context, networks: [lan] });
    expect(obstacles).toEqual([expect.stringMatching(words)]);
  });

  it('keeps what a spec cannot say, and tells so', () => {
    const config = {
      ...bareConfig,
      cipassword: '**********',
      hostpci0: '0000:01:00.0',
      ide2: 'nas:iso/a.iso,media=cdrom',
      tags: 'Db',
      unused0: 'local:7200/x.raw',
      virtio1: 'local:7200/y.raw,size=1G',
    };
    expect(qemuKind.spec(config, { ...context, networks: [] }).notes).toEqual([
      'its tags Db stay',
      'ide2 stays: nas:iso/a.iso,media=cdrom',
      'unused0 stays: local:7200/x.raw',
      'what a spec cannot say stays: cipassword, hostpci0',
      'virtio1 stays as it is: local:7200/y.raw,size=1G',
    ]);
  });
});
