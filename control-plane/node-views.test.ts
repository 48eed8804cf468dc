import { describe, expect, it } from 'vitest';
import type { Instance, Node, NodeFacts, NodeName } from '#shared/model.ts';
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
const bound = (workload: string, on: string | undefined): Instance =>
  ({
    workload,
    node: on,
    spec: { resources: { cpuMillicores: 500, memoryMib: 1024, diskMib: 2048, pids: 10 } },
  }) as unknown as Instance;

const view = (liveNode: LiveNode | undefined, instances: Instance[] = [], record = node) => {
  const list = (kind: string): never => (kind === 'node' ? [record] : instances) as never;
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
      diskFreeMib: 6144,
      copies: new Map([['web', 2]]),
    });
  });

  it('offers healthy runtimes only, and joins the labels', () => {
    expect(view(live)).toMatchObject({ runtimes: new Set(['crun']), labels: { zone: 'a', rack: '7' } });
  });

  it('bears a node that has never joined', () => {
    expect(view(undefined, [], { ...node, facts: undefined })).toMatchObject({
      ready: false,
      memoryMib: 0,
      notReadyBecause: 'it has not joined yet',
    });
  });
});
