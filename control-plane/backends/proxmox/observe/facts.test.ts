import { describe, expect, it } from 'vitest';
import type { NodeName } from '#shared/model.ts';
import { emptyMemory, type NodeMemory } from '../cluster-memory.ts';
import { capacityOf } from './capacity.ts';
import { conditionsOf, factsOf, parseDetails } from './facts.ts';
import { lxcKind } from '../guests/lxc.ts';
import { qemuKind } from '../guests/qemu.ts';
import { parseResources, type StorageRow } from './listings.ts';
import { guestStorages, storageChooser } from './storages.ts';

const gib = 1024 ** 3;
const storage = (name: string, patch: Partial<StorageRow> = {}): StorageRow => ({
  node: 'pve1',
  storage: name,
  plugin: 'dir',
  content: ['rootdir', 'images'],
  shared: false,
  available: true,
  sizeBytes: 100 * gib,
  usedBytes: 40 * gib,
  ...patch,
});
const guest = (vmid: number, patch: object = {}) => ({
  type: 'lxc',
  node: 'pve1',
  vmid,
  status: 'running',
  mem: gib,
  maxmem: 4 * gib,
  cpu: 0.5,
  maxcpu: 2,
  ...patch,
});
const { nodes, guests } = parseResources([
  {
    type: 'node',
    node: 'pve1',
    status: 'online',
    mem: 10 * gib,
    maxmem: 24 * gib,
    cpu: 0.5,
    maxcpu: 8,
    uptime: 60,
  },
  guest(101),
  // Its memory has ballooned: it may have all of it again.
  guest(102, { type: 'qemu', mem: 2 * gib, maxmem: 16 * gib }),
  guest(103, { status: 'stopped', mem: 0 }),
  guest(104, { template: 1, status: 'stopped', mem: 0 }),
]);
const node: NodeMemory = {
  name: 'lab-pve1' as NodeName,
  node: 'pve1',
  address: '10.0.0.11',
  online: true,
  silentSinceMs: undefined,
  row: nodes[0],
  storages: [
    storage('local'),
    storage('tank', { plugin: 'zfspool', usedBytes: gib }),
    storage('iso', { content: ['iso'] }),
  ],
  details: parseDetails({ 'current-kernel': { machine: 'x86_64', release: '6.8' } }, [
    { iface: 'vmbr1' },
    { iface: 'vmbr0' },
  ]),
  told: undefined,
  facts: undefined,
  feeling: undefined,
  bootId: '',
};
const memory = { ...emptyMemory(), version: '8.4.21', quorate: true, connected: true, guests };

