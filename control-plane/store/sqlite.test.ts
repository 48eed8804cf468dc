import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, readdir, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { journalConformance } from '../../test/conformance/journal.ts';
import type { Commit, Journal } from './journal.ts';
import { createSqliteJournal } from './sqlite.ts';
import { describeFailure } from './sqlite-file.ts';

const put = (key: string, value = '{}'): Commit => ({ compares: [], writes: [{ kind: 'put', key, value }] });
const open = (file: string): Journal => createSqliteJournal({ file, clock: systemClock });

async function setUp() {
  const directory = await mkdtemp(path.join(tmpdir(), 'drover-sqlite-'));
  const file = path.join(directory, 'store.db');
  let journal = open(file);
  return {
    directory,
    file,
    journal,
    reopen: async () => {
      await journal.close();
      journal = open(file);
      return journal;
    },
    [Symbol.asyncDispose]: async () => {
      await journal.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

journalConformance('sqlite', setUp);

/**
 * Starts the committing program, kills it once it has acknowledged so many, and gives what it acknowledged.
 */
async function commitUntilKilled(file: string, count: number): Promise<string[]> {
  const program = fileURLToPath(new URL('../../test/fakes/committing-program.ts', import.meta.url));
  const child = spawn(process.execPath, [program, file], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  const lines: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    lines.push(line);
    if (lines.length === count) child.kill('SIGKILL');
  }
  await ended;
  return lines;
}

async function inTmpfs(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(path.join(tmpdir(), 'drover-full-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory]);
  try {
    await test(directory);
  } finally {
    execFileSync('umount', [directory]);
    await rm(directory, { recursive: true });
  }
}

describe('sqlite journal on a bad day', () => {
  it('loses nothing that it acknowledged when it is killed, again and again', async () => {
    await using world = await setUp();
    const acknowledged = new Set<string>();
    for (const count of [1, 37, 400, 900]) {
      for (const line of await commitUntilKilled(world.file, count)) acknowledged.add(line);
      const journal = open(world.file);
      const { revision, entries } = await journal.load();
      await journal.close();
      const found = new Set(entries.map(({ key, modRevision }) => `${modRevision} ${key}`));
      expect([...acknowledged].filter((line) => !found.has(line))).toEqual([]);
      expect(entries).toHaveLength(revision);
    }
  });

  it('recovers a prefix of the commits from a torn tail', async () => {
    await using world = await setUp();
    await world.journal.load();
    for (let count = 1; count <= 60; count++)
      await world.journal.commit(put(`key-${count}`, 'x'.repeat(count * 20)));
    const log = `${world.file}-wal`;
    const { size } = await stat(log);
    for (const cut of [1, 100, 4_096, 5_000, 20_000, Math.floor(size / 2), size - 40]) {
      const copy = path.join(world.directory, `cut-${cut}`, 'store.db');
      await mkdir(path.dirname(copy));
      await copyFile(world.file, copy);
      await copyFile(log, `${copy}-wal`);
      await truncate(`${copy}-wal`, size - cut);
      const journal = open(copy);
      const { revision, entries } = await journal.load();
      await journal.close();
      expect(entries.map(({ modRevision }) => modRevision).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: revision }, (_, place) => place + 1),
      );
    }
  });

  it('refuses on a full disk, goes on reading, and works again once there is room', () =>
    inTmpfs(async (directory) => {
      const journal = open(path.join(directory, 'store.db'));
      await journal.load();
      await journal.commit(put('first'));
      const ballast = path.join(directory, 'ballast');
      await writeFile(ballast, Buffer.alloc(800 * 1024));
      const attempts = Array.from({ length: 40 }, (_, count) =>
        journal.commit(put(`k${count}`, 'x'.repeat(20_000))),
      );
      const results = await Promise.allSettled(attempts);
      expect(results.map(({ status }) => status)).toEqual(results.map(() => 'rejected'));
      await expect(attempts[0]).rejects.toMatchObject({ kind: 'resource-exhausted' });
      await rm(ballast);
      expect(await journal.commit(put('second'))).toEqual({ committed: true, revision: 2 });
      await journal.close();
      const again = open(path.join(directory, 'store.db'));
      const { entries } = await again.load();
      await again.close();
      expect(entries.map(({ key }) => key)).toEqual(['first', 'second']);
    }));

  it('refuses a file that another control plane has open', async () => {
    await using world = await setUp();
    await world.journal.load();
    const second = open(world.file);
    await expect(second.load()).rejects.toMatchObject({ kind: 'failed-precondition', reason: 'locked' });
    await world.journal.commit(put('a'));
  });

  it('refuses what is not a database of ours, and leaves it as it was', async () => {
    await using world = await setUp();
    await writeFile(
      world.file,
      'this is not a database at all, and it is long enough to be read as one '.repeat(100),
    );
    await expect(world.journal.load()).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'foreign-file',
    });
    expect(await readdir(world.directory)).toEqual(['store.db']);
  });
});

const codes = [
  { name: 'SQLITE_FULL', errcode: 13, reason: 'full' },
  { name: 'SQLITE_BUSY', errcode: 5, reason: 'locked' },
  { name: 'SQLITE_NOTADB', errcode: 26, reason: 'foreign' },
  { name: 'SQLITE_IOERR_FSYNC', errcode: 1034, reason: 'broken' },
  { name: 'SQLITE_IOERR_WRITE', errcode: 778, reason: 'broken' },
  { name: 'SQLITE_CORRUPT', errcode: 11, reason: 'broken' },
];

describe('failures of sqlite', () => {
  it.each(codes)('takes $name as $reason', ({ errcode, reason }) => {
    expect(describeFailure(Object.assign(new Error('no'), { errcode }))).toEqual({ reason, message: 'no' });
  });

  it('takes what it does not know as doubt', () => {
    expect(describeFailure(new Error('what?'))).toMatchObject({ reason: 'broken' });
  });
});
