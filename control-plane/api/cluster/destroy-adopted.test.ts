/** What was adopted has data that Drover did not make: it goes where somebody said just that. */
import { describe, expect, it } from 'vitest';
import { startClusterWorld } from '../../../test/cluster-world.ts';
import { until } from '../../../test/until.ts';
import type { NodeName } from '#shared/model.ts';
import { deleteWorkload } from '../../store/delete-workload.ts';
import { putWorkload, withSpec } from '../../store/put-workload.ts';
import { scaleWorkload } from '../../store/scale-workload.ts';
import { adoptedGuests, guestName } from '../../store/spare-adopted.ts';
import { planApply } from '../../planner/apply-diff.ts';

const node = 'lab-pve1' as NodeName;
const name = 'old-web';
const project = 'default';
const head = { project, name, operationId: 'o', caller: 'test' };

async function withAdopted() {
  const world = await startClusterWorld();
  world.clusters.addGuest({ vmid: 105, node, name });
  await world.adopt({ vmid: 105 });
  await world.settle();
  return world;
}

type World = Awaited<ReturnType<typeof withAdopted>>;

const documentOf = ({ control }: World, replicas: number) => {
  const workload = control.workload(name);
  if (workload === undefined) throw new Error('there is no workload');
  const { labels, annotations } = workload.metadata;
  return { project, name, labels, annotations, expectedRevision: 0, spec: { ...workload.spec, replicas } };
};

const ways: readonly (readonly [string, (world: World, destroyAdopted: boolean) => Promise<unknown>])[] = [
  [
    'delete',
    ({ store }, destroyAdopted) => store.transact((tx) => deleteWorkload(tx, { ...head, destroyAdopted }, 1)),
  ],
  [
    'scale to 0',
    ({ store }, destroyAdopted) =>
      store.transact((tx) => scaleWorkload(tx, { ...head, replicas: 0, destroyAdopted }, 1)),
  ],
  [
    'apply with no copies',
    (world, destroyAdopted) =>
      world.store.transact((tx) =>
        putWorkload(
          tx,
          { ...head, document: documentOf(world, 0), workloadId: 'w', planRevision: 0, destroyAdopted },
          1,
        ),
      ),
  ],
];

describe.each(ways)('%s', (_way, act) => {
  it('is refused for a guest that was adopted, with its number and the way to keep it', async () => {
    await using world = await withAdopted();
    const before = world.store.snapshot().revision;
    await expect(act(world, false)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'adopted',
      message: expect.stringContaining('lab/105 of old-web was adopted') as string,
      nextStep: expect.stringMatching(/drover release old-web keeps it.*--destroy-adopted/) as string,
    });
    expect(world.store.snapshot().revision).toBe(before);
  });

  it('is done where that was said, and its guest may go then', async () => {
    await using world = await withAdopted();
    const [instance] = world.control.instances(name);
    await act(world, true);
    const guest = () => world.store.snapshot().get('cluster-guest', instance?.metadata.id ?? '');
    expect(guest()?.mayDestroy).toBe(true);
    await world.settle();
    await until(() => world.control.instances(name).length === 0, { what: 'it is gone' });
  });
});

describe('a guest that was adopted', () => {
  it('is named by its workload, and spared again when its copy is wanted after all', async () => {
    await using world = await withAdopted();
    const { store, control } = world;
    const named = () => adoptedGuests(store.snapshot(), { project, name }).map(guestName);
    expect(named()).toEqual(['lab/105']);
    const id = control.instances(name)[0]?.metadata.id ?? '';
    await store.transact((tx) => {
      scaleWorkload(tx, { ...head, replicas: 0, destroyAdopted: true }, 1);
      scaleWorkload(tx, { ...head, replicas: 1 }, 2);
    });
    expect(store.snapshot().get('cluster-guest', id)).not.toHaveProperty('mayDestroy');
  });

  it('is one of its kind: more copies are refused, also in a plan, with the way to a copy', async () => {
    await using world = await withAdopted();
    const { store, control } = world;
    const refused = {
      kind: 'failed-precondition',
      reason: 'adopted',
      message: 'lab/105 of old-web was adopted: there is one of it, and not 2',
      nextStep: 'drover clone lab/105 --as NAME makes a workload that is a copy',
    };
    await expect(
      store.transact((tx) => scaleWorkload(tx, { ...head, replicas: 2 }, 1)),
    ).rejects.toMatchObject(refused);
    const document = documentOf(world, 2);
    const put = { ...head, document, workloadId: 'w', planRevision: 0 };
    await expect(store.transact((tx) => putWorkload(tx, put, 1))).rejects.toMatchObject(refused);
    const plan = () =>
      planApply(
        { networks: [], workloads: [document] },
        { snapshot: store.snapshot(), live: control.view.nodes(), nowMs: 1 },
      );
    expect(plan).toThrow(expect.objectContaining(refused));
    expect(control.workload(name)?.spec.replicas).toBe(1);
  });

  it('stays where more copies than one were wanted before, and fewer are now', async () => {
    await using world = await withAdopted();
    const { store, control } = world;
    const [adopted] = control.instances(name);
    await store.transact((tx) => {
      const before = tx.named('workload', name, project);
      if (before === undefined) throw new Error('there is no workload');
      tx.put('workload', before.metadata.id, withSpec(before, { ...before.spec, replicas: 2 }), project);
    });
    // Whatever else changes meanwhile is taken in.
    const document = { ...documentOf(world, 2), labels: { tier: 'web' } };
    const put = { ...head, document, workloadId: 'w', planRevision: 0 };
    await store.transact((tx) => putWorkload(tx, put, 1));
    await until(() => control.instances(name).length === 2, { what: 'a second copy' });
    await store.transact((tx) => scaleWorkload(tx, { ...head, replicas: 1 }, 2));
    await until(() => control.instances(name).length === 1, { what: 'one copy again' });
    expect(control.instances(name)[0]?.metadata.id).toBe(adopted?.metadata.id);
  });

  it('is planned to go with what that takes', async () => {
    await using world = await withAdopted();
    const { store, control } = world;
    const workloads = [documentOf(world, 0)];
    const plan = planApply(
      { networks: [], workloads },
      { snapshot: store.snapshot(), live: control.view.nodes(), nowMs: 1 },
    );
    expect(plan.workloads[0]?.steps).toMatchObject([
      { kind: 'remove', detail: '0 wanted; it was adopted: apply wants --destroy-adopted for that' },
    ]);
  });

  it('is planned to stay as it is, where only another guest could be so', async () => {
    await using world = await withAdopted();
    const { store, control } = world;
    const document = documentOf(world, 1);
    const spec = { ...document.spec, rootPool: 'elsewhere' };
    const plan = planApply(
      { networks: [], workloads: [{ ...document, spec }] },
      { snapshot: store.snapshot(), live: control.view.nodes(), nowMs: 1 },
    );
    expect(plan.workloads[0]?.steps.at(-1)).toMatchObject({
      kind: 'update',
      detail: 'stays as it is: it was adopted, and nothing could make another one of it',
    });
  });
});
