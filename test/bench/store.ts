/**
 * Durable transactions per second of the store, one and 64 in flight, as a share of what node:sqlite does
 * alone with the same commit policy: the same file settings, the same rows, one sync for each transaction or
 * for each 64.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { systemClock } from '#shared/clock.ts';
import { openStore } from '../../control-plane/store/open-store.ts';
import { createSqliteJournal } from '../../control-plane/store/sqlite.ts';
import type { JoinToken, Store } from '../../control-plane/store/store.ts';
import { type Figure, median } from './parts/figure.ts';

const roundMs = 700;
const rounds = 9;
const keyCount = 2_000;

const record: JoinToken = {
  secretHash: 'a'.repeat(64),
  node: 'node-1',
  replace: false,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
  createdBy: 'x'.repeat(400),
};

type Side = () => Promise<number>;

/** Transactions per second of one round: `batch` at once, again and again. */
async function measure(batch: number, commitBatch: (first: number) => void | Promise<void>): Promise<number> {
  const startMs = performance.now();
  let count = 0;
  while (performance.now() - startMs < roundMs) {
    await commitBatch(count);
    count += batch;
  }
  return (count * 1000) / (performance.now() - startMs);
}

/** `inFlight` callers, each with its next transaction as soon as the last is durable. */
async function storeRound(store: Store, inFlight: number): Promise<number> {
  const startMs = performance.now();
  let count = 0;
  const caller = async (): Promise<void> => {
    while (performance.now() - startMs < roundMs) {
      const id = `token-${count++ % keyCount}`;
      await store.transact((tx) => tx.put('join-token', id, record));
    }
  };
  await Promise.all(Array.from({ length: inFlight }, caller));
  return (count * 1000) / (performance.now() - startMs);
}

function openBare(file: string) {
  const database = new DatabaseSync(file);
  database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  database.exec('CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL)');
  database.exec(`INSERT INTO meta VALUES ('revision', 0)`);
  database.exec(
    `CREATE TABLE entry (
       id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value TEXT NOT NULL, mod_revision INTEGER NOT NULL
     )`,
  );
  const put = database.prepare(
    `INSERT INTO entry (key, value, mod_revision) VALUES (?, ?, ?)
     ON CONFLICT (key) DO UPDATE SET value = excluded.value, mod_revision = excluded.mod_revision`,
  );
  const setRevision = database.prepare(`UPDATE meta SET value = ? WHERE name = 'revision'`);
  const commit = (first: number, batch: number): void => {
    database.exec('BEGIN IMMEDIATE');
    for (let each = first; each < first + batch; each++) {
      put.run(`join-token/default/token-${each % keyCount}`, JSON.stringify(record), each);
    }
    setRevision.run(first + batch);
    database.exec('COMMIT');
  };
  return { commit, close: () => database.close() };
}

/** Rounds of both sides in turn, so that a disk that changes its pace changes it for both. */
async function compare(ours: Side, bare: Side): Promise<{ ours: number; bare: number; ratio: number }> {
  const pairs: { ours: number; bare: number }[] = [];
  await ours();
  await bare();
  for (let round = 0; round < rounds; round++) pairs.push({ ours: await ours(), bare: await bare() });
  return {
    ours: median(pairs.map((pair) => pair.ours)),
    bare: median(pairs.map((pair) => pair.bare)),
    ratio: median(pairs.map((pair) => pair.ours / pair.bare)),
  };
}

const round2 = (value: number): number => Math.round(value * 100) / 100;

export async function run(): Promise<readonly Figure[]> {
  const directory = await mkdtemp(path.join(tmpdir(), 'drover-bench-'));
  const journal = createSqliteJournal({ file: path.join(directory, 'store.db'), clock: systemClock });
  const store = await openStore({ journal, clock: systemClock });
  const bare = openBare(path.join(directory, 'bare.db'));
  try {
    const figures: Figure[] = [];
    for (const [name, inFlight] of [
      ['single', 1],
      ['parallel64', 64],
    ] as const) {
      const result = await compare(
        () => storeRound(store, inFlight),
        () => measure(inFlight, (first) => bare.commit(first, inFlight)),
      );
      figures.push(
        { name: `${name}-ratio`, value: round2(result.ratio), unit: 'store/bare', goal: { atLeast: 0.8 } },
        { name: `${name}-store`, value: Math.round(result.ours), unit: '1/s' },
        { name: `${name}-bare`, value: Math.round(result.bare), unit: '1/s' },
      );
    }
    return figures;
  } finally {
    await store.close();
    bare.close();
    await rm(directory, { recursive: true });
  }
}
