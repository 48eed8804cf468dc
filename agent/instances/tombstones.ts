import { mkdir, open } from 'node:fs/promises';
import path from 'node:path';
import type { InstanceId } from '#shared/model.ts';
import { readIfThere, writeDurably } from '../host/durable-file.ts';

export const tombstoneLifeMs = 7 * 24 * 3_600_000;
export const maxTombstones = 100_000;

interface Tombstone {
  readonly generation: number;
  readonly atMs: number;
}

/** The ids that were removed here, so that a late order for one of them cannot bring it back. */
export interface Tombstones {
  has(id: InstanceId): boolean;
  /** Resolves when it is durable. May be repeated. */
  add(id: InstanceId, generation: number, nowMs: number): Promise<void>;
  count(): number;
}

/**
 * Tombstones in one file that is appended to: a line `id generation time` each. A torn last line was never
 * acknowledged and is dropped. Kept for seven days, the newest 100,000.
 */
export async function openTombstones(
  file: string,
  nowMs: number,
  limit: number = maxTombstones,
): Promise<Tombstones> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const stones = parseLines((await readIfThere(file)) ?? '');
  prune(stones, nowMs, limit);
  await rewrite(file, stones);
  let lines = stones.size;
  let tail = Promise.resolve();

  const append = async (line: string, nowMsOfAdd: number): Promise<void> => {
    prune(stones, nowMsOfAdd, limit);
    lines += 1;
    if (lines > 2 * stones.size + 1000) {
      await rewrite(file, stones);
      lines = stones.size;
      return;
    }
    // Until it is whole: after a failure a part of the line may stand there, and all is written anew.
    const linesBefore = lines;
    lines = Infinity;
    const handle = await open(file, 'a', 0o600);
    try {
      await handle.writeFile(line);
      await handle.datasync();
    } finally {
      await handle.close();
    }
    lines = linesBefore;
  };

  return {
    has: (id) => stones.has(id),
    count: () => stones.size,
    add(id, generation, atMs) {
      stones.delete(id);
      stones.set(id, { generation, atMs });
      const mine = tail.then(() => append(`${id} ${generation} ${atMs}\n`, atMs));
      tail = mine.catch(() => undefined); // The one who asked hears of it; those behind must not.
      return mine;
    },
  };
}

function parseLines(text: string): Map<InstanceId, Tombstone> {
  const stones = new Map<InstanceId, Tombstone>();
  for (const line of text.split('\n').slice(0, -1)) {
    const match = /^([0-9a-f-]{36}) (\d+) (\d+)$/.exec(line);
    if (match === null) continue;
    const id = match[1] as InstanceId;
    stones.delete(id);
    stones.set(id, { generation: Number(match[2]), atMs: Number(match[3]) });
  }
  return stones;
}

function prune(stones: Map<InstanceId, Tombstone>, nowMs: number, limit: number): void {
  for (const [id, { atMs }] of stones) {
    if (stones.size <= limit && nowMs - atMs < tombstoneLifeMs) return;
    stones.delete(id);
  }
}

async function rewrite(file: string, stones: Map<InstanceId, Tombstone>): Promise<void> {
  const lines = [...stones].map(([id, { generation, atMs }]) => `${id} ${generation} ${atMs}\n`);
  await writeDurably(file, lines.join(''));
}
