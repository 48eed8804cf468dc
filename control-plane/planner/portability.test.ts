import { describe, expect, it } from 'vitest';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import { nodeView, pool } from '../../test/fakes/scheduling.ts';
import type { Attachment, Network, NodeName, Security, WorkloadSpec } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { portabilityReport } from './portability.ts';
import type { PortabilityInput } from './portability-finding.ts';

const containers = ['network-bridged', 'mounts', 'nesting', 'privileged', 'cluster-options'];
const hosts = ['network-bridged', 'mounts', 'nesting', 'privileged', 'devices', 'lxc-keys'];
const pve = nodeView('lab-pve1', {
  runtimes: new Map([['proxmox-lxc', new Set(containers)]]),
  bridges: new Set(['vmbr0', 'vmbr1']),
  pools: [pool({ name: 'local-lvm' })],
});
const host = nodeView('h1', {
  runtimes: new Map([['lxc', new Set(hosts)]]),
  pools: [pool({ name: 'tank' })],
});
const version = (text: string) => ({ versions: new Map([['lab-pve1' as NodeName, text]]) });

const network = (name: string, spec: Partial<Network['spec']> = {}): Network => ({
  metadata: workloadRecord({}, { metadata: { name } }).metadata,
  spec: {
    bridge: 'vmbr0',
    managedBridge: false,
    subnets: [],
    mtu: 0,
    vlan: 0,
    masquerade: false,
    nodePrivate: false,
    dns: { servers: [], search: [], options: [] },
    routes: [],
    ...spec,
  },
});

type Change = Partial<WorkloadSpec>;
type Given = Partial<PortabilityInput>;

const reportOf = (spec: Change, given: Given) =>
  portabilityReport({
    workload: 'mail',
    spec: workloadRecord({ image: 'lxc:images/debian/12', runtime: 'lxc', ...spec }).spec,
    from: 'lxc',
    to: 'proxmox-lxc',
    instances: [],
    networks: [network('lan')],
    nodes: [pve, host],
    ...version('9.0.3'),
    ...given,
  });
const linesOf = ({ findings }: ReturnType<typeof reportOf>): string[] =>
  findings.map(
    ({ subject, outcome, before, after, advice }) =>
      `${subject} ${outcome}: ${before} → ${after}${advice && ` (${advice})`}`,
  );
const there = (spec: Change, given: Given = {}) => linesOf(reportOf(spec, given));
const back = (spec: Change, given: Given = {}) =>
  linesOf(reportOf({ runtime: 'proxmox-lxc', ...spec }, { from: 'proxmox-lxc', to: 'lxc', ...given }));

const security = (of: Partial<Security>): Change => ({
  security: { ...plainGuestConfig.security, ...of },
});
const features = (of: Partial<typeof plainClusterOptions.features>): Change => ({
  cluster: { ...plainClusterOptions, features: { ...plainClusterOptions.features, ...of } },
});
const volume = { name: 'data', mountPath: '/data', sizeMib: 64, pool: '', readOnly: true, keep: false };
const onLan: Change = { network: 'bridged', networks: [{ network: 'lan', addresses: [] }] };
const port = { hostPort: 0, guestPort: 25, protocol: 'tcp' as const, hostAddress: '' };
const resources = (of: Partial<WorkloadSpec['resources']>): Change => ({
  resources: { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 64, ...of },
});
const sha = `sha256:${'a'.repeat(64)}`;
const dns = (options: string[]): Change => ({ dns: { servers: ['10.0.0.1'], search: [], options } });

