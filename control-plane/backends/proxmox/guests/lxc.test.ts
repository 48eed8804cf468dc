import { describe, expect, it } from 'vitest';
import type { InstanceSpec } from '#shared/model.ts';
import type { VolumeId } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { bridged, bridgedNetwork } from '../../../../test/fakes/cluster-networks.ts';
import { newSpec } from '../../../../test/conformance/backend.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import type { Configuration, SpecContext } from './guest-kind.ts';
import { lxcKind } from './lxc.ts';

const version = { major: 8, minor: 4 };
const context: SpecContext = { node: 'pve1', vmid: 7020, version, storageOf: (pool) => pool || 'local' };
const mark = { tag: 'drover-0123456789ab', line: 'drover:instance=…' };
const image = { kind: 'template', volid: 'shared:vztmpl/alpine.tar.gz' } as const;

const eth0 = bridged({
  addresses: ['10.99.86.120/24', 'fd00::5/64'],
  gateways: ['10.99.86.1', 'fd00::1'],
  mtu: 1400,
  vlan: 12,
});
const claim = { name: 'data', mountPath: '/data', sizeMib: 1500, pool: 'btr', readOnly: false, keep: false };
const plain = newSpec({ runtime: 'proxmox-lxc', command: [], displayName: 'web-x7k2p' });
const rich: InstanceSpec = {
  ...plain,
  resources: { cpuMillicores: 1500, memoryMib: 96, diskMib: 5000, pids: 100 },
  network: 'bridged',
  dns: { servers: ['10.99.86.1', '9.9.9.9'], search: ['example.test'], options: [] },
  security: { ...plain.security, nesting: true },
  startOrder: 3,
  volumes: [claim],
  assigned: {
    ...emptyAssignment,
    attachments: [eth0],
    volumes: [{ name: 'data', volumeId: 'v' as VolumeId }],
  },
};

/** As the cluster tells it for the rich spec: what it adds, it adds; numbers may come as text. */
const richConfig: Configuration = {
  arch: 'amd64',
  cores: 2,
  cpulimit: '1.5',
  digest: 'd7f9',
  description: 'drover:instance=…\n',
  features: 'nesting=1',
  hostname: 'web-x7k2p',
  memory: '96',
  mp0: 'btr:7020/vm-7020-disk-1.raw,mp=/data,backup=1,size=2G',
  nameserver: '10.99.86.1 9.9.9.9',
  net0: 'name=eth0,bridge=vmbr0,gw=10.99.86.1,gw6=fd00::1,hwaddr=02:A1:B2:C3:D4:E5,ip=10.99.86.120/24,ip6=fd00::5/64,mtu=1400,tag=12,type=veth',
  onboot: 1,
  ostype: 'alpine',
  rootfs: 'local:7020/vm-7020-disk-0.raw,size=5G',
  searchdomain: 'example.test',
  startup: 'order=3',
  swap: 0,
  tags: 'drover-0123456789ab',
  unprivileged: 1,
};
const none = { set: {}, unset: [], grow: [], refused: [] };

