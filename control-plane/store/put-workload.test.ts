import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { WorkloadDocument } from '#shared/wire/workload.ts';
import { ownRecord } from '#shared/wire/checks.ts';
import { workloadRecord } from '../../test/fakes/records.ts';
import { deleteWorkload } from './delete-workload.ts';
import { finishOperation } from './finish-operation.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import { putWorkload } from './put-workload.ts';
import { scaleWorkload } from './scale-workload.ts';
import { answerOnce } from './store-request.ts';
import type { Store } from './store.ts';

const { spec } = workloadRecord();
const caller = 'admin/root';
const nowMs = systemClock.nowMs();
let drawn = 0;

const document = (changes: Partial<WorkloadDocument> = {}): WorkloadDocument => ({
  project: 'default',
  name: 'web',
  labels: {},
  annotations: {},
  expectedRevision: 0,
  spec,
  ...changes,
});

const open = (): Promise<Store> => openStore({ journal: createMemoryJournal(), clock: systemClock });

async function put(store: Store, changes: Partial<WorkloadDocument> = {}, planRevision = 0) {
  drawn += 1;
  const ids = { workloadId: `w-${drawn}`, operationId: `o-${drawn}` };
  const { result } = await store.transact((tx) =>
    putWorkload(tx, { document: document(changes), ...ids, caller, planRevision }, drawn),
  );
  const workload = store.snapshot().named('workload', changes.name ?? 'web');
  if (workload === undefined) throw new Error('no workload');
  return { ...result, workload };
}

const scale = (store: Store, replicas: number) =>
  store.transact((tx) =>
    scaleWorkload(tx, { project: 'default', name: 'web', replicas, operationId: `s-${replicas}`, caller }, 7),
  );

const finish = (store: Store, id: string) =>
  store.transact((tx) => finishOperation(tx, { id, project: 'default', message: 'done' }, 8));

const remove = (store: Store, operationId: string) =>
  store.transact((tx) => deleteWorkload(tx, { project: 'default', name: 'web', operationId, caller }, 9));

describe('putWorkload', () => {
  it('creates, then leaves alone what is the same', async () => {
    await using store = await disposable();
    const first = await put(store);
    expect(first).toMatchObject({ change: 'created', workload: { metadata: { generation: 1 } } });
    const { revision } = store.snapshot();
    const env = ownRecord(Object.entries(spec.env));
    const same = { spec: { ...spec, env } };
    expect(await put(store, same)).toMatchObject({ change: 'unchanged', operationId: first.operationId });
    expect(store.snapshot().revision).toBe(revision);
    await finish(store, first.operationId);
    expect(await put(store, same)).toMatchObject({ change: 'unchanged', operationId: '' });
  });

  it('raises the generation with the spec, and supersedes what was under way', async () => {
    await using store = await disposable();
    const first = await put(store);
    const second = await put(store, { spec: { ...spec, user: '7' } });
    expect(second).toMatchObject({ change: 'changed', workload: { metadata: { generation: 2 } } });
    expect(store.snapshot().get('operation', first.operationId)?.state).toBe('superseded');
    expect(store.snapshot().get('operation', second.operationId)?.state).toBe('running');
  });

  it('changes labels without a generation or an operation', async () => {
    await using store = await disposable();
    const { operationId } = await put(store);
    expect(await put(store, { labels: { tier: 'back' } })).toMatchObject({ change: 'changed', operationId });
    await finish(store, operationId);
    expect(await put(store, { labels: { tier: 'front' } })).toMatchObject({
      change: 'changed',
      operationId: '',
      workload: { metadata: { generation: 1, labels: { tier: 'front' } } },
    });
  });

  it('keeps the resolved image when copies are told nothing new, and only then', async () => {
    await using store = await disposable();
    const { workload } = await put(store);
    const resolved = { ...workloadRecord().resolved, generation: 1 } as NonNullable<typeof workload.resolved>;
    await store.transact((tx) => tx.put('workload', workload.metadata.id, { ...workload, resolved }));
    await scale(store, 5);
    expect(store.snapshot().named('workload', 'web')?.resolved?.generation).toBe(2);
    const { workload: changed } = await put(store, { spec: { ...spec, user: '7' } });
    expect([changed.metadata.generation, changed.resolved?.generation]).toEqual([3, 2]);
  });

  it('keeps the image of a container of its own root until another one is found', async () => {
    await using store = await disposable();
    const { workload } = await put(store, { spec: { ...spec, runtime: 'lxc' } });
    const reference = spec.image;
    const resolved = { ...workloadRecord().resolved, generation: 1, runtime: 'lxc', reference };
    await store.transact((tx) =>
      tx.put('workload', workload.metadata.id, { ...workload, resolved } as typeof workload),
    );
    const typo = await put(store, { spec: { ...spec, runtime: 'lxc', image: 'registry.example/web:typo' } });
    expect(typo.workload.resolved?.generation).toBe(1);
    const { workload: back } = await put(store, { spec: { ...spec, runtime: '' } });
    const runtimeBecause = 'named in the spec of before, and kept';
    expect(back).toMatchObject({
      metadata: { generation: 3 },
      resolved: { ...resolved, generation: 3, runtimeBecause },
    });
  });

  it.each<{ name: string; changes: Partial<WorkloadDocument>; plan?: number; reason: string }>([
    { name: 'an old revision', changes: { expectedRevision: 77 }, reason: 'revision-changed' },
    {
      name: 'a revision of what is not there',
      changes: { name: 'other', expectedRevision: 1 },
      reason: 'revision-changed',
    },
    { name: 'a plan from before the last change', changes: {}, plan: 1, reason: 'plan-outdated' },
  ])('refuses $name', async ({ changes, plan, reason }) => {
    await using store = await disposable();
    await put(store);
    await put(store, { spec: { ...spec, user: '7' } });
    await expect(put(store, changes, plan)).rejects.toMatchObject({ kind: 'aborted', reason });
  });

  it('takes the revision that is the present one', async () => {
    await using store = await disposable();
    const { workload } = await put(store);
    const expectedRevision = workload.metadata.revision;
    expect(
      await put(store, { expectedRevision, spec: { ...spec, user: '7' } }, expectedRevision),
    ).toMatchObject({
      change: 'changed',
    });
  });

  it('holds thirty changes of one apply in one transaction', async () => {
    await using store = await disposable();
    const names = Array.from({ length: 30 }, (_, place) => `web-${place}`);
    for (const user of ['1', '2']) {
      const head = { caller, requestId: user, bodyDigest: user };
      const { result } = await store.transact((tx) =>
        answerOnce(tx, head, nowMs, () =>
          names.map((name) => {
            const ids = { workloadId: `w-${name}`, operationId: `o-${user}-${name}` };
            const one = document({ name, spec: { ...spec, user } });
            return putWorkload(tx, { document: one, ...ids, caller, planRevision: 0 }, 1);
          }),
        ),
      );
      expect(result).toHaveLength(30);
    }
  });
});

