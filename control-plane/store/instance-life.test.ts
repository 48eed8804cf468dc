import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import type { Digest, Instance, InstanceId, InstanceState, NodeName } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { simpleSpec } from '../../test/simulation/control-plane.ts';
import { bindInstance, recordUnplaceable } from './bind-instance.ts';
import { finishOperation, recordOperationStep } from './finish-operation.ts';
import { forgetInstance } from './forget-instance.ts';
import { forgetWorkload } from './forget-workload.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import { putInstances } from './put-instances.ts';
import { putWorkload } from './put-workload.ts';
import { recordObservation } from './record-observation.ts';
import { recordUnresolved, resolveWorkload } from './resolve-workload.ts';
import { retireInstances } from './retire-instances.ts';
import type { Snapshot, Transaction } from './store.ts';

const id = '0198c0de-0000-7000-8000-000000000001' as InstanceId;
const [a, b] = ['a', 'b'] as NodeName[] as [NodeName, NodeName];
const project = 'default';
const at = { id, project, newId: systemRandom.uuidV7 };

const metadata = {
  project,
  name: 'web-aaaaa',
  id,
  labels: {},
  annotations: {},
  revision: 0,
  generation: 1,
  createdAtMs: 1,
};
const { replicas: _, placement, update: __, ...rest } = simpleSpec;
const instance: Instance = {
  metadata,
  workload: 'web',
  workloadGeneration: 1,
  intent: 'run',
  spec: { ...rest, displayName: 'web-aaaaa', workload: 'web', assigned: emptyAssignment },
  placement,
  node: undefined,
  boundAtMs: 0,
  placedBecause: '',
  observed: undefined,
};
const state = (patch: Partial<InstanceState> = {}): InstanceState => ({
  instanceId: id,
  generation: 1,
  phase: 'running',
  pid: 7,
  startedAtMs: 5,
  exit: undefined,
  restarts: 0,
  nextStartAtMs: 0,
  message: '',
  limits: undefined,
  notEnforced: [],
  displayName: 'web-aaaaa',
  addresses: [],
  rootPool: '',
  ...patch,
});

/** A store with one workload, its instance, and two nodes. */
async function createWorld() {
  const store = await openStore({ journal: createMemoryJournal(), clock: createFakeClock() });
  await store.transact((tx) => {
    const document = {
      project,
      name: 'web',
      labels: {},
      annotations: {},
      expectedRevision: 0,
      spec: simpleSpec,
    };
    const ids = { workloadId: 'w1', operationId: 'o1' };
    putWorkload(tx, { document, ...ids, caller: 'operator/x', planRevision: 0 }, 1);
    for (const name of [a, b])
      tx.put('node', `id-${name}`, {
        metadata: { ...metadata, name, id: `id-${name}` },
        cordoned: false,
        facts: undefined,
        incarnation: '',
        bootId: '',
        certificateSerial: '',
      });
    putInstances(tx, [instance], 1);
  });
  const act = (body: (tx: Transaction) => unknown) => store.transact(body);
  const record = () => store.snapshot().get('instance', id);
  const events = () =>
    store
      .snapshot()
      .list('event')
      .map(({ type }) => type);
  return { store, act, record, events, [Symbol.asyncDispose]: () => store.close() };
}

const bound = (tx: Transaction): void => bindInstance(tx, { ...at, node: a, because: 'best' }, 2);
const seen =
  (observed: InstanceState | 'absent', node = a) =>
  (tx: Transaction): void =>
    recordObservation(tx, { node, id, observed }, 3);
const retired = (tx: Transaction): void => retireInstances(tx, [instance], 'scaled', 4);
const refusal = (kind: string) => expect.objectContaining({ kind }) as DroverError;

