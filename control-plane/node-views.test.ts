import { describe, expect, it } from 'vitest';
import type { Condition, Instance, Node, NodeFacts, NodeName, PoolFacts, Volume } from '#shared/model.ts';
import type { LiveNode } from './fleet-view.ts';
import { buildNodeViews } from './node-views.ts';

const name = 'pve1' as NodeName;
const facts = {
  name,
  cpuCount: 4,
  memoryMib: 8192,
  diskMib: 10_240,
  labels: { zone: 'a' },
  runtimes: [
    { name: 'crun', version: '1', healthy: true, detail: '', capabilities: [] },
    { name: 'lxc', version: '', healthy: false, detail: 'not installed', capabilities: [] },
  ],
} as unknown as NodeFacts;
const node = {
  metadata: { name, id: name, labels: { rack: '7' } },
  cordoned: false,
  facts,
} as unknown as Node;
const live: LiveNode = {
  name,
  connected: true,
  listed: true,
  facts,
  capacity: undefined,
  conditions: [],
  lastSeenAtMs: 0,
  images: new Set(['sha256:1']),
  clockSkewMs: 0,
};
const httpPort = { hostPort: 80, guestPort: 80, protocol: 'tcp', hostAddress: '' };

const bound = (workload: string, on: string | undefined): Instance =>
  ({
    metadata: { id: `id-of-${workload}`, name: `${workload}-00001` },
    workload,
    node: on,
    spec: {
      rootPool: '',
      resources: { cpuMillicores: 500, memoryMib: 1024, diskMib: 2048, pids: 10 },
      assigned: { attachments: [], volumes: [], ports: [httpPort] },
    },
  }) as unknown as Instance;

const view = (
  liveNode: LiveNode | undefined,
  instance: Instance[] = [],
  record = node,
  volume: Partial<Volume>[] = [],
) => {
  const records = { node: [record], instance, volume };
  const list = (kind: string): never => records[kind as keyof typeof records] as never;
  const [first] = buildNodeViews({ list }, new Map(liveNode === undefined ? [] : [[name, liveNode]]));
  return first;
};
const condition = (type: string, holds: boolean) => ({
  type,
  holds,
  reason: '',
  message: `${type}!`,
  sinceMs: 0,
});

const readiness = [
  { title: 'ready when it answers and has told all', live, because: '' },
  { title: 'not ready before it is heard of', live: undefined, because: 'has not been heard of' },
  {
    title: 'not ready while it is away',
    live: { ...live, connected: false },
    because: 'does not answer since 1970',
  },
  { title: 'not ready until it has told all', live: { ...live, listed: false }, because: 'not yet told' },
  {
    title: 'not ready under disk pressure',
    live: { ...live, conditions: [condition('DiskPressure', true)] },
    because: 'DiskPressure!',
  },
  {
    title: 'not ready while its cluster has no quorum',
    live: { ...live, conditions: [condition('ClusterNoQuorum', true)] },
    because: 'ClusterNoQuorum!',
  },
  {
    title: 'not ready while its cluster has it in maintenance',
    live: { ...live, conditions: [condition('NodeInMaintenance', true)] },
    because: 'NodeInMaintenance!',
  },
  {
    title: 'ready once the pressure is over',
    live: { ...live, conditions: [condition('DiskPressure', false)] },
    because: '',
  },
  {
    title: 'ready with a skewed clock',
    live: { ...live, conditions: [condition('ClockSkew', true)] },
    because: '',
  },
];

