import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { JoinToken, Store, Transaction } from './store.ts';
import type { Journal } from './journal.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';

/**
 * Transactions of random reads and writes, run at once through several stores on one journal that fails now
 * and then. What each one read must be what it would have read had all that committed run alone, in the order
 * of revisions.
 */
interface Step {
  readonly kind: 'get' | 'list' | 'add' | 'delete';
  readonly id: string;
}

interface Program {
  readonly store: 0 | 1;
  readonly steps: readonly Step[];
}

type Reads = readonly unknown[];

const id = fc.constantFrom('a', 'b', 'c', 'd');
const step: fc.Arbitrary<Step> = fc.record({ kind: fc.constantFrom('get', 'list', 'add', 'delete'), id });
const program = fc.record({
  store: fc.constantFrom(0 as const, 1 as const),
  steps: fc.array(step, { minLength: 1, maxLength: 5 }),
});

const counter = (value: number): JoinToken => ({
  secretHash: '',
  node: '',
  replace: false,
  createdBy: '',
  expiresAtMs: Number.MAX_SAFE_INTEGER - value,
});
const valueOf = (record: JoinToken | undefined): number =>
  record === undefined ? 0 : Number.MAX_SAFE_INTEGER - record.expiresAtMs;

/** "add" writes one more than the sum of all it sees, so that every write depends on its reads. */
function runSteps(tx: Transaction, steps: readonly Step[]): Reads {
  return steps.flatMap(({ kind, id: key }): unknown[] => {
    if (kind === 'get') return [valueOf(tx.get('join-token', key))];
    if (kind === 'list') return [tx.list('join-token').map(valueOf)];
    if (kind === 'delete') return [tx.delete('join-token', key)];
    const sum = tx.list('join-token').reduce((total, record) => total + valueOf(record), 0);
    return [tx.put('join-token', key, counter((sum % 1_000) + 1))];
  });
}

/** The same on a plain map, one program after another. */
function runAlone(state: Map<string, number>, steps: readonly Step[]): Reads {
  const sorted = (): number[] =>
    [...state].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
  return steps.flatMap(({ kind, id: key }): unknown[] => {
    if (kind === 'get') return [state.get(key) ?? 0];
    if (kind === 'list') return [sorted()];
    if (kind === 'delete') return [void state.delete(key)];
    return [void state.set(key, (sorted().reduce((total, value) => total + value, 0) % 1_000) + 1)];
  });
}

const writesOf = (steps: readonly Step[]): boolean =>
  steps.some(({ kind }) => kind === 'add' || kind === 'delete');

async function runAll(stores: readonly Store[], programs: readonly Program[]) {
  const outcomes = await Promise.allSettled(
    programs.map(async ({ store, steps }) => ({
      steps,
      ...(await (stores[store] as Store).transact((tx) => runSteps(tx, steps))),
    })),
  );
  const failed = outcomes.flatMap((outcome) =>
    outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
  );
  const done = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  return { done, failed };
}

/** Readers of a revision come after its writer. */
const inOrder = (
  a: { revision: number; steps: readonly Step[] },
  b: { revision: number; steps: readonly Step[] },
) => a.revision - b.revision || Number(writesOf(b.steps)) - Number(writesOf(a.steps));

async function check(journal: Journal, programs: readonly Program[], storeCount: 1 | 2): Promise<void> {
  const first = await openStore({ journal, clock: systemClock });
  const second = storeCount === 2 ? await openStore({ journal, clock: systemClock }) : first;
  const { done, failed } = await runAll([first, second], programs);
  for (const error of failed)
    expect(error).toMatchObject({ kind: expect.stringMatching(/resource-exhausted|aborted/) });
  const state = new Map<string, number>();
  for (const { steps, result } of done.toSorted(inOrder)) expect(result).toEqual(runAlone(state, steps));
  await first.close();
  const again = await openStore({ journal, clock: systemClock });
  const sorted = [...state].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
  expect(again.snapshot().list('join-token').map(valueOf)).toEqual(sorted);
  await again.close();
}

const programs = fc.array(program, { minLength: 1, maxLength: 40 });

describe('transactions', () => {
  it('are serializable in the order of their revisions, queued behind one another', async () => {
    const property = fc.asyncProperty(programs, (all) => check(createMemoryJournal(), all, 1));
    await expect(fc.assert(property, { numRuns: 150 })).resolves.toBeUndefined();
  });

  it('are so when the disk is full now and then', async () => {
    const property = fc.asyncProperty(programs, fc.infiniteStream(fc.boolean()), (all, full) =>
      check(createMemoryJournal({ isFull: () => full.next().value as boolean }), all, 1),
    );
    await expect(fc.assert(property, { numRuns: 150 })).resolves.toBeUndefined();
  });

  it('are so when two stores write to one journal', async () => {
    const property = fc.asyncProperty(programs, (all) =>
      check({ ...createMemoryJournal(), isExclusive: false }, all, 2),
    );
    await expect(fc.assert(property, { numRuns: 150 })).resolves.toBeUndefined();
  });
});
