import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type Commit,
  type Journal,
  type JournalChange,
  journalLimits,
} from '../../control-plane/store/journal.ts';

/** A journal of one test; `reopen` closes it and opens it again on the same storage, as a restart would. */
export interface JournalWorld extends AsyncDisposable {
  readonly journal: Journal;
  reopen(): Promise<Journal>;
}

const never = new AbortController().signal;
const put = (key: string, value = '{}'): Commit => ({ compares: [], writes: [{ kind: 'put', key, value }] });
const remove = (key: string): Commit => ({ compares: [], writes: [{ kind: 'delete', key }] });

async function take(changes: AsyncIterable<JournalChange>, count: number): Promise<JournalChange[]> {
  const taken: JournalChange[] = [];
  for await (const change of changes) {
    taken.push(change);
    if (taken.length === count) break;
  }
  return taken;
}

const compareRows = [
  { title: 'a key as it was read', compare: { key: 'a', modRevision: 3 }, holds: true },
  { title: 'a key that was written since', compare: { key: 'a', modRevision: 1 }, holds: false },
  { title: 'a key that is not there', compare: { key: 'x', modRevision: 0 }, holds: true },
  { title: 'a key that was to be absent and is there', compare: { key: 'a', modRevision: 0 }, holds: false },
  { title: 'a key that was deleted', compare: { key: 'gone', modRevision: 0 }, holds: true },
  { title: 'a key that was deleted since', compare: { key: 'gone', modRevision: 4 }, holds: false },
  { title: 'a range as it was read', compare: { start: 'a', end: 'c', notAfterRevision: 3 }, holds: true },
  { title: 'a range written to since', compare: { start: 'a', end: 'c', notAfterRevision: 2 }, holds: false },
  {
    title: 'a range deleted from since',
    compare: { start: 'g', end: 'h', notAfterRevision: 4 },
    holds: false,
  },
  {
    title: 'a range that ends before the change',
    compare: { start: 'b', end: 'gone', notAfterRevision: 3 },
    holds: true,
  },
] as const;

