import { describe, expect, it } from 'vitest';
import type { Instance, NodeName, Volume, VolumeClaim, Workload } from '#shared/model.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { fakeFacts } from '../../test/fakes/node.ts';
import { createSeededRandom } from '../../test/fakes/random.ts';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import { slotsFor } from './assign-volumes.ts';
import { bindInstance } from './bind-instance.ts';
import { deleteWorkload } from './delete-workload.ts';
import { forgetInstance } from './forget-instance.ts';
import { forgetWorkload } from './forget-workload.ts';
import { instanceTemplate } from './instance-template.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import { putWorkload } from './put-workload.ts';
import { giveUpNode, releaseInstances, removeNode } from './remove-node.ts';
import { forgetVolume, isAbandoned, loseVolumes, retireVolume } from './remove-volume.ts';
import { retireInstances } from './retire-instances.ts';
import type { Transaction } from './store.ts';
import { updateInstance } from './update-instance.ts';

const claim = (name: string, more: Partial<VolumeClaim> = {}): VolumeClaim => ({
  name,
  mountPath: `/${name}`,
  sizeMib: 10,
  pool: '',
  readOnly: false,
  keep: true,
  ...more,
});
const data = claim('data');
const logs = claim('logs', { keep: false });

async function createWorld(volumes: readonly VolumeClaim[] = [data], replicas = 2) {
  const store = await openStore({ journal: createMemoryJournal(), clock: createFakeClock() });
  const random = createSeededRandom(1);
  const newId = (): string => random.uuidV7();
  const workload = workloadRecord({ volumes, replicas });
  const act = async <T>(body: (tx: Transaction) => T): Promise<T> => (await store.transact(body)).result;
  const refusal = (body: (tx: Transaction) => unknown) => act(body).catch((error: unknown) => error);
  await act((tx) => {
    for (const name of ['h1', 'h2'])
      tx.put('node', `node-${name}`, {
        metadata: { ...workload.metadata, name, id: `node-${name}` },
        cordoned: false,
        facts: fakeFacts(name),
        incarnation: '',
        bootId: '',
        certificateSerial: '01',
      });
    tx.put('workload', workload.metadata.id, workload);
  });
  const now = (): Workload => store.snapshot().list('workload')[0] as Workload;

  return {
    store,
    act,
    refusal,
    now,
    /** A copy of the workload as it is now, without a node. */
    async add(place: number): Promise<Instance> {
      const unbound = { node: undefined, observed: undefined, placedBecause: '' };
      const instance = instanceRecord(now(), place, unbound);
      await act((tx) => tx.put('instance', instance.metadata.id, instance));
      return instance;
    },
    bind: ({ metadata: { id, project } }: Instance, node: string, slot?: number) =>
      act((tx) => bindInstance(tx, { id, project, node: node as NodeName, because: 'best', newId, slot }, 5)),
    async forget({ metadata: { id, project } }: Instance): Promise<void> {
      await act((tx) => {
        const record = tx.get('instance', id, project);
        if (record !== undefined) retireInstances(tx, [record], 'test', 6);
        forgetInstance(tx, { id, project }, 'test', 7);
      });
    },
    claimsNow: (claims: readonly VolumeClaim[], more: Partial<Workload['spec']> = {}) =>
      act((tx) => {
        const { name, project, labels, annotations } = now().metadata;
        const spec = { ...now().spec, volumes: claims, ...more };
        const document = { name, project, labels, annotations, expectedRevision: 0, spec };
        const ids = { workloadId: newId(), operationId: newId(), caller: 'test', planRevision: 0 };
        return putWorkload(tx, { document, ...ids }, 8);
      }),
    update: (instance: Instance) =>
      act((tx) => {
        const { id, project } = instance.metadata;
        const template = instanceTemplate(now());
        if (template === undefined) throw new Error('not resolved');
        const { placement } = now().spec;
        const workloadGeneration = now().metadata.generation;
        updateInstance(tx, { id, project, template, placement, workloadGeneration, newId }, 9);
      }),
    instance: ({ metadata }: Instance) => store.snapshot().get('instance', metadata.id) as Instance,
    volume: (name: string) => store.snapshot().named('volume', name),
    names: () =>
      store
        .snapshot()
        .list('volume')
        .map(({ metadata }) => metadata.name)
        .toSorted(),
    events: (type: string) =>
      store
        .snapshot()
        .list('event')
        .filter((event) => event.type === type)
        .map(({ message }) => message),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

describe('data volumes', () => {
  it('are made with the node, one for each claim of the lowest free slot', async () => {
    await using world = await createWorld([data, logs]);
    const [one, two] = [await world.add(1), await world.add(2)];
    await world.bind(one, 'h1');
    await world.bind(two, 'h2');
    expect(world.names()).toEqual(['web-data-0', 'web-data-1', 'web-logs-0', 'web-logs-1']);
    expect(world.volume('web-data-1')).toMatchObject({
      workload: 'web',
      claim: 'data',
      slot: 1,
      node: 'h2',
      instanceId: two.metadata.id,
      keep: true,
    });
    expect(world.volume('web-logs-0')).toMatchObject({ node: 'h1', keep: false });
    expect(world.instance(one).spec.assigned.volumes).toEqual([
      { name: 'data', volumeId: world.volume('web-data-0')?.metadata.id },
      { name: 'logs', volumeId: world.volume('web-logs-0')?.metadata.id },
    ]);
  });

  it('stay with their slot: a replacement finds them, and goes where they lie', async () => {
    await using world = await createWorld();
    const [one, two, three] = [await world.add(1), await world.add(2), await world.add(3)];
    await world.bind(one, 'h1');
    await world.bind(two, 'h2');
    const before = world.volume('web-data-0')?.metadata.id;
    const stillUsed = await world.refusal((tx) => slotsFor(tx, three));
    expect(stillUsed).toMatchObject({
      kind: 'failed-precondition',
      message: 'volume web-data-0 is still used by web-00001',
    });
    await world.forget(one);
    expect(world.volume('web-data-0')).toMatchObject({ instanceId: undefined, node: 'h1' });
    const slots = await world.act((tx) => slotsFor(tx, three));
    expect(slots).toMatchObject([{ number: 0, anchor: { node: 'h1' } }]);
    await expect(world.bind(three, 'h2')).rejects.toThrow('its volume web-data-0 lies on h1');
    await world.bind(three, 'h1');
    expect(world.instance(three).spec.assigned.volumes[0]?.volumeId).toBe(before);
  });

  it('take the slot that was chosen with the node, while it is free', async () => {
    await using world = await createWorld();
    const [one, two] = [await world.add(1), await world.add(2)];
    await world.bind(one, 'h1', 1);
    expect(world.names()).toEqual(['web-data-1']);
    await expect(world.bind(two, 'h1', 1)).rejects.toMatchObject({ kind: 'aborted' });
  });

  it('belong to nobody else while the instance is only on its way out', async () => {
    await using world = await createWorld([data], 1);
    const [one, two] = [await world.add(1), await world.add(2)];
    await world.bind(one, 'h1');
    await world.act((tx) => retireInstances(tx, [one], 'test', 6));
    await expect(world.bind(two, 'h1')).rejects.toThrow('volume web-data-0 is still used by web-00001');
  });

  it('have names of their own, also where two workloads would say the same', async () => {
    await using world = await createWorld([claim('a-b')]);
    const other = workloadRecord({ volumes: [claim('b')] }, { metadata: { name: 'web-a', id: 'z-other' } });
    const two = instanceRecord(other, 9, { node: undefined });
    await world.act((tx) => {
      tx.put('workload', 'z-other', other);
      tx.put('instance', two.metadata.id, two);
    });
    await world.bind(await world.add(1), 'h1');
    await world.bind(two, 'h1');
    const [first = '', second = ''] = world.names();
    expect(first).toBe('web-a-b-0');
    expect(second).toMatch(/^web-a-b-0-[0-9a-f]{5}$/);
  });
});

describe('a change of claims', () => {
  it('adds, grows and frees volumes where the copy is', async () => {
    await using world = await createWorld([data, logs]);
    const one = await world.add(1);
    await world.bind(one, 'h1');
    const before = world.instance(one).spec.assigned.volumes[0];
    await world.claimsNow([{ ...data, sizeMib: 20 }, claim('more')], { runtime: 'crun' });
    const resolved = { ...world.now().resolved, generation: 2 } as Workload['resolved'];
    await world.act((tx) => tx.put('workload', world.now().metadata.id, { ...world.now(), resolved }));
    // Another claim is more than limits: only a container on its own root is changed where it is.
    await world.act((tx) => {
      for (const record of [world.instance(one)])
        tx.put('instance', record.metadata.id, { ...record, spec: { ...record.spec, runtime: 'lxc' } });
      const { resolved: known } = world.now();
      const asLxc = known && { ...known, runtime: 'lxc' };
      tx.put('workload', world.now().metadata.id, { ...world.now(), resolved: asLxc });
    });
    await world.update(one);
    const updated = world.instance(one);
    expect(updated.metadata.generation).toBe(2);
    expect(updated.spec.assigned.volumes[0]).toEqual(before);
    expect(updated.spec.assigned.volumes.map(({ name }) => name)).toEqual(['data', 'more']);
    expect(world.volume('web-data-0')).toMatchObject({ sizeMib: 20, instanceId: one.metadata.id });
    expect(world.volume('web-more-0')).toMatchObject({ node: 'h1', slot: 0 });
    expect(world.volume('web-logs-0')).toMatchObject({ instanceId: undefined, removingSinceMs: 9 });
    await world.update(one);
    expect(world.instance(one).metadata.generation).toBe(2);
  });

  it('keeps a volume whose claim says so when it goes, also where keep was said late', async () => {
    await using world = await createWorld([claim('logs', { keep: false })]);
    const one = await world.add(1);
    await world.bind(one, 'h1');
    await world.claimsNow([claim('logs', { keep: true })]);
    await world.claimsNow([]);
    await world.forget(one);
    expect(world.volume('web-logs-0')).toMatchObject({ removingSinceMs: undefined });
    expect(isAbandoned(world.volume('web-logs-0') as Volume, world.now())).toBe(false);
  });

  it('writes down what is kept before the workload goes', async () => {
    await using world = await createWorld([claim('logs', { keep: false })], 60);
    for (let place = 1; place <= 60; place += 1) await world.bind(await world.add(place), 'h1', place - 1);
    await world.claimsNow([claim('logs', { keep: true })]);
    for (const each of world.store.snapshot().list('instance')) await world.forget(each);
    const { name, project } = world.now().metadata;
    await world.act((tx) => deleteWorkload(tx, { name, project, operationId: 'o', caller: 'test' }, 10));
    const gone = () => world.act((tx) => forgetWorkload(tx, world.now(), 11));
    expect([await gone(), await gone()]).toEqual([false, true]);
    for (const volume of world.store.snapshot().list('volume')) {
      expect(volume).toMatchObject({ keep: true, removingSinceMs: undefined });
      expect(isAbandoned(volume, undefined)).toBe(false);
    }
  });

  it('costs the same however many volumes there are', async () => {
    await using world = await createWorld([logs], 150);
    for (let place = 1; place <= 150; place += 1) await world.bind(await world.add(place), 'h1', place - 1);
    await world.claimsNow([claim('logs', { keep: true })]);
    await world.claimsNow([]);
    expect(isAbandoned(world.volume('web-logs-7') as Volume, world.now())).toBe(false);
    await world.claimsNow([logs]);
    await world.claimsNow([]);
    const last = world.volume('web-logs-149') as Volume;
    expect(isAbandoned({ ...last, instanceId: undefined }, world.now())).toBe(true);
  });

  it('leaves to the reconciler what nobody has and nobody keeps', async () => {
    await using world = await createWorld([logs]);
    const one = await world.add(1);
    await world.bind(one, 'h1');
    await world.forget(one);
    expect(world.volume('web-logs-0')).toMatchObject({ removingSinceMs: undefined });
    await world.claimsNow([]);
    const left = world.volume('web-logs-0') as Volume;
    expect(isAbandoned(left, world.now())).toBe(true);
    await world.act((tx) => retireVolume(tx, left, 'test', 8));
    await world.claimsNow([logs]);
    const [two, three] = [await world.add(2), await world.add(3)];
    await world.bind(two, 'h1', 1);
    await expect(world.bind(three, 'h1')).rejects.toThrow('volume web-logs-0 is being removed');
  });

  it('refuses another pool for a volume that is there', async () => {
    await using world = await createWorld();
    await world.bind(await world.add(1), 'h1');
    const before = world.store.snapshot().revision;
    await expect(world.claimsNow([{ ...data, pool: 'tank' }])).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: 'volume web-data-0 lies in the default pool, not in pool tank',
    });
    expect(world.store.snapshot().revision).toBe(before);
  });
});

