import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { Digest, InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { readMounts } from '../agent/volumes/mounts.ts';
import { type CrashJob, crashRange, openSource, openVolumes } from './crash-child.ts';
import { type Registry, startRegistry } from './fakes/registry.ts';
import { buildBusybox, pushImage } from './image-builder.ts';
import { type PassableDirectory, passableDirectory } from './passable-directory.ts';
import { until } from './until.ts';

const { signal } = new AbortController();
const fileCount = 2000;

/**
 * Starts the job, kills it so long after it said a line for the first time, and waits for all that it
 * started.
 */
async function crash(job: CrashJob, line: string, delayMs: number): Promise<void> {
  const program = path.join(import.meta.dirname, 'crash-child.ts');
  const child = spawn(process.execPath, [program, JSON.stringify(job)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  await Promise.race([said(child, line), ended]);
  await systemClock.sleep(delayMs);
  child.kill('SIGKILL');
  await ended;
}

async function said(child: ChildProcess, wanted: string): Promise<void> {
  if (child.stdout === null) return;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === wanted) return;
  }
}

/** Processes that name the directory: tools that a killed program left behind. */
async function usersOf(directory: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(
    pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  );
  return lines.filter((line) => line.includes(directory));
}

/** Also of a test that was given up for its time, whose end nobody waits for. */
const homes: PassableDirectory[] = [];
afterAll(async () => {
  for (const home of homes) {
    await nobodyUses(home.path);
    await home[Symbol.asyncDispose]();
  }
});

async function newHome(): Promise<PassableDirectory> {
  const home = await passableDirectory('crash');
  homes.push(home);
  return home;
}

const nobodyUses = (directory: string) =>
  until(async () => (await usersOf(directory)).length === 0, { what: `the tools below ${directory} to end` });

describe('a pull that is killed', () => {
  let registry: Registry;
  let reference: string;
  beforeAll(async () => {
    registry = await startRegistry();
    const extra = Array.from({ length: fileCount }, (_, index) => ({ name: `many/f${index}`, content: 'x' }));
    const image = await buildBusybox({}, { extra: [{ name: 'many/', type: 'directory' }, ...extra] });
    const digest = await pushImage({ url: registry.url, repository: 'web', tag: '1' }, image);
    reference = `${registry.address}/web@${digest}`;
  });
  afterAll(() => registry.stop());

  it.each([
    ['resolving', 0],
    ['resolving', 60],
    ['fetching', 0],
    ['fetching', 40],
    ['fetching', 90],
    ['unpacking', 0],
    ['unpacking', 30],
    ['unpacking', 80],
    ['unpacking', 140],
    ['unpacking', 170],
    ['unpacking', 200],
    ['ready', 0],
  ])('while %s, %i ms later, is pulled again whole', async (line, delayMs) => {
    await using home = await newHome();
    await crash({ kind: 'pull', directory: home.path, reference }, line, delayMs);

    const source = openSource(home.path);
    const request = { reference, credential: '', range: crashRange };
    const found = (await source.find(reference, crashRange)) ?? (await source.pull(request, signal));
    expect(await readdir(path.join(found.rootfs, 'many'))).toHaveLength(fileCount);
    const pulled = await source.pull(request, signal);
    expect(pulled).toEqual(found);
    expect((await stat(path.join(pulled.rootfs, 'bin/busybox'))).uid).toBe(crashRange.base);
    expect(await source.list(signal)).toHaveLength(1);
    await nobodyUses(home.path);
    await openSource(home.path).resolve(reference, '', signal);
    expect(await readdir(path.join(home.path, 'images/staging'))).toEqual([]);
  });
});

describe('a root that is being made or removed when its maker is killed', () => {
  const delays = [0, 5, 10, 15, 20, 25, 30, 40, 55, 70];
  it.each([
    ...delays.map((delayMs) => ({ delayMs, unshifted: false })),
    ...delays.map((delayMs) => ({ delayMs, unshifted: true })),
  ])('after $delayMs ms, unshifted: $unshifted, is found or made anew', async ({ delayMs, unshifted }) => {
    await using home = await newHome();
    const id = systemRandom.uuidV7() as InstanceId;
    const rootfs = path.join(home.path, 'image');
    await mkdir(rootfs);
    await writeFile(path.join(rootfs, 'here'), '');
    await crash({ kind: 'volume', directory: home.path, rootfs, unshifted, id }, 'preparing', delayMs);
    await nobodyUses(home.path);

    const driver = openVolumes(home.path);
    const image = {
      digest: `sha256:${'a'.repeat(64)}` as Digest,
      rootfs,
      range: unshifted ? { base: 0, size: 65_536 } : crashRange,
    };
    try {
      const root = await driver.prepare({ id, image, range: crashRange, diskMib: 0 }, signal);
      const owner = unshifted ? crashRange.base : 0;
      expect(await stat(path.join(root.path, 'here'))).toMatchObject({ uid: owner });
      expect(await stat(root.path)).toMatchObject({ uid: crashRange.base });
    } finally {
      await driver.remove(id, signal);
    }
    expect(await driver.list(signal)).toEqual([]);
    expect(await readdir(rootfs)).toEqual(['here']);
    expect((await readMounts()).filter(({ target }) => target.startsWith(home.path))).toEqual([]);
  });
});
