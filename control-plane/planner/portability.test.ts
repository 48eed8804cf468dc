import { describe, expect, it } from 'vitest';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import { nodeView, pool, runtimes } from '../../test/fakes/scheduling.ts';
import type { Network, Security, WorkloadSpec } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { portability } from './portability.ts';
import type { PortabilityInput } from './portability-finding.ts';

const cluster = nodeView('lab-pve1', {
  runtimes: runtimes('proxmox-lxc'),
  bridges: new Set(['vmbr0', 'vmbr1']),
  pools: [pool({ name: 'local-lvm' })],
});
const host = nodeView('h1', { runtimes: runtimes('lxc'), pools: [pool({ name: 'tank' })] });
const network = (name: string, spec: Partial<Network['spec']>): Network => ({
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

function report(spec: Partial<WorkloadSpec>, input: Partial<PortabilityInput> = {}): string[] {
  const workload = workloadRecord({ image: 'lxc:images/debian/12', runtime: 'lxc', ...spec });
  return portability({
    spec: workload.spec,
    from: 'lxc',
    to: 'proxmox-lxc',
    instances: [],
    networks: [network('lan', { vlan: 7 })],
    nodes: [cluster, host],
    ...input,
  }).map(({ subject, outcome, detail }) => `${subject} ${outcome}: ${detail}`);
}
const back = { from: 'proxmox-lxc', to: 'lxc' };
const security = (changes: Partial<Security>) => ({ security: { ...plainGuestConfig.security, ...changes } });
const options = {
  pool: 'prod',
  tags: ['a'],
  sshKeys: [],
  features: { keyctl: true, fuse: false, mount: [] },
  onBoot: true,
  protection: false,
};
const volume = { name: 'data', mountPath: '/data', sizeMib: 64, pool: '', readOnly: true, keep: false };

const rows: readonly [title: string, found: string[], wanted: string | RegExp][] = [
  ['shifts ids to the range of a cluster', report({}), /^id map changes: .*100000 to 165535/],
  ['shifts ids to the range of a plain host', report({}, back), /^id map changes: .*its node’s range/],
  [
    'has no range of its own in a cluster',
    report(security({ ownIdRange: true })),
    /^id map stands in the way: security\.ownIdRange/,
  ],
  ['has one on a plain host', report(security({ ownIdRange: true }), back), /^id map changes/],
  [
    'needs a node that allows privileged guests',
    report(security({ privileged: true })),
    /^id map stands in the way: privileged/,
  ],
  [
    'keeps ids where both sides are privileged',
    report(security({ privileged: true }), { nodes: [{ ...cluster, allowsPrivileged: true }] }),
    /^id map carries over/,
  ],
  ['keeps nesting', report(security({ nesting: true })), 'features carries over: nesting'],
  [
    'keeps what a cluster alone knows',
    report({ cluster: options }),
    /^features carries over: what its section/,
  ],
  [
    'leaves out what a cluster alone knows',
    report({ cluster: options }, back),
    'cluster options changes: to be left out: pool prod; tags a; features.keyctl',
  ],
  [
    'has no mounts of other file systems on a plain host',
    report({ cluster: { ...options, features: { keyctl: false, fuse: true, mount: ['nfs'] } } }, back),
    /^features stands in the way: features\.mount nfs/,
  ],
  [
    'gets no devices in a cluster',
    report({ devices: ['/dev/fuse'] }),
    /^devices stands in the way: \/dev\/fuse/,
  ],
  [
    'keeps its devices on a plain host',
    report({ devices: ['/dev/fuse'] }, back),
    'devices carries over: /dev/fuse',
  ],
  [
    'cannot set capabilities in a cluster',
    report(security({ addCapabilities: ['CAP_X'] })),
    /^capabilities stands in the way: CAP_X/,
  ],
  [
    'takes no keys to a cluster',
    report({ lxcKeys: { 'lxc.pty.max': '1' } }),
    /^lxc keys stands in the way: lxc\.pty\.max/,
  ],
  [
    'copies its volumes',
    report({ volumes: [volume] }),
    'mounts carries over: data at /data, read-only, copied',
  ],
  [
    'needs a size for volumes of a cluster',
    report({ volumes: [{ ...volume, sizeMib: 0 }] }),
    /^mounts stands in the way: data: a volume of a cluster needs a size/,
  ],
  [
    'needs no size on a plain host',
    report({ volumes: [{ ...volume, sizeMib: 0 }] }, back),
    /^mounts carries over: data/,
  ],
  [
    'names the pools that are there',
    report({ rootPool: 'tank' }),
    /^root stands in the way: no node that offers proxmox-lxc has the pool tank; there are local-lvm$/,
  ],
  [
    'finds its pool',
    report({ rootPool: 'tank' }, back),
    /^root carries over: of no certain size, copied to the pool tank there/,
  ],
  ['has another image', report({}), /^image changes: lxc:images\/debian\/12 is not known there: name https/],
  [
    'has an image of a cluster no more',
    report({ image: 'proxmox:guest/105' }, back),
    /^image changes: proxmox:guest\/105 .*lxc:SERVER/,
  ],
  [
    'keeps an image that is everywhere',
    report({ image: `https://x/y.tar.xz@sha256:${'a'.repeat(64)}` }),
    /^image carries over: https:\/\/x\/y\.tar\.xz/,
  ],
  [
    'keeps a network whose bridge is there',
    report({ networks: [{ network: 'lan', addresses: [] }] }),
    'network carries over: lan on the bridge vmbr0, VLAN 7, its addresses among it',
  ],
  [
    'has no bridge there',
    report(
      { networks: [{ network: 'lan', addresses: [] }] },
      { networks: [network('lan', { bridge: 'drv-lan', managedBridge: true })] },
    ),
    /^network stands in the way: lan is on the bridge drv-lan, which Drover makes on plain hosts alone; there are vmbr0, vmbr1$/,
  ],
  [
    'has no masquerading in a cluster',
    report(
      { networks: [{ network: 'lan', addresses: [] }] },
      { networks: [network('lan', { masquerade: true })] },
    ),
    /^network stands in the way: lan has masquerade/,
  ],
  [
    'has a network that is gone',
    report({ networks: [{ network: 'dmz', addresses: [] }] }),
    'network stands in the way: there is no network dmz',
  ],
  [
    'has no network of the host in a cluster',
    report({ network: 'host' }),
    /^network stands in the way: network "host"/,
  ],
  [
    'forwards no ports in a cluster',
    report({ ports: [{ hostPort: 80, guestPort: 8080, protocol: 'tcp', hostAddress: '' }] }),
    'ports stands in the way: 80:8080/tcp: a cluster’s nodes forward none',
  ],
  [
    'cannot set options of names in a cluster',
    report({ dns: { servers: [], search: [], options: ['ndots:2'] } }),
    /^names stands in the way: dns\.options ndots:2/,
  ],
  [
    'starts an init in a cluster',
    report({ command: ['/bin/x'] }),
    /^program stands in the way: command and env/,
  ],
  [
    'starts after every end in a cluster',
    report({ restart: { policy: 'on-failure', maxAttempts: 0 } }),
    /^restart changes/,
  ],
  ['has no exec in a cluster', report({}), /^access changes: no exec, no logs/],
  [
    'asks for labels',
    report({ placement: { require: ['zone = a'], strategy: 'spread' } }),
    /^placement changes: it asks for zone = a/,
  ],
  [
    'needs a node that offers it',
    report({}, { nodes: [host] }),
    'nodes stands in the way: no node offers proxmox-lxc',
  ],
];

describe('a workload under another runtime', () => {
  it.each(rows)('%s', (_title, found, wanted) => {
    const matching = found.filter((line) =>
      typeof wanted === 'string' ? line === wanted : wanted.test(line),
    );
    expect({ matching: matching.length, found }).toMatchObject({ matching: 1 });
  });

  it('tells each copy’s own things', () => {
    const workload = workloadRecord({ runtime: 'lxc' });
    const plain = instanceRecord(workload, 1);
    const attachment = {
      network: 'lan',
      bridge: 'vmbr0',
      managedBridge: false,
      interface: 'eth0',
      mac: '02:00:00:00:00:01',
      addresses: [],
      gateways: [],
      mtu: 0,
      vlan: 0,
      masquerade: false,
      nodePrivateSubnet: '',
      routes: [],
    };
    const assigned = { attachments: [attachment], volumes: [], ports: [] };
    const found = report({}, { instances: [{ ...plain, spec: { ...plain.spec, assigned } }] });
    expect(found).toContain('MAC changes: eth0 of web-00001 would have another one than 02:00:00:00:00:01');
    expect(found.filter((line) => line.startsWith('hostname changes'))).toHaveLength(1);
  });

  it.each([
    ['a runtime that there is not', { to: 'docker' }, 'invalid-argument'],
    ['the runtime that it has', { to: 'lxc' }, 'invalid-argument'],
    ['a machine', { to: 'proxmox-vm' }, 'unimplemented'],
    ['what has no root of its own', { from: 'crun' }, 'unimplemented'],
  ])('refuses %s', (_title, input, kind) => {
    expect(() => report({}, input)).toThrowError(expect.objectContaining({ kind }) as Error);
  });
});