describe('each change of an instance', () => {
  it.each<[string, (tx: Transaction) => void]>([
    ['put', (tx) => putInstances(tx, [{ ...instance, placedBecause: 'other' }], 9)],
    ['bind', bound],
    ['observe', seen(state())],
    ['observe with another pid', seen(state({ pid: 8 }))],
    ['retire', retired],
  ])('%s writes nothing when it is repeated', async (_name, change) => {
    await using world = await createWorld();
    for (const first of [bound, seen(state()), change]) await world.act(first);
    const before = world.store.snapshot().revision;
    await world.act(change);
    expect(world.store.snapshot().revision).toBe(before);
  });

  it('binds once, and only what is wanted', async () => {
    await using world = await createWorld();
    await world.act(bound);
    expect(world.record()).toMatchObject({ node: 'a', boundAtMs: 2, placedBecause: 'best' });
    const elsewhere = (tx: Transaction): void => bindInstance(tx, { ...at, node: b, because: '' }, 3);
    await expect(world.act(elsewhere)).rejects.toEqual(refusal('aborted'));
    const nobody = (tx: Transaction): void => bindInstance(tx, { ...at, id: 'x', node: b, because: '' }, 3);
    await expect(world.act(nobody)).rejects.toEqual(refusal('not-found'));
  });

  it('does not bind what is to go', async () => {
    await using world = await createWorld();
    await world.act(retired);
    await expect(world.act(bound)).rejects.toEqual(refusal('aborted'));
  });

  it('says why it has no node, until it has one', async () => {
    await using world = await createWorld();
    await world.act((tx) => recordUnplaceable(tx, id, project, 'no room'));
    expect(world.record()?.placedBecause).toBe('no room');
    await world.act(bound);
    await world.act((tx) => recordUnplaceable(tx, id, project, 'no room'));
    expect(world.record()?.placedBecause).toBe('best');
  });

  it('believes its own node alone', async () => {
    await using world = await createWorld();
    await world.act(seen(state()));
    expect(world.record()?.observed).toBeUndefined();
    await world.act(bound);
    await world.act(seen(state(), b));
    expect(world.record()?.observed).toBeUndefined();
    await world.act(seen(state()));
    expect(world.record()?.observed).toMatchObject({ phase: 'running' });
  });

  it.each<[string, Partial<InstanceState>]>([
    ['limits', { limits: { cpuMillicores: 500, memoryMib: 64, diskMib: 0, pids: 9 } }],
    ['addresses', { addresses: ['10.20.0.5'] }],
    ['what is not enforced', { notEnforced: ['disk'] }],
  ])('knows %s that come after the start', async (_name, patch) => {
    await using world = await createWorld();
    for (const change of [bound, seen(state()), seen(state(patch))]) await world.act(change);
    expect(world.record()?.observed).toMatchObject(patch);
  });

  const exit = { code: 1, unknown: false, outOfMemory: false, atMs: 9 };
  it.each<[string, InstanceState | 'absent', string]>([
    ['a restart', state({ restarts: 1, startedAtMs: 6 }), 'instance.started'],
    ['an exit', state({ phase: 'exited', exit }), 'instance.exited'],
    ['a back-off', state({ phase: 'backing-off', exit }), 'instance.backed-off'],
    ['a failure', state({ phase: 'failed', message: 'no rootfs' }), 'instance.failed'],
    ['a stop', state({ phase: 'stopped' }), 'instance.stopped'],
    ['vanishing', 'absent', 'instance.vanished'],
  ])('tells people of %s', async (_name, observed, type) => {
    await using world = await createWorld();
    for (const change of [bound, seen(state()), seen(observed)]) await world.act(change);
    expect(world.events().at(-1)).toBe(type);
    expect(world.record()?.observed).toEqual(observed);
  });

  it('raises its generation when it is to go, so that older orders are refused', async () => {
    await using world = await createWorld();
    await world.act(retired);
    expect(world.record()).toMatchObject({ intent: 'remove', metadata: { generation: 2 } });
  });

  it('is forgotten when it is to go, never while it is wanted', async () => {
    await using world = await createWorld();
    await world.act(bound);
    const forgotten = (tx: Transaction): void => forgetInstance(tx, at, 'gone', 5);
    await expect(world.act(forgotten)).rejects.toEqual(refusal('failed-precondition'));
    await world.act(retired);
    await world.act(forgotten);
    expect(world.record()).toBeUndefined();
    expect(world.events().at(-1)).toBe('instance.removed');
    await world.act(forgotten);
  });
});

describe('a workload', () => {
  const web = (snapshot: Snapshot) => snapshot.get('workload', 'w1');
  const of = { metadata: { ...metadata, id: 'w1', name: 'web' } };
  const resolution = {
    generation: 1,
    image: 'i',
    reference: 'i',
    digest: 'sha256:0' as Digest,
    runtime: 'crun',
    runtimeBecause: 'default',
  };

  it('is resolved for its present generation alone, and once', async () => {
    await using world = await createWorld();
    await world.act((tx) => recordUnresolved(tx, of, 'not found'));
    expect(web(world.store.snapshot())?.resolveMessage).toBe('not found');
    await world.act((tx) => resolveWorkload(tx, of, { ...resolution, generation: 2 }));
    expect(web(world.store.snapshot())?.resolved).toBeUndefined();
    await world.act((tx) => resolveWorkload(tx, of, resolution));
    await world.act((tx) => resolveWorkload(tx, of, { ...resolution, image: 'other' }));
    expect(web(world.store.snapshot())).toMatchObject({ resolved: { image: 'i' }, resolveMessage: '' });
  });

  it('is forgotten when it is being deleted and nothing is left of it', async () => {
    await using world = await createWorld();
    const forgotten = (tx: Transaction): boolean => forgetWorkload(tx, of, 6);
    expect((await world.store.transact(forgotten)).result).toBe(false);
    await world.act((tx) => {
      const record = web(tx);
      if (record !== undefined) tx.put('workload', 'w1', { ...record, deletingSinceMs: 5 });
    });
    expect((await world.store.transact(forgotten)).result).toBe(false);
    await world.act(retired);
    await world.act((tx) => forgetInstance(tx, at, 'gone', 5));
    expect((await world.store.transact(forgotten)).result).toBe(true);
    expect(web(world.store.snapshot())).toBeUndefined();
  });

  it('keeps the last hundred steps of its operation, and ends it once', async () => {
    await using world = await createWorld();
    await world.act((tx) => {
      for (let step = 0; step < 150; step += 1)
        recordOperationStep(tx, { workload: 'web', project, message: `step ${step}` }, step);
    });
    const operation = () => world.store.snapshot().get('operation', 'o1');
    expect(
      operation()
        ?.steps.map(({ message }) => message)
        .slice(0, 1),
    ).toEqual(['step 50']);
    const finished = (tx: Transaction): void =>
      finishOperation(tx, { id: 'o1', project, message: 'done' }, 200);
    await world.act(finished);
    expect(operation()).toMatchObject({ state: 'succeeded', endedAtMs: 200 });
    expect(operation()?.steps).toHaveLength(100);
    const before = world.store.snapshot().revision;
    await world.act(finished);
    await world.act((tx) => recordOperationStep(tx, { workload: 'web', project, message: 'late' }, 300));
    expect(world.store.snapshot().revision).toBe(before);
  });
});