/** What every Journal promises. A journal earns its place by passing this. */
export function journalConformance(name: string, setUp: () => Promise<JournalWorld>): void {
  describe(`journal ${name}`, () => {
    it('counts one revision for each commit, from nothing', async () => {
      await using world = await setUp();
      expect(await world.journal.load()).toEqual({ revision: 0, compactedRevision: 0, entries: [] });
      expect(await world.journal.commit(put('a'))).toEqual({ committed: true, revision: 1 });
      expect(await world.journal.commit(put('a'))).toEqual({ committed: true, revision: 2 });
    });

    it('has everything again after it was opened anew', async () => {
      await using world = await setUp();
      await world.journal.load();
      await world.journal.commit(put('a', '1'));
      await world.journal.commit({
        compares: [],
        writes: [
          { kind: 'put', key: 'b', value: '"ä"' },
          { kind: 'put', key: 'c', value: '3' },
        ],
      });
      await world.journal.commit(remove('c'));
      await world.journal.commit(put('a', '4'));
      const { revision, entries } = await (await world.reopen()).load();
      expect(revision).toBe(4);
      expect(entries.toSorted((a, b) => (a.key < b.key ? -1 : 1))).toEqual([
        { key: 'a', value: '4', modRevision: 4 },
        { key: 'b', value: '"ä"', modRevision: 2 },
      ]);
    });

    it.each(compareRows)('compares $title', async ({ compare, holds }) => {
      await using world = await setUp();
      const { journal } = world;
      await journal.load();
      for (const commit of [put('a'), put('b'), put('a'), put('gone'), remove('gone')])
        await journal.commit(commit);
      const result = await journal.commit({
        compares: [compare],
        writes: [{ kind: 'put', key: 'new', value: '1' }],
      });
      expect(result).toEqual(holds ? { committed: true, revision: 6 } : { committed: false, revision: 5 });
      const { entries } = await (await world.reopen()).load();
      expect(entries.some(({ key }) => key === 'new')).toBe(holds);
    });

    it('judges a commit by what is queued before it', async () => {
      await using world = await setUp();
      const { journal } = world;
      await journal.load();
      const claim: Commit = { ...put('a'), compares: [{ key: 'a', modRevision: 0 }] };
      const results = await Promise.all([
        journal.commit(claim),
        journal.commit(claim),
        journal.commit(put('b')),
      ]);
      expect(results.map(({ committed }) => committed)).toEqual([true, false, true]);
      expect(results[2]?.revision).toBe(2);
    });

    it('loses none of many commits at once', async () => {
      await using world = await setUp();
      await world.journal.load();
      const results = await Promise.all(
        Array.from({ length: 3_000 }, (_, count) => world.journal.commit(put(`key-${count}`, `${count}`))),
      );
      expect(results.map(({ revision }) => revision)).toEqual(results.map((_, place) => place + 1));
      const { revision, entries } = await (await world.reopen()).load();
      expect([revision, entries.length]).toEqual([3_000, 3_000]);
    });

    it('takes a commit at the limits and refuses one above them', async () => {
      await using world = await setUp();
      const { journal } = world;
      await journal.load();
      const { operationsPerCommit, valueBytes } = journalLimits;
      const writes = (count: number, value = '1') =>
        Array.from({ length: count }, (_, place) => ({ kind: 'put', key: `k${place}`, value }) as const);
      const compares = [{ key: 'x', modRevision: 0 }];
      const refused = { kind: 'invalid-argument', reason: 'above-limits' };
      expect(await journal.commit({ compares, writes: writes(operationsPerCommit - 1) })).toMatchObject({
        revision: 1,
      });
      await expect(journal.commit({ compares, writes: writes(operationsPerCommit) })).rejects.toMatchObject(
        refused,
      );
      expect(await journal.commit(put('large', 'x'.repeat(valueBytes)))).toMatchObject({ revision: 2 });
      await expect(journal.commit(put('large', 'x'.repeat(valueBytes + 1)))).rejects.toMatchObject(refused);
      await expect(journal.commit(put('wide', 'ä'.repeat(valueBytes / 2 + 1)))).rejects.toMatchObject(
        refused,
      );
      const three = writes(3, 'x'.repeat(valueBytes - 1000));
      await expect(journal.commit({ compares: [], writes: three })).rejects.toMatchObject(refused);
      expect(await journal.commit(put('after'))).toMatchObject({ revision: 3 });
    });

    it('watches from a revision, without gaps, while it is written to', async () => {
      await using world = await setUp();
      const { journal } = world;
      await journal.load();
      await journal.commit(put('a'));
      const reading = (async () => {
        const seen: number[] = [];
        for await (const { revision } of journal.watch(0, never)) {
          seen.push(revision);
          await setImmediate();
          if (seen.length === 500) return seen;
        }
        return seen;
      })();
      for (let count = 0; count < 10; count++) {
        await Promise.all(Array.from({ length: 50 }, () => journal.commit(put('a'))));
      }
      expect(await reading).toEqual(Array.from({ length: 500 }, (_, place) => place + 1));
    });

    it('tells what each revision wrote, in its order', async () => {
      await using world = await setUp();
      await world.journal.load();
      const { writes } = put('a', '1');
      await world.journal.commit({ compares: [], writes: [...writes, ...remove('b').writes] });
      expect(await take(world.journal.watch(0, never), 1)).toEqual([
        { revision: 1, writes: [...writes, { kind: 'delete', key: 'b' }] },
      ]);
    });

    it('says compacted where it no longer reaches, and keeps what is current', async () => {
      await using world = await setUp();
      const { journal } = world;
      await journal.load();
      for (const key of ['a', 'b', 'c']) await journal.commit(put(key));
      await journal.compact(2);
      await expect(take(journal.watch(1, never), 1)).rejects.toMatchObject({
        kind: 'failed-precondition',
        reason: 'compacted',
      });
      expect(await take(journal.watch(2, never), 1)).toMatchObject([{ revision: 3 }]);
      const { entries } = await (await world.reopen()).load();
      expect(entries).toHaveLength(3);
    });

    it('ends its watches when the signal aborts and when it closes', async () => {
      await using world = await setUp();
      const { journal } = world;
      await journal.load();
      const stop = new AbortController();
      const aborted = take(journal.watch(0, stop.signal), 1);
      const closed = take(journal.watch(0, never), 1);
      await setImmediate();
      stop.abort();
      expect(await aborted).toEqual([]);
      await journal.close();
      expect(await closed).toEqual([]);
    });

    it('takes nothing before it is opened and after it is closed', async () => {
      await using world = await setUp();
      const { journal } = world;
      await expect(journal.commit(put('a'))).rejects.toMatchObject({ kind: 'failed-precondition' });
      await journal.load();
      await journal.commit(put('a'));
      await journal.close();
      await expect(journal.commit(put('b'))).rejects.toMatchObject({ kind: 'failed-precondition' });
    });
  });
}
