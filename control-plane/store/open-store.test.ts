import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { FleetEvent, Instance, Node, NodeName } from '#shared/model.ts';
import type { Journal } from './journal.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import type { StoreChange } from './store.ts';

const never = new AbortController().signal;
const metadata = (name: string, id = name) => ({
  project: 'default',
  name,
  id,
  labels: {},
  annotations: {},
  revision: 0,
  generation: 1,
  createdAtMs: 0,
});
const nodeRecord = (name: string): Node => ({
  metadata: metadata(name),
  cordoned: false,
  facts: undefined,
  incarnation: '',
  bootId: '',
  certificateSerial: '',
});
const instanceRecord = (id: string, workload: string, node?: string): Instance =>
  ({ metadata: metadata(`name-${id}`, id), workload, node: node as NodeName | undefined }) as Instance;
const event = (message: string): Omit<FleetEvent, 'revision'> => ({
  atMs: 0,
  type: 'test.run',
  severity: 'info',
  subject: {},
  message,
});

const openWith = (journal: Journal) => openStore({ journal, clock: systemClock });
const openFresh = () => openWith(createMemoryJournal());

describe('store', () => {
  it('stamps what is read with the revision that wrote it', async () => {
    const store = await openFresh();
    await store.transact((tx) => tx.put('node', 'a', nodeRecord('a')));
    await store.transact((tx) => tx.put('node', 'b', nodeRecord('b')));
    expect(store.snapshot().list('node')).toMatchObject([
      { metadata: { revision: 1 } },
      { metadata: { revision: 2 } },
    ]);
    await store.close();
  });

  it('keeps a snapshot as it was taken', async () => {
    const store = await openFresh();
    await store.transact((tx) => tx.put('node', 'a', nodeRecord('a')));
    const before = store.snapshot();
    await store.transact((tx) => tx.delete('node', 'a'));
    expect(before.get('node', 'a')).toBeDefined();
    expect(store.snapshot().get('node', 'a')).toBeUndefined();
    await store.close();
  });

  it('finds by name, by workload and by node, also after a record has moved', async () => {
    const store = await openFresh();
    await store.transact((tx) => {
      tx.put('instance', '1', instanceRecord('1', 'web'));
      tx.put('instance', '2', instanceRecord('2', 'web', 'pve1'));
      tx.put('instance', '3', instanceRecord('3', 'web-2', 'pve1'));
    });
    await store.transact((tx) => tx.put('instance', '2', instanceRecord('2', 'web', 'pve2')));
    const snapshot = store.snapshot();
    const ids = (all: readonly Instance[]): string[] => all.map((each) => each.metadata.id);
    expect(ids(snapshot.instancesOfWorkload('web'))).toEqual(['1', '2']);
    expect(ids(snapshot.instancesOnNode('pve1'))).toEqual(['3']);
    expect(ids(snapshot.instancesOnNode('pve2'))).toEqual(['2']);
    expect(snapshot.named('instance', 'name-3')?.metadata.id).toBe('3');
    await store.transact((tx) => tx.delete('instance', '2'));
    expect(store.snapshot().instancesOnNode('pve2')).toEqual([]);
    await store.close();
  });

  it('shows a transaction its own writes and nothing of them to others until they are durable', async () => {
    const store = await openFresh();
    const done = store.transact((tx) => {
      tx.put('node', 'a', nodeRecord('a'));
      return tx.get('node', 'a')?.metadata.name;
    });
    expect(store.snapshot().get('node', 'a')).toBeUndefined();
    expect(await done).toEqual({ result: 'a', revision: 1 });
    expect(store.snapshot().get('node', 'a')).toBeDefined();
    await store.close();
  });

  it('runs a body on what is queued before it', async () => {
    const store = await openFresh();
    const take = () =>
      store.transact((tx) => {
        if (tx.named('node', 'a') !== undefined) return 'taken';
        tx.put('node', 'a', nodeRecord('a'));
        return 'mine';
      });
    const results = await Promise.all([take(), take(), take()]);
    expect(results.map(({ result }) => result)).toEqual(['mine', 'taken', 'taken']);
    expect(store.snapshot().revision).toBe(1);
    await store.close();
  });

  it('writes nothing when the body throws, and throws the same', async () => {
    const store = await openFresh();
    const failing = store.transact((tx) => {
      tx.put('node', 'a', nodeRecord('a'));
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(store.snapshot().revision).toBe(0);
    await store.close();
  });

  it('does not believe a refusal that rests on a write which then failed', async () => {
    let isFull = true;
    const store = await openWith(createMemoryJournal({ isFull: () => isFull }));
    const first = store.transact((tx) => tx.put('node', 'a', nodeRecord('a')));
    const second = store.transact((tx) => {
      if (tx.get('node', 'a') !== undefined) throw new Error('already there');
      return 'free';
    });
    await expect(first).rejects.toMatchObject({ kind: 'resource-exhausted' });
    expect(await second).toMatchObject({ result: 'free' });
    isFull = false;
    await store.transact((tx) => tx.put('node', 'a', nodeRecord('a')));
    expect(store.snapshot().get('node', 'a')).toBeDefined();
    await store.close();
  });

  it('runs a body again when another writer came first, and takes in what it wrote', async () => {
    const journal = createMemoryJournal();
    const store = await openWith(journal);
    const other = await openWith(journal);
    await other.transact((tx) => tx.put('node', 'a', nodeRecord('a')));
    let runs = 0;
    const { result, revision } = await store.transact((tx) => {
      runs += 1;
      const count = tx.list('node').length;
      tx.put('node', 'b', nodeRecord('b'));
      return count;
    });
    expect({ result, revision, runs }).toEqual({ result: 1, revision: 2, runs: 2 });
    expect(store.snapshot().list('node')).toHaveLength(2);
    await store.close();
  });

  it('reads the same after it was opened again', async () => {
    const journal = createMemoryJournal();
    const store = await openWith(journal);
    await store.transact((tx) => {
      tx.put('instance', '1', instanceRecord('1', 'web', 'pve1'));
      tx.event(event('first'));
    });
    const before = store.snapshot();
    await store.close();
    const again = await openWith(journal);
    expect(again.snapshot().revision).toBe(1);
    expect(again.snapshot().instancesOnNode('pve1')).toEqual(before.instancesOnNode('pve1'));
    expect(again.snapshot().list('event')).toEqual(before.list('event'));
    await again.close();
  });

  it('refuses a transaction above the limits', async () => {
    const store = await openFresh();
    const tooMany = store.transact((tx) => {
      for (let count = 0; count < 129; count++) tx.put('node', `n${count}`, nodeRecord(`n${count}`));
    });
    await expect(tooMany).rejects.toMatchObject({ kind: 'invalid-argument' });
    const tooLarge = store.transact((tx) =>
      tx.put('node', 'a', { ...nodeRecord('a'), incarnation: 'x'.repeat(600 * 1024) }),
    );
    await expect(tooLarge).rejects.toMatchObject({ kind: 'invalid-argument' });
    await store.close();
  });

  it('reads as many records as it likes in one transaction', async () => {
    const store = await openFresh();
    await store.transact((tx) => {
      for (let count = 0; count < 300; count++) tx.get('node', `n${count}`);
      tx.put('node', 'a', nodeRecord('a'));
    });
    expect(store.snapshot().revision).toBe(1);
    await store.close();
  });

  it('keeps the last 10,000 events', async () => {
    const store = await openFresh();
    for (let count = 0; count < 120; count++) {
      await store.transact((tx) => {
        for (let place = 0; place < 60; place++) tx.event(event(`${count}-${place}`));
      });
    }
    while (store.snapshot().revision < 3_000)
      await store.transact((tx) => {
        for (let place = 0; place < 2; place++) tx.event(event('more'));
      });
    while (store.snapshot().list('event').length > 11_000) await setImmediate();
    expect(store.snapshot().list('event').length).toBeGreaterThanOrEqual(10_000);
    await store.close();
  });
});

describe('watch of a store', () => {
  it('sends a slow reader every revision, once, in order, under load', async () => {
    const store = await openFresh();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const changes of store.watch(0, never)) {
        seen.push((changes[0] as StoreChange).revision);
        await setImmediate();
        if (seen.length === 900) return;
      }
    })();
    await setImmediate();
    await Promise.all(
      Array.from({ length: 900 }, (_, count) =>
        store.transact((tx) => tx.put('node', `n${count % 7}`, nodeRecord(`n${count % 7}`))),
      ),
    );
    await reading;
    expect(seen).toEqual(Array.from({ length: 900 }, (_, count) => count + 1));
    await store.close();
  });

  it('lets go of a reader that falls more than 1,000 revisions behind', async () => {
    const store = await openFresh();
    const reader = store.watch(0, never)[Symbol.asyncIterator]();
    const first = reader.next();
    for (let count = 0; count < 1_500; count++)
      await store.transact((tx) => tx.put('node', 'a', nodeRecord('a')));
    await first;
    await expect(reader.next()).rejects.toMatchObject({ kind: 'failed-precondition', reason: 'slow-reader' });
    await store.close();
  });

  it('says compacted for a revision that is no longer kept', async () => {
    const journal = createMemoryJournal();
    const first = await openWith(journal);
    for (let count = 0; count < 3; count++)
      await first.transact((tx) => tx.put('node', 'a', nodeRecord('a')));
    await first.close();
    const store = await openWith(journal);
    const reader = store.watch(1, never)[Symbol.asyncIterator]();
    await expect(reader.next()).rejects.toMatchObject({ kind: 'failed-precondition', reason: 'compacted' });
    await store.close();
  });

  it('says what was there before and what is there now', async () => {
    const store = await openFresh();
    await store.transact((tx) => tx.put('node', 'a', nodeRecord('a')));
    const reader = store.watch(1, never)[Symbol.asyncIterator]();
    await store.transact((tx) => tx.delete('node', 'a'));
    const { value } = await reader.next();
    expect(value).toMatchObject([{ kind: 'node', id: 'a', revision: 2, before: { cordoned: false } }]);
    expect((value as StoreChange[])[0]?.record).toBeUndefined();
    await store.close();
  });

  it('ends when its signal aborts and when the store closes', async () => {
    const store = await openFresh();
    const stop = new AbortController();
    const first = store.watch(0, stop.signal)[Symbol.asyncIterator]().next();
    const second = store.watch(0, never)[Symbol.asyncIterator]().next();
    await setImmediate();
    stop.abort();
    expect(await first).toMatchObject({ done: true });
    await store.close();
    expect(await second).toMatchObject({ done: true });
  });
});