describe('node views', () => {
  it.each(readiness)('is $title', ({ live: liveNode, because }) => {
    const found = view(liveNode);
    expect(found?.ready).toBe(because === '');
    expect(found?.notReadyBecause).toContain(because);
  });

  it('reserves what is bound, visible or not, and counts the copies', () => {
    expect(
      view(live, [bound('web', name), bound('web', name), bound('db', 'other'), bound('db', undefined)]),
    ).toMatchObject({
      cpuMillicores: 4000,
      cpuFreeMillicores: 3000,
      memoryFreeMib: 6144,
      pools: [{ name: 'local', unusableBecause: '', fullBecause: '', freeMib: 6144 }],
      copies: new Map([['web', 2]]),
    });
  });

  it('leaves what others use there to them, and of a pool no more than is free in it', () => {
    const capacity = {
      memoryAvailableMib: 4000,
      diskFreeMib: 5000,
      cpuUsedMillicores: 3000,
      instances: 1,
      pools: [{ name: 'local', freeMib: 5000 }],
      others: { memoryMib: 3000 },
    };
    expect(view({ ...live, capacity }, [bound('web', name)])).toMatchObject({
      cpuFreeMillicores: 3500,
      memoryFreeMib: 8192 - 1024 - 3000,
      pools: [{ name: 'local', freeMib: 5000 }],
    });
    const { others: _others, ...agents } = capacity;
    expect(view({ ...live, capacity: agents }, [bound('web', name)])).toMatchObject({
      memoryFreeMib: 8192 - 1024,
      pools: [{ name: 'local', freeMib: 10_240 - 2048 }],
    });
  });

  it('says who has which host port', () => {
    const ports = view(live, [bound('web', name), bound('db', 'other')])?.ports;
    expect(ports).toEqual([{ ...httpPort, holder: 'id-of-web', instance: 'web-00001' }]);
  });

  it('offers healthy runtimes only, and joins the labels', () => {
    expect(view(live)).toMatchObject({
      runtimes: new Map([['crun', new Set()]]),
      labels: { zone: 'a', rack: '7' },
    });
  });

  const pool = (poolName: string, changes: Partial<PoolFacts> = {}) =>
    ({ name: poolName, healthy: true, detail: '', sizeMib: 10_000, ...changes }) as PoolFacts;
  const pooled = (pools: PoolFacts[], conditions: Condition[] = []): LiveNode => ({
    ...live,
    facts: { ...facts, pools },
    conditions,
  });

  it('reserves what lies in each pool, also what no instance has', () => {
    const volumes = [
      { node: name, pool: 'tank', sizeMib: 3000 },
      { node: name, pool: '', sizeMib: 500 },
      { node: name, pool: 'fast', sizeMib: 100 },
      { node: undefined, pool: 'tank', sizeMib: 9000 },
    ];
    const found = view(pooled([pool('fast'), pool('tank')]), [bound('web', name)], node, volumes);
    expect(found?.pools).toEqual([
      { name: 'fast', unusableBecause: '', fullBecause: '', freeMib: 10_000 - 2048 - 500 - 100 },
      { name: 'tank', unusableBecause: '', fullBecause: '', freeMib: 7000 },
    ]);
  });

  it.each([
    ['its own word', [pool('a', { healthy: false, detail: 'not imported' })], [], ['not imported']],
    [
      'a condition that names it',
      [pool('a'), pool('b')],
      [{ ...condition('PoolFull', true), reason: 'b' }],
      ['', 'PoolFull!'],
    ],
    [
      'a condition that names none',
      [pool('a'), pool('b')],
      [condition('PoolUnavailable', true)],
      ['PoolUnavailable!', 'PoolUnavailable!'],
    ],
    ['no condition that is over', [pool('a')], [condition('PoolFull', false)], ['']],
  ])('calls a pool unusable for %s', (_title, pools, conditions, expected) => {
    const found = view(pooled(pools, conditions));
    expect(found?.pools.map(({ unusableBecause, fullBecause }) => unusableBecause || fullBecause)).toEqual(
      expected,
    );
    expect(found?.ready).toBe(true);
  });

  it('bears a node that has never joined', () => {
    expect(view(undefined, [], { ...node, facts: undefined })).toMatchObject({
      ready: false,
      memoryMib: 0,
      notReadyBecause: 'it has not joined yet',
    });
  });
});