describe('scaleWorkload and deleteWorkload', () => {
  it('scales, and leaves alone what has that number', async () => {
    await using store = await disposable();
    await put(store);
    expect((await scale(store, 5)).result).toMatchObject({ change: 'changed', operationId: 's-5' });
    expect((await scale(store, 5)).result).toMatchObject({ change: 'unchanged', operationId: 's-5' });
    await finish(store, 's-5');
    expect((await scale(store, 5)).result).toMatchObject({ change: 'unchanged', operationId: '' });
  });

  it('deletes once, and answers the same operation again', async () => {
    await using store = await disposable();
    await put(store);
    expect((await remove(store, 'd-1')).result).toBe('d-1');
    expect((await remove(store, 'd-2')).result).toBe('d-1');
    await expect(put(store, { spec: { ...spec, user: '7' } })).rejects.toMatchObject({
      reason: 'being-deleted',
    });
    await expect(scale(store, 1)).rejects.toMatchObject({ kind: 'failed-precondition' });
  });

  it('does not find what is not there', async () => {
    await using store = await disposable();
    await expect(scale(store, 1)).rejects.toMatchObject({ kind: 'not-found' });
    await expect(remove(store, 'd-1')).rejects.toMatchObject({ kind: 'not-found' });
  });
});

describe('answerOnce', () => {
  const head = { caller, requestId: 'r-1', bodyDigest: 'aa' };

  it('acts once, and gives the first answer again', async () => {
    await using store = await disposable();
    let acted = 0;
    const ask = (changes: Partial<typeof head> = {}) =>
      store.transact((tx) => answerOnce(tx, { ...head, ...changes }, nowMs, () => ({ acted: ++acted })));
    expect((await ask()).result).toEqual({ acted: 1 });
    expect((await ask()).result).toEqual({ acted: 1 });
    expect((await ask({ caller: 'admin/other' })).result).toEqual({ acted: 2 });
    await expect(ask({ bodyDigest: 'bb' })).rejects.toMatchObject({
      kind: 'invalid-argument',
      reason: 'request-id-reused',
    });
  });

  it('keeps nothing of a change that was refused', async () => {
    await using store = await disposable();
    const refuse = (): never => {
      throw new Error('refused');
    };
    await expect(store.transact((tx) => answerOnce(tx, head, nowMs, refuse))).rejects.toThrow('refused');
    expect(store.snapshot().list('request')).toEqual([]);
  });
});

async function disposable(): Promise<Store & AsyncDisposable> {
  const store = await open();
  return { ...store, [Symbol.asyncDispose]: () => store.close() };
}
