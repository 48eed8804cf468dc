/**
 * What a guest of LXC costs without an agent: the tools that the agent spawns, with the same arguments and
 * the same configuration, and nothing else. No gRPC, no records, no gates. Started by lxc.ts.
 */
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { chown, mkdir, readFile, rm, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openBareTools, readSampleFile, serveLives } from './bare-tools.ts';
import type { LxcSample } from './instance-sample.ts';

const options = readSampleFile<LxcSample>();
const state = path.join(options.directory, 'state');
const run = path.join(options.directory, 'run');
const names = path.join(state, 'lxc/names');
const tools = openBareTools();
const cgroups = '/sys/fs/cgroup';
const isUnified = existsSync(path.join(cgroups, 'cgroup.controllers'));
const hierarchies = isUnified ? [''] : readdirSync(cgroups);
const busyWaitMs = 10;

interface Root {
  readonly place: string;
  remove(): Promise<void>;
}

async function overlay(id: string, lower: string): Promise<Root> {
  const volume = path.join(state, 'volumes', id);
  const place = path.join(volume, 'root');
  for (const name of ['upper', 'work', 'root']) await mkdir(path.join(volume, name), { recursive: true });
  await chown(path.join(volume, 'upper'), options.owner, options.owner);
  const layers = `lowerdir=${lower},upperdir=${volume}/upper,workdir=${volume}/work`;
  await tools.run('mount', ['-t', 'overlay', '-o', `nodev,${layers}`, 'overlay', place]);
  return {
    place,
    async remove() {
      await tools.run('umount', ['--', place]);
      await rm(volume, { recursive: true, force: true });
    },
  };
}

let cloned: Promise<unknown> = Promise.resolve();

/**
 * zfs-fuse mounts what it clones, hangs where it mounts two at once, and lets go of them some moments after
 * umount.
 */
async function clone(id: string, from: { snapshot: string; parent: string }): Promise<Root> {
  const place = path.join(state, 'volumes', id);
  const name = `${from.parent}/${id}`;
  const where = ['-o', `mountpoint=${place}`, '-o', 'canmount=noauto'];
  const mine = cloned.then(() => tools.run('zfs', ['clone', ...where, from.snapshot, name]));
  cloned = mine.catch(() => undefined);
  await mine;
  await tools.run('mount', ['-o', 'remount,bind,nodev', '--', place]);
  return {
    place,
    async remove() {
      await tools.run('umount', ['--', place]);
      await remove(() => tools.run('zfs', ['destroy', name]));
      await rmdir(place);
    },
  };
}

const groupsOf = (hierarchy: string, kind: 'lxc' | 'lxc-monitor', id: string): string =>
  path.join(cgroups, hierarchy, `${options.groups}-${kind}`, id);

async function processes(kind: 'lxc' | 'lxc-monitor', id: string): Promise<number[]> {
  const inner = kind === 'lxc' ? ['guest'] : [];
  const file = path.join(groupsOf(isUnified ? '' : 'pids', kind, id), ...inner, 'cgroup.procs');
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean).map(Number);
}

/** LXC removes its own groups as far as it can. */
async function removeGroups(id: string): Promise<void> {
  const groups = hierarchies.flatMap((hierarchy) => {
    const [payload, monitor] = [groupsOf(hierarchy, 'lxc', id), groupsOf(hierarchy, 'lxc-monitor', id)];
    return [path.join(payload, 'guest'), payload, monitor];
  });
  for (const group of groups) if (existsSync(group)) await remove(() => rmdir(group));
}

/** What has just been used is let go of some moments later; LXC's monitor may be first. */
async function remove(attempt: () => Promise<void>): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const error = await attempt().then(
      () => undefined,
      (reason: Error) => reason,
    );
    if (error === undefined || (error as NodeJS.ErrnoException).code === 'ENOENT') return;
    if (tries === 100 || !/busy/i.test(error.message)) throw error;
    await sleep(busyWaitMs);
  }
}

async function end(id: string): Promise<void> {
  for (const pid of await processes('lxc', id)) process.kill(pid, 'SIGKILL');
  while ((await processes('lxc-monitor', id)).length > 0) await sleep(1);
  await removeGroups(id);
}

async function live(place: number): Promise<void> {
  const id = `bare-${place}`;
  const guest = path.join(state, 'lxc/guests', id);
  const { root } = options;
  const made = root.kind === 'overlay' ? await overlay(id, root.lower) : await clone(id, root);
  await mkdir(guest, { mode: 0o700 });
  const file = path.join(guest, 'config');
  const text = options.config
    .replaceAll('{ROOT}', made.place)
    .replaceAll('{ID}', id)
    .replaceAll('{STATE}', state)
    .replaceAll('{RUN}', run)
    .replaceAll('{GROUPS}', options.groups);
  await writeFile(file, text, { mode: 0o600 });
  try {
    // With newuidmap on its search path LXC asks /etc/subuid.
    const env = { PATH: '/nonexistent' };
    const args = ['-P', names, '-n', id, '-f', file, '--', ...options.command];
    await tools.run('/usr/bin/lxc-start', args, env);
  } finally {
    await end(id).finally(() => made.remove());
    const logs = [path.join(run, 'lxc/monitors', `${id}.log`), path.join(state, 'lxc/output', `${id}.log`)];
    for (const each of [guest, ...logs]) await rm(each, { recursive: true, force: true });
  }
}

for (const each of [names, ...['guests', 'output'].map((name) => path.join(state, 'lxc', name))])
  await mkdir(each, { recursive: true });
await mkdir(path.join(run, 'lxc/monitors'), { recursive: true });
await mkdir(path.join(state, 'volumes'), { recursive: true });
process.once('disconnect', () => {
  rmSync(path.join('/run/lxc/lock', names), { recursive: true, force: true });
  const groups = hierarchies.flatMap((hierarchy) => [
    path.dirname(groupsOf(hierarchy, 'lxc', 'any')),
    path.dirname(groupsOf(hierarchy, 'lxc-monitor', 'any')),
  ]);
  for (const group of groups) if (existsSync(group)) rmdirSync(group);
});
serveLives(tools, live);