describe('a container of a cluster', () => {
  it('is made unprivileged, with a root of 4 GiB and no interface where nothing else is said', () => {
    const { method, parameters } = lxcKind.create(
      { ...plain, resources: { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 0 } },
      { ...context, image, mark },
    );
    expect(method).toBe('POST /nodes/{node}/lxc');
    expect(parameters).toEqual({
      node: 'pve1',
      vmid: 7020,
      ostemplate: 'shared:vztmpl/alpine.tar.gz',
      hostname: 'web-x7k2p',
      unprivileged: true,
      rootfs: 'local:4',
      tags: mark.tag,
      description: mark.line,
      swap: 0,
      memory: 512,
      onboot: true,
    });
  });

  it('is made with all that a spec can say', () => {
    expect(lxcKind.create(rich, { ...context, image, mark }).parameters).toMatchObject({
      memory: 96,
      cores: 2,
      cpulimit: 1.5,
      rootfs: 'local:5',
      features: { nesting: true },
      nameserver: '10.99.86.1 9.9.9.9',
      searchdomain: 'example.test',
      startup: 'order=3',
      net0: {
        name: 'eth0',
        bridge: 'vmbr0',
        hwaddr: '02:A1:B2:C3:D4:E5',
        ip: '10.99.86.120/24',
        gw: '10.99.86.1',
        ip6: 'fd00::5/64',
        gw6: 'fd00::1',
        tag: 12,
        mtu: 1400,
      },
      mp0: { volume: 'btr:2', mp: '/data', backup: true },
    });
  });

  it('asks for an address where nothing gives it one', () => {
    const attachments = [{ ...eth0, addresses: [], gateways: [], vlan: 0, mtu: 0 }];
    const spec = { ...rich, assigned: { ...rich.assigned, attachments } };
    expect(lxcKind.create(spec, { ...context, image, mark }).parameters['net0']).toEqual({
      name: 'eth0',
      bridge: 'vmbr0',
      hwaddr: '02:A1:B2:C3:D4:E5',
      ip: 'dhcp',
    });
  });

  it.each<[string, Partial<InstanceSpec>, string, object]>([
    ['where its template is', {}, 'pve1', {}],
    ['on another storage', { rootPool: 'btr' }, 'pve1', { storage: 'btr' }],
    ['of another node', {}, 'pve2', { target: 'pve1' }],
    ['into a pool', { cluster: { ...plainClusterOptions, pool: 'team' } }, 'pve1', { pool: 'team' }],
  ])('is a full copy of a template: %s', (_name, parts, node, wanted) => {
    const source = { kind: 'guest', node, vmid: 9000, isAlone: false, storages: [] } as const;
    const call = lxcKind.create({ ...plain, rootPool: '', ...parts }, { ...context, image: source, mark });
    expect(call.method).toBe('POST /nodes/{node}/lxc/{vmid}/clone');
    expect(call.parameters).toEqual({
      node,
      vmid: 9000,
      newid: 7020,
      hostname: 'web-x7k2p',
      description: mark.line,
      full: true,
      ...wanted,
    });
  });

  it('keeps the program and the variables of its template where its spec says nothing of them', () => {
    const brought = { ...richConfig, entrypoint: '/usr/bin/app', env: 'PATH=/bin' };
    const image = 'proxmox:template/9000';
    expect(lxcKind.changes({ ...rich, image }, brought, context)).toEqual(none);
    const changes = lxcKind.changes({ ...rich, image, command: ['/sbin/other'] }, brought, context);
    expect(changes.set).toEqual({ entrypoint: '/sbin/other' });
  });

  it('needs no change where it is as its spec says', () => {
    expect(lxcKind.changes(rich, richConfig, context)).toEqual(none);
  });

  const limits = { ...rich.resources };
  const changed: readonly {
    name: string;
    spec: Partial<InstanceSpec>;
    config?: Configuration;
    changes: object;
  }[] = [
    {
      name: 'more memory',
      spec: { resources: { ...limits, memoryMib: 128 } },
      changes: { set: { memory: 128 } },
    },
    {
      name: 'two whole cores, and the limit goes',
      spec: { resources: { ...limits, cpuMillicores: 2000 } },
      changes: { set: { cores: 2 }, unset: ['cpulimit'] },
    },
    {
      name: 'no limit of its processors',
      spec: { resources: { ...limits, cpuMillicores: 0 } },
      changes: { unset: ['cores', 'cpulimit'] },
    },
    {
      name: 'a larger root',
      spec: { resources: { ...limits, diskMib: 6 * 1024 } },
      changes: { grow: [{ disk: 'rootfs', sizeGib: 6 }] },
    },
    {
      name: 'a smaller root, which cannot be',
      spec: { resources: { ...limits, diskMib: 1024 } },
      changes: { refused: ['its root has 5 GiB and cannot shrink to 1 GiB'] },
    },
    {
      name: 'a larger volume',
      spec: { volumes: [{ ...claim, sizeMib: 3000 }] },
      changes: { grow: [{ disk: 'mp0', sizeGib: 3 }] },
    },
    {
      name: 'one volume more, at the first free key',
      spec: { volumes: [claim, { ...claim, name: 'logs', mountPath: '/logs', sizeMib: 10, readOnly: true }] },
      changes: { set: { mp1: { volume: 'btr:1', mp: '/logs', backup: true, ro: true } } },
    },
    { name: 'a volume that nobody claims any more stays', spec: { volumes: [] }, changes: {} },
    {
      name: 'a volume that is not to be written',
      spec: { volumes: [{ ...claim, readOnly: true }] },
      changes: { set: { mp0: 'btr:7020/vm-7020-disk-1.raw,mp=/data,backup=1,size=2G,ro=1' } },
    },
    {
      name: 'another address: the hardware address stays',
      spec: {
        assigned: {
          ...rich.assigned,
          attachments: [{ ...eth0, addresses: ['10.99.86.9/24', 'fd00::5/64'] }],
        },
      },
      changes: {
        set: {
          net0: 'name=eth0,bridge=vmbr0,gw=10.99.86.1,gw6=fd00::1,hwaddr=02:A1:B2:C3:D4:E5,ip=10.99.86.9/24,ip6=fd00::5/64,mtu=1400,tag=12,type=veth',
        },
      },
    },
    {
      name: 'no interface any more',
      spec: { network: 'none', assigned: { ...rich.assigned, attachments: [] } },
      changes: { unset: ['net0'] },
    },
    {
      name: 'a second interface',
      spec: {
        assigned: {
          ...rich.assigned,
          attachments: [eth0, { ...eth0, interface: 'eth1', addresses: [], vlan: 0, mtu: 0 }],
        },
      },
      changes: { set: { net1: { name: 'eth1', bridge: 'vmbr0', hwaddr: '02:A1:B2:C3:D4:E5', ip: 'dhcp' } } },
    },
    {
      name: 'no nesting: other features stay',
      spec: { security: plain.security },
      config: { features: 'nesting=1,force_rw_sys=1' },
      changes: { set: { features: 'force_rw_sys=1' } },
    },
    {
      name: 'what only clusters have',
      spec: {
        cluster: {
          ...plainClusterOptions,
          tags: ['a', 'web'],
          features: { keyctl: true, fuse: false, mount: ['cifs', 'nfs'] },
          onBoot: false,
          protection: true,
        },
      },
      config: { tags: 'drover-0123456789ab;old' },
      changes: {
        set: {
          tags: 'a;web;drover-0123456789ab',
          features: 'nesting=1,keyctl=1,mount=cifs;nfs',
          onboot: false,
          protection: true,
        },
      },
    },
    { name: 'no nesting', spec: { security: plain.security }, changes: { unset: ['features'] } },
    {
      name: 'no names to look up',
      spec: { dns: plain.dns },
      changes: { unset: ['nameserver', 'searchdomain'] },
    },
    {
      name: 'another turn at the start: its delays stay',
      spec: { startOrder: 7 },
      config: { startup: 'order=3,up=30' },
      changes: { set: { startup: 'order=7,up=30' } },
    },
    { name: 'no turn', spec: { startOrder: 0 }, changes: { unset: ['startup'] } },
    {
      name: 'never to be started by itself',
      spec: { restart: { policy: 'never', maxAttempts: 0 } },
      changes: { set: { onboot: false } },
    },
    {
      name: 'privileged, which it cannot become',
      spec: { security: { ...rich.security, privileged: true } },
      changes: { refused: ['it is unprivileged, and stays so'] },
    },
    {
      name: 'another pool for its root',
      spec: { rootPool: 'btr' },
      changes: { refused: ['its root is on local, and stays there'] },
    },
    { name: 'another name inside, which is the guest’s own', spec: { displayName: 'other' }, changes: {} },
    {
      name: 'a root without a quota, which cannot grow',
      spec: {},
      config: { rootfs: 'btr:7020/subvol,size=0T' },
      changes: {},
    },
  ];
  it.each(changed)('is changed: $name', ({ spec, config, changes }) => {
    expect(lxcKind.changes({ ...rich, ...spec }, { ...richConfig, ...config }, context)).toEqual({
      ...none,
      ...changes,
    });
  });

  it('has no option set and taken away at once, which its cluster refuses', () => {
    for (const { spec, config } of changed) {
      const { set, unset } = lxcKind.changes({ ...rich, ...spec }, { ...richConfig, ...config }, context);
      expect(unset.filter((key) => key in set)).toEqual([]);
    }
  });

  it.each<{ name: string; spec: Partial<InstanceSpec>; words: RegExp; from91?: boolean }>([
    { name: 'the network of its host', spec: { network: 'host' }, words: /network "host"/ },
    { name: 'a program', spec: { command: ['/bin/sh'] }, words: /command/, from91: true },
    { name: 'an environment', spec: { env: { A: 'x' } }, words: /env/, from91: true },
    { name: 'a user', spec: { user: 'www' }, words: /user/ },
    { name: 'a working directory', spec: { workingDir: '/srv' }, words: /workingDir/ },
    {
      name: 'keys for a copy',
      spec: {
        image: 'proxmox:template/9000',
        cluster: { ...plainClusterOptions, sshKeys: ['ssh-ed25519 AAAA a@b'] },
      },
      words: /cluster.sshKeys/,
    },
    { name: 'devices', spec: { devices: ['/dev/fuse'] }, words: /devices/ },
    {
      name: 'ids of its own',
      spec: { security: { ...plain.security, ownIdRange: true } },
      words: /ownIdRange/,
    },
    {
      name: 'a right',
      spec: { security: { ...plain.security, addCapabilities: ['CAP_NET_ADMIN'] } },
      words: /addCapabilities/,
    },
    { name: 'a machine', spec: { vm: plainVmOptions }, words: /vm/ },
    { name: 'keys of LXC', spec: { lxcKeys: { 'lxc.tty.max': '2' } }, words: /lxc/ },
    {
      name: 'a volume that is to be kept',
      spec: { volumes: [{ ...claim, keep: true }] },
      words: /volume data: keep/,
    },
    { name: 'a volume of no size', spec: { volumes: [{ ...claim, sizeMib: 0 }] }, words: /volume data/ },
    {
      name: 'a masquerading network',
      spec: { assigned: { ...rich.assigned, attachments: [{ ...eth0, masquerade: true }] } },
      words: /lan masquerades/,
    },
  ])('is refused by name: $name', ({ spec, words, from91 = false }) => {
    expect(lxcKind.cannot({ ...plain, ...spec }, version)).toEqual([expect.stringMatching(words)]);
    expect(lxcKind.cannot({ ...plain, ...spec }, { major: 9, minor: 2 })).toHaveLength(from91 ? 0 : 1);
  });

  it('tells its limits as its configuration has them', () => {
    expect(lxcKind.limits(richConfig)).toEqual({
      limits: { cpuMillicores: 1500, memoryMib: 96, diskMib: 5120, pids: 0 },
      notEnforced: ['pids'],
    });
    expect(lxcKind.limits({ rootfs: 'btr:1/subvol-1-disk-0.subvol,size=0T' })).toEqual({
      limits: { cpuMillicores: 0, memoryMib: 512, diskMib: 0, pids: 0 },
      notEnforced: ['pids', 'disk'],
    });
  });

  it('tells its addresses, and none that is its own or the link’s', () => {
    expect(lxcKind.fixedAddresses(richConfig)).toEqual(['10.99.86.120', 'fd00::5']);
    expect(lxcKind.fixedAddresses({ net0: 'name=eth0,bridge=vmbr0,ip=dhcp' })).toEqual([]);
    const answer = [
      { name: 'lo', inet: '127.0.0.1/8', inet6: '::1/128' },
      { name: 'eth0', inet: '10.99.86.121/24', inet6: 'fe80::be24:11ff:fe36:252b/64' },
    ];
    expect(lxcKind.seenAddresses(answer)).toEqual(['10.99.86.121']);
    expect(lxcKind.seenAddresses(null)).toEqual([]);
  });
});