describe('the end of a workload', () => {
  const deleted = async (world: Awaited<ReturnType<typeof createWorld>>): Promise<void> => {
    const { name, project } = world.now().metadata;
    await world.act((tx) => deleteWorkload(tx, { name, project, operationId: 'o', caller: 'test' }, 10));
  };

  it('leaves what is to be kept, which a workload of the same name finds again', async () => {
    await using world = await createWorld([data, logs]);
    const one = await world.add(1);
    await world.bind(one, 'h2');
    await deleted(world);
    await world.forget(one);
    const record = world.now();
    expect(await world.act((tx) => forgetWorkload(tx, record, 11))).toBe(true);
    expect(world.store.snapshot().list('workload')).toEqual([]);
    expect(world.volume('web-data-0')).toMatchObject({ removingSinceMs: undefined, instanceId: undefined });
    expect(world.volume('web-logs-0')).toMatchObject({ removingSinceMs: 7 });
    const again = workloadRecord({ volumes: [data], replicas: 1 });
    await world.act((tx) => tx.put('workload', again.metadata.id, again));
    const slots = await world.act((tx) => slotsFor(tx, instanceRecord(again, 5, { node: undefined })));
    expect(slots).toMatchObject([{ anchor: { node: 'h2', metadata: { name: 'web-data-0' } } }]);
  });

  it('retires a great many volumes in several transactions', async () => {
    await using world = await createWorld([logs], 100);
    for (let place = 1; place <= 50; place += 1) {
      const each = await world.add(place);
      await world.bind(each, 'h1');
    }
    for (let place = 1; place <= 50; place += 1) await world.forget(instanceRecord(world.now(), place));
    await deleted(world);
    const record = world.now();
    expect(await world.act((tx) => forgetWorkload(tx, record, 11))).toBe(false);
    expect(await world.act((tx) => forgetWorkload(tx, record, 11))).toBe(true);
    const kept = world.store.snapshot().list('volume');
    expect(kept.filter(({ removingSinceMs }) => removingSinceMs === undefined)).toEqual([]);
  });
});