/** Each line is in the report just once. */
const rows: readonly [title: string, report: string[], line: RegExp][] = [
  // id map
  [
    'shifts ids into a cluster',
    there({}),
    /^id map changes: host ids of a range .* → host ids 100000 to 165535/,
  ],
  ['shifts ids out of a cluster', back({}), /^id map changes: host ids 100000 .* → host ids of a range/],
  [
    'gives no range of its own in a cluster',
    there(security({ ownIdRange: true })),
    /^id map stands in the way: .*take security\.ownIdRange out/,
  ],
  ['gives one on a host', back(security({ ownIdRange: true })), /^id map changes/],
  [
    'needs a node that allows privileged',
    there(security({ privileged: true })),
    /^id map stands in the way: privileged → no node .*Sys\.Modify/,
  ],
  [
    'needs an agent that allows privileged',
    back(security({ privileged: true })),
    /^id map stands in the way: .*allowsPrivileged/,
  ],
  [
    'keeps ids of privileged ones',
    there(security({ privileged: true }), { nodes: [{ ...pve, allowsPrivileged: true }] }),
    /^id map carries over: privileged/,
  ],
  // rights
  ['keeps nesting in a cluster', there(security({ nesting: true })), /^features carries over: nesting/],
  ['keeps nesting on a host', back(security({ nesting: true })), /^features carries over: nesting/],
  ['says who may set keyctl', there({}), /^features changes: .*keyctl.*root@pam/],
  [
    'needs no keyctl on a host',
    back(features({ keyctl: true })),
    /^features changes: keyctl → every guest may .*take cluster\.features\.keyctl out/,
  ],
  [
    'has fuse as a device',
    back(features({ fuse: true }), { nodes: [{ ...host, allowedDevices: new Set(['/dev/fuse']) }] }),
    /^features changes: fuse → the device \/dev\/fuse/,
  ],
  [
    'has fuse nowhere',
    back(features({ fuse: true })),
    /^features stands in the way: fuse → .*allowedDevices/,
  ],
  [
    'mounts no file systems on a host',
    back(features({ mount: ['cifs', 'nfs'] })),
    /^features stands in the way: mounts cifs, nfs/,
  ],
  [
    'leaves out what a host does not know',
    back({ cluster: { ...plainClusterOptions, pool: 'prod', tags: ['a', 'b'], onBoot: false } }),
    /^cluster changes: pool prod; tags a, b; onBoot: false → /,
  ],
  [
    'leaves keys where they are',
    back({ cluster: { ...plainClusterOptions, sshKeys: ['k'] } }),
    /^cluster changes: 1 sshKeys → those on its root stay/,
  ],
  [
    'removes nothing that is protected',
    back({ cluster: { ...plainClusterOptions, protection: true } }),
    /^cluster stands in the way: protection/,
  ],
  [
    'gets no devices',
    there({ devices: ['/dev/fuse', '/dev/net/tun'] }),
    /^devices stands in the way: \/dev\/fuse, \/dev\/net\/tun → a token may give none/,
  ],
  [
    'sets no capabilities',
    there(security({ addCapabilities: ['CAP_A'], dropCapabilities: ['CAP_B'] })),
    /^capabilities stands in the way: with CAP_A, without CAP_B/,
  ],
  [
    'takes no keys',
    there({ lxcKeys: { 'lxc.pty.max': '64' } }),
    /^keys of LXC stands in the way: lxc\.pty\.max: 64/,
  ],
  // storage
  [
    'has another image in a cluster',
    there({}),
    /^image changes: lxc:images\/debian\/12 → not known there \(.*vztmpl/,
  ],
  [
    'has another image on a host',
    back({ image: `proxmox:guest/105@${sha}` }),
    /^image changes: proxmox:guest\/105 → not known there \(.*tar:\/PATH/,
  ],
  [
    'keeps an image of the web',
    there({ image: `https://x/y.tar.xz@${sha}` }),
    /^image carries over: https:\/\/x\/y\.tar\.xz → /,
  ],
  [
    'has an image of a registry pulled from 9.1 on',
    there({ image: 'localhost:5000/web:1' }, version('9.1.0')),
    /^image changes: localhost:5000\/web:1 → pulled by its nodes, by tag alone/,
  ],
  [
    'has no image of a registry before',
    there({ image: 'localhost:5000/web:1' }, version('9.0.4')),
    /^image changes: localhost:5000\/web:1 → not known there/,
  ],
  [
    'has no image of a registry that wants a login',
    there({ image: 'localhost:5000/web:1', imageCredential: 'me' }, version('9.1.0')),
    /^image changes: localhost:5000\/web:1 → not known there \(.*login/,
  ],
  [
    'has a tarball elsewhere',
    there({ image: '/x'.replace('/', 'tar:/') }),
    /^image changes: tar:\/x → a file on the control plane’s host/,
  ],
  ['has a root of a size', there({}), /^root changes: of no certain size → 4GiB.*\(set resources\.disk/],
  ['has whole GiB', there(resources({ diskMib: 1500 })), /^root changes: 1500MiB → 2GiB/],
  ['keeps whole GiB', there(resources({ diskMib: 2048 })), /^root carries over: 2GiB → /],
  ['keeps any size on a host', back(resources({ diskMib: 1500 })), /^root carries over: 1500MiB/],
  [
    'has not the pool',
    there({ rootPool: 'tank' }),
    /^pool stands in the way: tank → .*\(name one of local-lvm/,
  ],
  [
    'has the pool',
    back({ rootPool: 'tank', volumes: [{ ...volume, pool: 'tank' }] }),
    /^pool carries over: tank/,
  ],
  [
    'copies volumes',
    there({ volumes: [volume] }),
    /^mounts carries over: data on \/data, 64MiB, read-only → the same, copied/,
  ],
  [
    'wants sizes in a cluster',
    there({ volumes: [{ ...volume, sizeMib: 0 }] }),
    /^mounts stands in the way: .*set size of the volume data/,
  ],
  [
    'wants none on a host',
    back({ volumes: [{ ...volume, sizeMib: 0 }] }),
    /^mounts carries over: data on \/data, no quota/,
  ],
  [
    'lets volumes go with the container',
    there({ volumes: [volume] }),
    /^volumes changes: data outlives its copy → it goes with its container/,
  ],
  [
    'keeps no volume in a cluster',
    there({ volumes: [{ ...volume, keep: true }] }),
    /^volumes stands in the way: data stays .*take keep out/,
  ],
  [
    'keeps volumes on a host',
    back({ volumes: [{ ...volume, keep: true }] }),
    /^volumes changes: .* → it outlives its copy/,
  ],
  [
    'leaves snapshots behind',
    there({}),
    /^snapshots changes: those that were taken → they stay with the old copy/,
  ],
  [
    'takes none by the clock in a cluster',
    there({ snapshots: { hourly: 2, daily: 1, weekly: 0 } }),
    /^snapshots changes: 2 hourly, 1 daily, 0 weekly → none by themselves \(.*backup job/,
  ],
  [
    'takes them by the clock on a host',
    back({ snapshots: { hourly: 2, daily: 1, weekly: 0 } }),
    /^snapshots changes: none by themselves → 2 hourly/,
  ],
  // network
  ['has no network of the host', there({ network: 'host' }), /^network stands in the way: the host’s/],
  ['has one of the host', back({ network: 'host' }), /^network carries over: the host’s/],
  ['stays without', there({ network: 'none' }), /^network carries over: none/],
  ['keeps a bridge that is there', there(onLan), /^network carries over: lan on the bridge vmbr0/],
  [
    'needs the bridge on a host',
    back(onLan),
    /^network carries over: lan on the bridge vmbr0 .*Drover makes none/,
  ],
  [
    'makes the bridge on a host',
    back(onLan, { networks: [network('lan', { managedBridge: true })] }),
    /^network carries over: lan on the bridge vmbr0 → lan on the bridge vmbr0$/,
  ],
  [
    'makes no bridge in a cluster',
    there(onLan, { networks: [network('lan', { bridge: 'drv-lan', managedBridge: true })] }),
    /^network stands in the way: lan on the bridge drv-lan → Proxmox nodes .*one of vmbr0, vmbr1/,
  ],
  [
    'has not the bridge',
    there(onLan, { networks: [network('lan', { bridge: 'vmbr7' })] }),
    /^network stands in the way: .*no node that offers proxmox-lxc has it/,
  ],
  [
    'keeps VLAN',
    there(onLan, { networks: [network('lan', { vlan: 7 })] }),
    /^network carries over: lan with the VLAN 7/,
  ],
  [
    'keeps MTU',
    back(onLan, { networks: [network('lan', { mtu: 9000 })] }),
    /^network carries over: lan with an MTU of 9000/,
  ],
  [
    'masquerades not',
    there(onLan, { networks: [network('lan', { masquerade: true })] }),
    /^network stands in the way: lan with masquerading/,
  ],
  [
    'has no addresses of nodes',
    there(onLan, { networks: [network('lan', { nodePrivate: true })] }),
    /^network stands in the way: lan with addresses of each/,
  ],
  [
    'has no routes',
    there(onLan, { networks: [network('lan', { routes: [{ destination: 'a', via: 'b' }] })] }),
    /^network stands in the way: lan with routes/,
  ],
  [
    'misses a network',
    there({ networks: [{ network: 'dmz', addresses: [] }] }),
    /^network stands in the way: dmz → there is no such network/,
  ],
  [
    'publishes no ports',
    there({ ports: [port, { ...port, hostPort: 80 }] }),
    /^ports stands in the way: any:25\/tcp, 80:25\/tcp → /,
  ],
  ['publishes ports on a host', back({ ports: [port] }), /^ports carries over: any:25\/tcp/],
  ['keeps name servers', there(dns([])), /^name servers carries over: 10\.0\.0\.1/],
  ['sets no options of them', there(dns(['ndots:2'])), /^name servers stands in the way: options ndots:2/],
  ['sets options on a host', back(dns(['ndots:2'])), /^name servers carries over: options ndots:2/],
  // program
  ['starts an init', there({}), /^command and environment carries over: \/sbin\/init/],
  [
    'starts no command before 9.1',
    there({ command: ['/bin/x', '-v'] }),
    /^command and environment stands in the way: \/bin\/x -v → its nodes run 8\.x or 9\.0/,
  ],
  [
    'starts a command from 9.1 on',
    there({ command: ['/bin/x'] }, version('9.2.11')),
    /^command and environment carries over: \/bin\/x/,
  ],
  [
    'starts one on a host',
    back({ command: ['/bin/x', 'a b'] }, { versions: new Map() }),
    /^command and environment carries over: \/bin\/x a b/,
  ],
  [
    'says no spaces',
    there({ command: ['a b'] }, version('10.0.1')),
    /^command and environment stands in the way: a b → words with spaces/,
  ],
  [
    'has no env before 9.1',
    there({ env: { A: '1' } }, version('8.4.21')),
    /^command and environment stands in the way: env A/,
  ],
  [
    'has env from 9.1 on',
    there({ env: { A: '1', B: '2' } }, version('9.1.0')),
    /^command and environment carries over: env A, B/,
  ],
  [
    'does not know the command of an image',
    there({ image: 'registry.example/web:1' }, version('9.1.0')),
    /^command and environment stands in the way: those of its image .*say them/,
  ],
  [
    'has no user in a cluster',
    there({ user: '1000', workingDir: '/srv' }),
    /^user stands in the way: user 1000, workingDir \/srv/,
  ],
  ['has one on a host', back({ user: '1000' }), /^user carries over: user 1000/],
  ['is written into', there({}), /^files inside changes: .*SSH host keys/],
  ['is not written into', back({}), /^files inside changes: .*what it wrote stays/],
  [
    'sees cores',
    there(resources({ cpuMillicores: 1500 })),
    /^limits carries over: 1500m CPU → 1500m CPU, of 2 that it sees/,
  ],
  ['has memory', there(resources({})), /^limits changes: no limit of memory → 512MiB/],
  ['has no limit of processes', there({}), /^limits changes: 64 processes → no limit/],
  ['has one on a host', back({}), /^limits changes: no limit of processes → 64 processes/],
  [
    'is started by the control plane',
    there({ restart: { policy: 'on-failure', maxAttempts: 0 } }),
    /^restart changes: on-failure, by its agent.*exit codes are not told/,
  ],
  [
    'is started by its agent',
    back({}),
    /^restart changes: always, by the control plane.* → always, by its agent/,
  ],
  ['is not started', there({ restart: { policy: 'never', maxAttempts: 0 } }), /^restart carries over: never/],
  ['keeps its order', there({ startOrder: 5 }), /^start order carries over: 5/],
  ['is out of reach', there({}), /^access changes: exec, logs.*SSH/],
  ['is within reach', back({}), /^access changes: .* → exec, logs/],
  // nodes
  ['goes where it fits', there({}), /^nodes changes: .* → lab-pve1$/],
  ['goes to a host', back({ cluster: plainClusterOptions }), /^nodes changes: .* → h1$/],
  [
    'has no cluster',
    there({}, { nodes: [host] }),
    /^nodes stands in the way: .*no node offers proxmox-lxc \(drover cluster add/,
  ],
  [
    'has no host',
    back({}, { nodes: [pve] }),
    /^nodes stands in the way: .*no node offers lxc \(drover node token/,
  ],
  ['fits nowhere', there(resources({ memoryMib: 90_000 })), /^nodes stands in the way: .*0 of 2 nodes fit/],
  [
    'finds no node with its labels',
    there({ placement: { require: ['zone = a'], strategy: 'spread' } }),
    /^nodes stands in the way/,
  ],
];

describe('a workload under another runtime', () => {
  it.each(rows)('%s', (_title, report, line) => {
    expect({ found: report.filter((each) => line.test(each)).length, report }).toMatchObject({ found: 1 });
  });

  it('keeps what is reserved for a copy, and what it is called', () => {
    const lan: Attachment = {
      network: 'lan',
      bridge: 'vmbr0',
      managedBridge: false,
      interface: 'eth0',
      mac: '02:00:00:00:00:01',
      addresses: ['10.0.0.5/24'],
      gateways: [],
      mtu: 0,
      vlan: 0,
      masquerade: false,
      nodePrivateSubnet: '',
      routes: [],
    };
    const plain = instanceRecord(workloadRecord({ runtime: 'lxc' }), 1);
    const copy = (attachments: Attachment[]) => {
      const assigned = { ...plain.spec.assigned, attachments };
      return { instances: [{ ...plain, spec: { ...plain.spec, assigned } }] };
    };
    const fixed = there(onLan, copy([lan]));
    expect(fixed).toContainEqual(expect.stringMatching(/^hardware address carries over: 02:00:00:00:00:01/));
    expect(fixed).toContainEqual(
      expect.stringMatching(/^addresses carries over: 10\.0\.0\.5\/24 → the same/),
    );
    expect(fixed).toContainEqual('host name carries over: web-00001 → web-00001');
    expect(fixed).toContain('nodes changes: h1 → lab-pve1');
    const given = there(onLan, copy([{ ...lan, addresses: [] }]));
    expect(given).toContainEqual(
      expect.stringMatching(/^addresses carries over: what the network gives out/),
    );
  });

  it.each([
    ['a runtime that there is not', { to: 'docker' }, 'invalid-argument', /there is no runtime "docker"/],
    ['the runtime that it has', { to: 'lxc' }, 'invalid-argument', /its runtime is lxc already/],
    ['a container to be a machine', { to: 'proxmox-vm' }, 'unimplemented', /kernel and disks of its own/],
    ['a machine to be a container', { from: 'proxmox-vm' }, 'unimplemented', /kernel and disks of its own/],
    ['what has no root to take along', { from: 'crun', to: 'lxc' }, 'unimplemented', /no root to take along/],
    ['what would take no root along', { to: 'crun' }, 'unimplemented', /no root to take along/],
  ])('refuses %s', (_title, given, kind, message) => {
    expect(() => reportOf({}, given)).toThrowError(
      expect.objectContaining({ kind, message: expect.stringMatching(message) as string }) as Error,
    );
  });
});

describe('the way there', () => {
  const stepsTo = (to: string, spec: Change = {}) => {
    const from = to === 'lxc' ? 'proxmox-lxc' : 'lxc';
    return reportOf(spec, { from, to }).steps;
  };

  it.each([['lxc'], ['proxmox-lxc']])('to %s removes nothing before the new copy is good', (to) => {
    const names = stepsTo(to).map(({ name }) => name);
    const way = ['stop', 'snapshot', 'stream', 'create', 'start', 'keep the old copy', 'remove the old copy'];
    expect(names).toEqual(way);
  });

  it('says what is lost, and what is not', () => {
    const steps = stepsTo('proxmox-lxc', { volumes: [{ ...volume, keep: true }], stopGraceMs: 60_000 });
    const lost = Object.fromEntries(steps.map(({ name, lost: words }) => [name, words]));
    expect(lost).toMatchObject({
      stop: expect.stringContaining('processes and memory') as string,
      snapshot: '',
      stream: expect.stringContaining('device files and sockets') as string,
      create: 'SSH host keys; ids above 65535',
      'remove the old copy': 'its snapshots; the volumes data stay as they were',
    });
    expect(steps[0]?.does).toContain('after 1m');
  });

  it('has a cluster write a backup, since its API hands out no files', () => {
    const does = stepsTo('lxc').map((step) => step.does);
    expect(does).toContainEqual(expect.stringMatching(/^have the cluster back its root up \(vzdump/));
  });
});