const lan = bridgedNetwork(
  [
    { cidr: '10.99.86.0/24', gateway: '10.99.86.1', first: '10.99.86.100', last: '10.99.86.200' },
    { cidr: 'fd00::/64', gateway: 'fd00::1', first: 'fd00::5', last: 'fd00::ff' },
  ],
  { mtu: 1400, vlan: 12 },
);

describe('a container that was there before', () => {
  it('is what a person would have written, and its changes are none', () => {
    const found = { ...richConfig, tags: 'zed;alpha', protection: 1, features: 'nesting=1,mount=nfs' };
    const { spec, notes, obstacles } = lxcKind.spec(found, { ...context, networks: [lan] });
    expect(obstacles).toEqual([]);
    expect(notes).toEqual([
      'it is called web-x7k2p inside',
      'it sees 2 cores',
      'eth0 keeps its hardware address 02:A1:B2:C3:D4:E5',
    ]);
    expect(spec).toMatchObject({
      image: 'proxmox:guest/7020',
      runtime: 'proxmox-lxc',
      resources: { cpuMillicores: 1500, memoryMib: 96, diskMib: 5120 },
      network: 'bridged',
      networks: [{ network: 'lan', addresses: ['10.99.86.120', 'fd00::5'] }],
      restart: { policy: 'always' },
      volumes: [{ name: 'data', mountPath: '/data', sizeMib: 2048, pool: 'btr' }],
      startOrder: 3,
      cluster: { tags: ['alpha', 'zed'], protection: true, features: { mount: ['nfs'] } },
    });
    const { replicas: _, placement: __, update: ___, ...alike } = spec;
    const instance: InstanceSpec = { ...alike, displayName: 'x', workload: 'web', assigned: rich.assigned };
    expect(lxcKind.changes(instance, found, context)).toEqual(none);
  });

  it('has its program and environment in its spec, from 9.1 on', () => {
    const found = { ...richConfig, entrypoint: '/bin/web -p 80', env: 'PATH=/bin\0A=b=c' };
    const { spec, notes } = lxcKind.spec(found, { ...context, networks: [lan] });
    expect(spec).toMatchObject({ command: ['/bin/web', '-p', '80'], env: { PATH: '/bin', A: 'b=c' } });
    expect(notes.join()).not.toMatch(/entrypoint|env/);
    const { replicas: _, placement: __, update: ___, ...alike } = spec;
    const instance: InstanceSpec = { ...alike, displayName: 'x', workload: 'web', assigned: rich.assigned };
    expect(lxcKind.changes(instance, found, context)).toEqual(none);
  });

  const bare: Configuration = { rootfs: 'local:1/disk.raw,size=4G', unprivileged: 1, swap: 0 };
  it.each<{ name: string; config: Configuration; obstacle: RegExp | undefined }>([
    { name: 'a plain one', config: {}, obstacle: undefined },
    { name: 'a template', config: { template: 1 }, obstacle: /template/ },
    { name: 'a locked one', config: { lock: 'backup' }, obstacle: /locked \(backup\)/ },
    { name: 'one below a directory', config: { rootfs: '/srv/root' }, obstacle: /no storage/ },
    {
      name: 'one in an unknown network',
      config: { net0: 'name=eth0,bridge=vmbr7,ip=dhcp' },
      obstacle: /eth0 is on vmbr7: apply a Network/,
    },
    {
      name: 'one with another gateway',
      config: {
        net0: 'name=eth0,bridge=vmbr0,tag=12,mtu=1400,ip=10.99.86.9/24,gw=10.99.86.2,ip6=fd00::9/64,gw6=fd00::1',
      },
      obstacle: /its gateway is 10\.99\.86\.2/,
    },
    {
      name: 'one that is given addresses by somebody else',
      config: { net0: 'name=eth0,bridge=vmbr0,tag=12,mtu=1400,ip=dhcp' },
      obstacle: /no fixed address, and the network gives out 10\.99\.86\.0\/24/,
    },
  ])('says why it cannot be an instance: $name', ({ config, obstacle }) => {
    const { obstacles } = lxcKind.spec({ ...bare, ...config }, { ...context, networks: [lan] });
    expect(obstacles).toEqual(obstacle === undefined ? [] : [expect.stringMatching(obstacle)]);
  });

  it('keeps what a spec cannot say, and tells so', () => {
    const config = {
      ...bare,
      mp0: '/srv,mp=/mnt',
      features: 'force_rw_sys=1',
      hookscript: 'local:snippets/x',
      unused0: 'local:1/x.raw',
      lxc: [['lxc.apparmor.profile', 'unconfined']],
    };
    expect(lxcKind.spec(config, { ...context, networks: [] }).notes).toEqual([
      'its features force_rw_sys stay',
      'its own line for LXC stays: lxc.apparmor.profile = unconfined',
      'unused0 stays: local:1/x.raw',
      'what a spec cannot say stays: hookscript',
      'mp0 stays as it is: /srv,mp=/mnt',
    ]);
  });
});