describe('the removal of a volume', () => {
  it('is refused while an instance has it, and may be asked again', async () => {
    await using world = await createWorld();
    const one = await world.add(1);
    await world.bind(one, 'h1');
    const volume = (): Volume => world.volume('web-data-0') as Volume;
    expect(await world.refusal((tx) => retireVolume(tx, volume(), 'asked', 5))).toMatchObject({
      kind: 'failed-precondition',
      message: 'volume web-data-0 is used by web-00001',
    });
    await world.forget(one);
    await world.act((tx) => retireVolume(tx, volume(), 'asked', 6));
    const { revision } = world.store.snapshot();
    await world.act((tx) => retireVolume(tx, volume(), 'asked', 7));
    expect(world.store.snapshot().revision).toBe(revision);
    expect(isAbandoned(volume(), world.now())).toBe(true);
    const { id, project } = volume().metadata;
    for (let times = 0; times < 2; times += 1) await world.act((tx) => forgetVolume(tx, { id, project }, 8));
    expect(world.names()).toEqual([]);
    expect(world.events('volume.removed')).toEqual(['nothing is left of it on h1']);
  });
});

describe('a node that has data volumes', () => {
  const removal = { node: 'h1', caller: 'test', certificateLifeMs: 1 };

  it('is not removed while they lie there', async () => {
    await using world = await createWorld();
    const one = await world.add(1);
    await world.bind(one, 'h1');
    await world.forget(one);
    expect(await world.refusal((tx) => removeNode(tx, removal, 9))).toMatchObject({
      kind: 'failed-precondition',
      message: 'needs a node without data volumes, h1 has 1: web-data-0',
    });
  });

  it('takes them with it when it is lost: the next copy begins with a new one elsewhere', async () => {
    await using world = await createWorld();
    const one = await world.add(1);
    await world.bind(one, 'h1');
    const before = world.volume('web-data-0')?.metadata.id;
    const node = 'h1' as NodeName;
    await world.act((tx) => giveUpNode(tx, removal, 9));
    await world.act((tx) => releaseInstances(tx, node, 9));
    expect(await world.act((tx) => loseVolumes(tx, node, 9))).toEqual(['web-data-0']);
    expect(await world.act((tx) => loseVolumes(tx, node, 9))).toEqual([]);
    await world.act((tx) => removeNode(tx, removal, 9));
    expect(world.events('volume.lost')).toEqual([
      'web-data-0 was on h1, which is lost with all that was in it: the next copy gets a new, empty one',
    ]);
    await world.bind(await world.add(2), 'h2');
    expect(world.volume('web-data-0')).toMatchObject({ node: 'h2', slot: 0 });
    expect(world.volume('web-data-0')?.metadata.id).not.toBe(before);
  });
});