describe('a node of a cluster', () => {
  it('is told as one of the fleet', () => {
    expect(factsOf(node, memory, [lxcKind, qemuKind], false)).toMatchObject({
      name: 'lab-pve1',
      architecture: 'amd64',
      kernel: '6.8',
      cpuCount: 8,
      memoryMib: 24 * 1024,
      runtimes: [{ name: 'proxmox-lxc' }, { name: 'proxmox-vm' }],
      bridges: ['vmbr0', 'vmbr1'],
      pools: [
        { name: 'tank', driver: 'zfspool', capabilities: ['rootdir', 'images', 'snapshots'] },
        { name: 'local', sizeMib: 100 * 1024 },
      ],
      allowedDevices: [],
      allowsPrivileged: false,
    });
  });

  it('tells what its storages take of images that are brought', () => {
    const contents = (...content: string[]) => {
      const told = { ...node, storages: [storage('a'), storage('b', { content })] };
      return factsOf(told, memory, [lxcKind, qemuKind], false).runtimes.map(({ capabilities }) =>
        capabilities.filter((each) => ['vztmpl', 'import', 'iso'].includes(each)),
      );
    };
    expect(contents('vztmpl', 'iso')).toEqual([['vztmpl'], ['iso']]);
    expect(contents('import')).toEqual([[], ['import']]);
  });

  it('offers no runtime that it has no storage for', () => {
    const bare = { ...node, storages: [storage('a', { content: ['images'] })] };
    expect(factsOf(bare, memory, [lxcKind, qemuKind], false).runtimes).toMatchObject([
      { name: 'proxmox-lxc', healthy: false, detail: 'no storage of its node takes "rootdir"' },
      { name: 'proxmox-vm', healthy: true, detail: '' },
    ]);
  });

  it('has what is really free: others count by what they may claim, our own by what is reserved', () => {
    const capacity = capacityOf(node, memory, new Map([[101, 4096]]));
    expect(capacity).toEqual({
      memoryAvailableMib: 14 * 1024,
      diskFreeMib: 99 * 1024,
      cpuUsedMillicores: 4000,
      instances: 1,
      pools: [
        { name: 'tank', freeMib: 99 * 1024 },
        { name: 'local', freeMib: 60 * 1024 },
      ],
      others: { memoryMib: 17 * 1024 },
    });
  });

  it('says what is wrong with it', () => {
    const holding = (patch: Partial<NodeMemory>, change: Partial<typeof memory>, problem = '') =>
      conditionsOf(
        { ...node, ...patch },
        { ...memory, ...change },
        [{ address: '10.0.0.11:8006', problem }],
        1,
      )
        .filter(({ holds }) => holds)
        .map(({ type }) => type);
    expect(holding({}, {})).toEqual([]);
    expect(holding({}, { quorate: false })).toEqual(['ClusterNoQuorum']);
    const row = nodes[0] === undefined ? undefined : { ...nodes[0], haState: 'maintenance' };
    expect(holding({ row }, {})).toEqual(['NodeInMaintenance']);
    expect(holding({}, {}, 'another certificate')).toEqual(['EndpointUnusable']);
    expect(holding({ address: 'fd00::11' }, {}, 'another certificate')).toEqual([]);
    const v6 = { address: '[fd00::11]:8006', problem: 'another certificate' };
    const unusable = conditionsOf({ ...node, address: 'fd00::11' }, memory, [v6], 1);
    expect(unusable.find(({ type }) => type === 'EndpointUnusable')?.holds).toBe(true);
    expect(
      holding(
        {},
        {
          rights: [
            { privilege: 'VM.Audit', path: '/vms', granted: false, optional: false, neededFor: 'all' },
          ],
        },
      ),
    ).toEqual(['RightsMissing']);
    expect(holding({}, { copies: guests.slice(0, 1) })).toEqual(['CopyFound']);
  });
});

describe('storages', () => {
  it('come in one order: those with snapshots first, then local ones, then by name', () => {
    const rows = [
      storage('nas', { plugin: 'nfs', shared: true }),
      storage('b'),
      storage('a'),
      storage('ceph', { plugin: 'rbd', shared: true }),
      storage('thin', { plugin: 'lvmthin' }),
      storage('iso', { content: ['iso'] }),
      storage('new', { plugin: 'unheard-of' }),
    ];
    expect(guestStorages(rows).map((each) => each.storage)).toEqual(['thin', 'ceph', 'new', 'a', 'b', 'nas']);
  });

  it('come last while their node does not reach them, and are no default then', () => {
    const away = storage('thin', { plugin: 'lvmthin', available: false });
    const storages = [away, storage('b')];
    expect(guestStorages(storages).map((each) => each.storage)).toEqual(['b', 'thin']);
    const full = { ...memory, nodes: new Map([['pve1', { ...node, storages }]]) };
    expect(storageChooser(full, 'pve1', 'lxc')('')).toBe('b');
    expect(storageChooser(full, 'pve1', 'lxc')('thin')).toBe('thin');
  });

  it('stand for pools, where they take that kind of guest', () => {
    const storages = [storage('only-vms', { plugin: 'lvmthin', content: ['images'] }), storage('local')];
    const full = { ...memory, nodes: new Map([['pve1', { ...node, storages }]]) };
    expect(storageChooser(full, 'pve1', 'lxc')('')).toBe('local');
    expect(storageChooser(full, 'pve1', 'qemu')('')).toBe('only-vms');
    expect(() => storageChooser(full, 'pve1', 'lxc')('only-vms')).toThrow(
      'wanted storage only-vms for "rootdir" on pve1, found local',
    );
  });
});
