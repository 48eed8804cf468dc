import { describe, expect, it } from 'vitest';
import type { NodeCapacity, NodeFacts, PoolFacts, RuntimeFacts } from '#shared/model.ts';
import { readBootId, readCgroups, readConditions } from './facts.ts';

const table = (lines: readonly string[]): string =>
  ['#subsys_name\thierarchy\tnum_cgroups\tenabled', ...lines].join('\n');
const v1Mounts =
  'cgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup /c/memory cgroup rw,memory 0 0\n';
const pids = 'cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n';
const unified = 'cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n';
const bound = ['cpu\t2\t1\t1', 'memory\t3\t1\t1', 'pids\t4\t1\t1'];

describe('control groups', () => {
  it.each<[string, string, string, string, string, readonly string[]]>([
    ['version 1, whole', table(bound), v1Mounts + pids, '', 'v1', []],
    ['hybrid, whole', table(bound), v1Mounts + pids + unified, '', 'hybrid', []],
    ['version 2', table([]), 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0', 'cpu memory pids io', 'v2', []],
    ['bound and not mounted', table([...bound, 'hugetlb\t9\t1\t1']), v1Mounts + pids, '', 'v1', ['hugetlb']],
    ['a needed one nowhere', table(bound.slice(0, 2)), v1Mounts, '', 'v1', ['pids']],
    ['a disabled one is not missed', table([...bound, 'rdma\t0\t1\t0']), v1Mounts + pids, '', 'v1', []],
  ])('%s', (_name, cgroups, mounts, controllers, kind, missing) => {
    expect(readCgroups(cgroups, mounts, controllers)).toEqual({ kind, missing });
  });

  it('a boot has an id', async () => {
    expect(await readBootId()).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('conditions of pools', () => {
  const pool = (name: string, more: Partial<PoolFacts> = {}): PoolFacts => ({
    name,
    driver: 'zfs',
    version: '',
    healthy: true,
    detail: '',
    capabilities: [],
    sizeMib: 1000,
    ...more,
  });

  it.each([
    ['none, while all is well', [pool('a')], [{ name: 'a', freeMib: 500 }], undefined, undefined],
    [
      'the broken one by its name',
      [pool('a'), pool('b', { healthy: false, detail: 'is gone' })],
      [{ name: 'a', freeMib: 500 }],
      'b: is gone',
      undefined,
    ],
    ['the full one', [pool('a')], [{ name: 'a', freeMib: 40 }], undefined, 'a: 40 MiB of 1000 MiB free'],
  ])('tell %s', async (_name, pools, free, broken, full) => {
    const facts = { runtimes: [], pools, diskMib: 1 } as unknown as NodeFacts;
    const capacity = { pools: free, diskFreeMib: 1 } as unknown as NodeCapacity;
    const found = await readConditions(facts, capacity);
    const messageOf = (type: string) => found.find((one) => one.type === type && one.holds)?.message;
    expect([messageOf('PoolUnavailable'), messageOf('PoolFull')]).toEqual([broken, full]);
  });
});

describe('the condition of runtimes', () => {
  const runtime = (name: string, healthy: boolean): RuntimeFacts => ({
    name,
    healthy,
    version: '',
    detail: healthy ? '' : `${name} is not installed`,
    capabilities: [],
  });

  it.each([
    ['holds for nobody while one can run guests', [runtime('crun', true), runtime('lxc', false)], undefined],
    [
      'names every runtime where none can',
      [runtime('crun', false), runtime('lxc', false)],
      'crun: crun is not installed; lxc: lxc is not installed',
    ],
  ])('%s', async (_name, runtimes, wanted) => {
    const facts = { runtimes, pools: [], diskMib: 1 } as unknown as NodeFacts;
    const found = await readConditions(facts, { pools: [], diskFreeMib: 1 } as unknown as NodeCapacity);
    expect(found.find(({ type, holds }) => type === 'RuntimeUnavailable' && holds)?.message).toBe(wanted);
  });
});
