import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { systemRandom } from '#shared/random.ts';
import { until } from '../../test/until.ts';
import { createCgroups, type Cgroups } from './cgroup.ts';

const mib = 1024 * 1024;
const limits = { cpuMillicores: 1500, memoryMib: 96, pids: 33 };

/** A group as a host of version 2 has it; plain files: what is written stays as it is. */
const recorded: Readonly<Record<string, string>> = {
  'cgroup.events': 'populated 1\nfrozen 0\n',
  'cgroup.freeze': '0\n',
  'cgroup.procs': '11\n',
  'cpu.max': '50000 100000\n',
  'cpu.stat': 'usage_usec 81234\nuser_usec 60000\nsystem_usec 21234\nnr_periods 3\n',
  'cpu.weight': '20\n',
  'memory.current': `${40 * mib}\n`,
  'memory.max': '67108864\n',
  'memory.stat': `anon ${10 * mib}\nfile ${25 * mib}\ninactive_file ${20 * mib}\nactive_file ${5 * mib}\n`,
  'memory.swap.max': '0\n',
  'pids.current': '4\n',
  'pids.max': '40\n',
};

async function newVersion2() {
  const root = await mkdtemp(path.join(tmpdir(), 'drover-cgroup-'));
  const group = path.join(root, 'drover-x/a');
  await mkdir(group, { recursive: true });
  await writeFile(path.join(root, 'cgroup.controllers'), 'cpu memory pids\n');
  for (const [name, text] of Object.entries(recorded)) await writeFile(path.join(group, name), text);
  const cgroups = createCgroups({ clock: systemClock, prefix: '/drover-x', root });
  const read = async (name: string): Promise<string> =>
    (await readFile(path.join(group, name), 'utf8')).trim();
  return { group, cgroups, read, [Symbol.asyncDispose]: () => rm(root, { recursive: true }) };
}

describe('a group of version 2', () => {
  it('says what it uses, file caches left out', async () => {
    await using tree = await newVersion2();
    expect(tree.cgroups.usage('a')).toEqual({ cpuUs: 81_234, memoryBytes: 15 * mib, pids: 4 });
    expect(tree.cgroups.usage('b')).toBeUndefined();
  });

  it('is frozen once the kernel says so, and thawed', async () => {
    await using tree = await newVersion2();
    const frozen = tree.cgroups.freeze('a');
    await until(async () => (await tree.read('cgroup.freeze')) === '1', { what: 'it was told' });
    await writeFile(path.join(tree.group, 'cgroup.events'), 'populated 1\nfrozen 1\n');
    await frozen;
    expect(tree.cgroups.isFrozen('a')).toBe(true);
    await tree.cgroups.thaw('a');
    expect(tree.cgroups.isFrozen('a')).toBe(false);
  });

  it('gets limits, and loses them', async () => {
    await using tree = await newVersion2();
    await tree.cgroups.setLimits('a', limits);
    expect(tree.cgroups.limits('a')).toEqual(limits);
    expect([await tree.read('memory.max'), await tree.read('memory.swap.max')]).toEqual([`${96 * mib}`, '0']);
    expect([await tree.read('cpu.max'), await tree.read('cpu.weight')]).toEqual(['150000 100000', '59']);
    await tree.cgroups.setLimits('a', { cpuMillicores: 0, memoryMib: 0, pids: 0 });
    expect([await tree.read('memory.max'), await tree.read('memory.swap.max')]).toEqual(['max', 'max']);
    expect([await tree.read('cpu.max'), await tree.read('pids.max')]).toEqual(['max 100000', 'max']);
  });

  it('is not limited below what it uses: the kernel would kill', async () => {
    await using tree = await newVersion2();
    await expect(tree.cgroups.setLimits('a', { ...limits, memoryMib: 14 })).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: 'wanted a limit of 14 MiB of memory, 15 MiB are in use',
    });
    expect(await tree.read('memory.max')).toBe('67108864');
  });
});

const hierarchies = (): string[] =>
  readdirSync('/sys/fs/cgroup')
    .map((name) => path.join('/sys/fs/cgroup', name))
    .filter((place) => existsSync(path.join(place, 'cgroup.procs')));

