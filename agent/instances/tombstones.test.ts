import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import { openTombstones, tombstoneLifeMs } from './tombstones.ts';

const idOf = (number: number): InstanceId =>
  `0198c1de-0000-7000-8000-${String(number).padStart(12, '0')}` as InstanceId;

async function withFile(work: (file: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-tombstones-'));
  try {
    await work(path.join(folder, 'tombstones'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe('tombstones', () => {
  it('are found again, a torn last line aside', () =>
    withFile(async (file) => {
      const first = await openTombstones(file, 1000);
      await first.add(idOf(1), 4, 1000);
      await first.add(idOf(2), 1, 1001);
      await appendFile(file, `${idOf(3)} 7 10`);
      const again = await openTombstones(file, 2000);
      expect([1, 2, 3].map((number) => again.has(idOf(number)))).toEqual([true, true, false]);
      await again.add(idOf(4), 1, 2000);
      expect((await openTombstones(file, 2000)).count()).toBe(3);
    }));

  it('end after seven days', () =>
    withFile(async (file) => {
      const stones = await openTombstones(file, 0);
      await stones.add(idOf(1), 1, 0);
      await stones.add(idOf(2), 1, 10);
      expect((await openTombstones(file, tombstoneLifeMs)).has(idOf(1))).toBe(false);
      expect((await openTombstones(file, tombstoneLifeMs)).has(idOf(2))).toBe(true);
    }));

  it('are bounded; the oldest go first', () =>
    withFile(async (file) => {
      const stones = await openTombstones(file, 0, 3);
      for (let number = 1; number <= 5; number += 1) await stones.add(idOf(number), 1, number);
      expect([stones.count(), stones.has(idOf(2)), stones.has(idOf(5))]).toEqual([3, false, true]);
    }));
});
