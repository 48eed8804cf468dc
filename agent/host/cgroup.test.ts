import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { createCgroups } from './cgroup.ts';

type Files = Readonly<Record<string, string>>;

/** A tree of files that reads like the kernel's. */
async function newTree(files: Files): Promise<{ root: string } & AsyncDisposable> {
  const root = await mkdtemp(path.join(tmpdir(), 'drover-cgroup-'));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(root, name)), { recursive: true });
    await writeFile(path.join(root, name), text);
  }
  return { root, [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
}

const version2: Files = {
  'cgroup.controllers': 'cpu memory pids\n',
  'drover-x/a/cgroup.procs': '11\n12\n',
  'drover-x/a/inner/cgroup.procs': '13\n',
  'drover-x/a/memory.max': '67108864\n',
  'drover-x/a/memory.events': 'low 0\noom 1\noom_kill 2\n',
  'drover-x/a/cpu.max': '50000 100000\n',
  'drover-x/a/pids.max': '40\n',
  'drover-x/b/cgroup.procs': '',
  'drover-x/b/memory.max': 'max\n',
  'drover-x/b/memory.events': 'oom_kill 0\n',
  'drover-x/b/cpu.max': 'max 100000\n',
  'drover-x/b/pids.max': 'max\n',
};

const version1: Files = {
  'pids/cgroup.procs': '',
  'memory/cgroup.procs': '',
  'cpu/cgroup.procs': '',
  'pids/drover-x/a/cgroup.procs': '11\n12\n',
  'pids/drover-x/a/inner/cgroup.procs': '13\n',
  'pids/drover-x/a/pids.max': '40\n',
  'memory/drover-x/a/memory.limit_in_bytes': '67108864\n',
  'memory/drover-x/a/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 2\n',
  'cpu/drover-x/a/cpu.cfs_quota_us': '50000\n',
  'cpu/drover-x/a/cpu.cfs_period_us': '100000\n',
  'pids/drover-x/b/cgroup.procs': '',
  'pids/drover-x/b/pids.max': 'max\n',
  'memory/drover-x/b/memory.limit_in_bytes': '9223372036854771712\n',
  'memory/drover-x/b/memory.oom_control': 'oom_kill 0\n',
  'cpu/drover-x/b/cpu.cfs_quota_us': '-1\n',
  'cpu/drover-x/b/cpu.cfs_period_us': '100000\n',
};

describe.each([
  ['version 2', version2],
  ['version 1', version1],
] as const)('cgroups of %s', (_, files) => {
  it('reads processes, limits and lack of memory', async () => {
    await using tree = await newTree(files);
    const cgroups = createCgroups({ clock: systemClock, prefix: '/drover-x', root: tree.root });
    expect(cgroups.processes('a')).toEqual([11, 12, 13]);
    expect(cgroups.limits('a')).toEqual({ pids: 40, memoryMib: 64, cpuMillicores: 500 });
    expect(cgroups.limits('b')).toEqual({ pids: 0, memoryMib: 0, cpuMillicores: 0 });
    expect([cgroups.outOfMemory('a'), cgroups.outOfMemory('b')]).toEqual([true, false]);
    expect(cgroups.list()).toEqual(['a', 'b']);
    expect([cgroups.exists('a'), cgroups.exists('c')]).toEqual([true, false]);
  });

  it('reads nothing from a group that is not there, and removes it', async () => {
    await using tree = await newTree(files);
    const cgroups = createCgroups({ clock: systemClock, prefix: '/drover-x', root: tree.root });
    expect(cgroups.processes('c')).toEqual([]);
    expect(cgroups.limits('c')).toBeUndefined();
    expect(cgroups.outOfMemory('c')).toBe(false);
    await cgroups.kill('c', 100);
    await cgroups.remove('c');
  });

  it.each(['..', '', 'a/b', '-a'])('refuses the name %j', async (name) => {
    await using tree = await newTree(files);
    const cgroups = createCgroups({ clock: systemClock, prefix: '/drover-x', root: tree.root });
    expect(() => cgroups.processes(name)).toThrow(/no name of a cgroup/);
    await expect(cgroups.kill(name, 1)).rejects.toMatchObject({ kind: 'invalid-argument' });
  });
});

it('takes no prefix but one of ours', () => {
  expect(() => createCgroups({ clock: systemClock, prefix: '/' })).toThrow(/prefix/);
});