/** A process in a group of its own in every hierarchy of this host. */
async function newVersion1(script: string) {
  const prefix = `/drover-test-${systemRandom.uuidV4().slice(0, 8)}`;
  const cgroups = createCgroups({ clock: systemClock, prefix });
  const child = spawn('/bin/sh', ['-c', `read go; ${script}`], { stdio: ['pipe', 'ignore', 'inherit'] });
  for (const place of hierarchies()) {
    await mkdir(path.join(place, prefix, 'a'), { recursive: true });
    // An empty set of processors takes nobody in.
    for (const level of place.endsWith('/cpuset') ? [prefix, `${prefix}/a`] : []) {
      for (const file of ['cpuset.cpus', 'cpuset.mems']) {
        const text = await readFile(path.join(place, path.dirname(level), file), 'utf8');
        await writeFile(path.join(place, level, file), text);
      }
    }
    await writeFile(path.join(place, prefix, 'a/cgroup.procs'), `${child.pid}`);
  }
  child.stdin.end('go\n');
  return {
    cgroups,
    pid: child.pid ?? 0,
    groupOf: (controller: string) => path.join('/sys/fs/cgroup', controller, prefix, 'a'),
    async [Symbol.asyncDispose]() {
      await cgroups.kill('a', 5000);
      await cgroups.remove('a');
      await cgroups.leave();
    },
  };
}

const ticksOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return Number(fields[11]) + Number(fields[12]);
};

const grows = async (cgroups: Cgroups): Promise<boolean> => {
  const before = cgroups.usage('a')?.cpuUs ?? 0;
  return until(() => (cgroups.usage('a')?.cpuUs ?? 0) > before + 20_000, { what: 'it uses the processor' });
};

describe.skipIf(existsSync('/sys/fs/cgroup/cgroup.controllers'))('a group of version 1', () => {
  it('stands still while it is frozen, twice, and goes on', async () => {
    await using world = await newVersion1('while :; do :; done');
    const { cgroups, pid } = world;
    await grows(cgroups);
    await cgroups.freeze('a');
    await cgroups.freeze('a');
    expect(cgroups.isFrozen('a')).toBe(true);
    const before = ticksOf(pid);
    await systemClock.sleep(100); // Long enough to be seen, had it gone on.
    expect(ticksOf(pid)).toBe(before);
    await cgroups.thaw('a');
    await cgroups.thaw('a');
    expect(cgroups.isFrozen('a')).toBe(false);
    await grows(cgroups);
  });

  it('is killed while it is frozen, also in a group that froze itself', async () => {
    await using world = await newVersion1('sleep 100000');
    const inner = path.join(world.groupOf('freezer'), 'inner');
    await mkdir(inner);
    await writeFile(path.join(inner, 'cgroup.procs'), `${world.pid}`);
    await writeFile(path.join(inner, 'freezer.state'), 'FROZEN');
    await world.cgroups.freeze('a');
    await world.cgroups.kill('a', 5000);
    expect(world.cgroups.processes('a')).toEqual([]);
  });

  it('gets limits in either order, and loses them', async () => {
    await using world = await newVersion1('sleep 100000');
    for (const memoryMib of [64, 256, 32, 0, 128]) {
      const wanted = { ...limits, memoryMib };
      await world.cgroups.setLimits('a', wanted);
      expect(world.cgroups.limits('a')).toEqual(wanted);
    }
    await world.cgroups.setLimits('a', { cpuMillicores: 0, memoryMib: 0, pids: 0 });
    expect(world.cgroups.limits('a')).toEqual({ cpuMillicores: 0, memoryMib: 0, pids: 0 });
  });

  it('is not limited below what it uses, and keeps what it had', async () => {
    await using world = await newVersion1('x=$(head -c 20000000 /dev/zero | tr "\\0" x); sleep 100000');
    await world.cgroups.setLimits('a', limits);
    await until(() => (world.cgroups.usage('a')?.memoryBytes ?? 0) > 19_000_000, { what: 'it holds memory' });
    const refused = world.cgroups.setLimits('a', { ...limits, memoryMib: 8 });
    await expect(refused).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringMatching(/^wanted a limit of 8 MiB of memory, \d+ MiB are in use$/) as string,
    });
    expect(world.cgroups.limits('a')).toEqual(limits);
  });

  it('that is not there uses nothing, is not frozen and takes no limits', async () => {
    const cgroups = createCgroups({ clock: systemClock, prefix: '/drover-none' });
    expect([cgroups.usage('a'), cgroups.isFrozen('a')]).toEqual([undefined, false]);
    await cgroups.thaw('a');
    await expect(cgroups.freeze('a')).rejects.toMatchObject({ kind: 'failed-precondition' });
    await expect(cgroups.setLimits('a', limits)).rejects.toMatchObject({ kind: 'failed-precondition' });
    await expect(cgroups.freeze('..')).rejects.toMatchObject({ kind: 'invalid-argument' });
  });
});
