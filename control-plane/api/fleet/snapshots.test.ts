import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { ApplyRequest, type SnapshotResult } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { GuestStats } from '#shared/gen/drover/model/v1/model.ts';
import { systemRandom } from '#shared/random.ts';
import { type ApiWorld, startApiWorld } from '../../../test/api-world.ts';
import type { FakeFleet } from '../../../test/fakes/backend.ts';
import type { SimulatedControlPlane } from '../../../test/simulation/control-plane.ts';
import { until } from '../../../test/until.ts';
import { fleetService } from '../fleet-service.ts';

const project = '';
let fleet: FakeFleet;
let control: SimulatedControlPlane;
let service: ReturnType<typeof fleetService>;
let world: ApiWorld;

beforeEach(async () => {
  world = await startApiWorld();
  ({ fleet, control } = world);
  service = fleetService(world.deps);
  await apply({});
  await ready();
});

afterEach(() => world.close());

const contextOf = (method: string) => world.contextOf(method);

async function apply(env: Record<string, string>): Promise<void> {
  const spec = { image: 'registry.example/web:1', replicas: 2, env, update: { readyAfterMs: 0 } };
  const request = ApplyRequest.fromPartial({
    requestId: systemRandom.uuidV4(),
    documents: [{ metadata: { name: 'web' }, spec }],
  });
  await service.apply(request, contextOf('Apply'));
}

const ready = () =>
  until(
    async () => {
      const { workload } = await service.getWorkload({ project, name: 'web' }, contextOf('GetWorkload'));
      return workload?.status?.state === 'ready';
    },
    { what: 'web is ready' },
  );

const create = (target: string, name = 'first', requestId = systemRandom.uuidV4()) =>
  Array.fromAsync(service.createSnapshot({ requestId, project, target, name }, contextOf('CreateSnapshot')));
const list = (target = '') =>
  Array.fromAsync(service.listSnapshots({ project, target }, contextOf('ListSnapshots')));
const names = (results: readonly SnapshotResult[]) =>
  results.map(({ instance, snapshot }) => `${instance} ${snapshot?.name}`).toSorted();
const copies = () => control.instances('web').map(({ metadata }) => metadata.name);

describe('snapshots', () => {
  it('are taken of one instance, or of every copy of a workload', async () => {
    const [one = ''] = copies();
    expect(names(await create(one))).toEqual([`${one} first`]);
    expect(names(await create('web', 'second'))).toEqual(
      copies()
        .map((name) => `${name} second`)
        .toSorted(),
    );
    expect(names(await list(one))).toEqual([`${one} first`, `${one} second`]);
    expect(await list()).toHaveLength(3);
  });

  it('get a name from the time where none is given', async () => {
    const [result] = await create(copies()[0] ?? '', '');
    expect(result?.snapshot?.name).toMatch(/^manual-\d{8}-\d{6}$/);
  });

  it('are taken once for a request, however often it comes', async () => {
    const requestId = systemRandom.uuidV4();
    const first = await create('web', 'once', requestId);
    expect(names(await create('web', 'once', requestId))).toEqual(names(first));
    expect(await list('web')).toHaveLength(2);
  });

  it('tell what failed for one copy beside what was done for the others', async () => {
    const node = fleet.nodes.get('h1');
    node?.failNext('storage', new DroverError('resource-exhausted', 'the pool is full'));
    const results = await create('web');
    expect(results.map(({ errorKind }) => errorKind).toSorted()).toEqual(['', 'resource-exhausted']);
    node?.disconnect();
    await until(() => control.view.node('h1' as never)?.connected !== true, { what: 'h1 is away' });
    const later = await list('web');
    expect(later.some(({ node: name, error }) => name === 'h1' && error !== '')).toBe(true);
    expect(later.some(({ snapshot }) => snapshot !== undefined)).toBe(true);
  });

  it('set every copy back to its own, and are removed by name', async () => {
    await create('web', 'first');
    await create('web', 'second');
    const request = { requestId: systemRandom.uuidV4(), project, target: 'web', restoreSpec: false };
    const rolled = await Array.fromAsync(
      service.rollbackSnapshot({ ...request, name: 'first' }, contextOf('RollbackSnapshot')),
    );
    expect(rolled.map(({ error }) => error)).toEqual(['', '']);
    const told = control.store.snapshot().list('event');
    const back = told.filter(({ type }) => type === 'instance.rolled-back');
    expect(back.map(({ subject }) => subject['instance'] ?? '').toSorted()).toEqual(copies().toSorted());
    expect(back[0]?.message).toMatch(/^to first of \d{4}-.*; by admin/);
    expect(names(await list('web'))).toEqual(
      copies()
        .map((name) => `${name} first`)
        .toSorted(),
    );
    const remove = { requestId: systemRandom.uuidV4(), project, target: 'web', name: 'first' };
    await Array.fromAsync(service.removeSnapshot(remove, contextOf('RemoveSnapshot')));
    expect(await list('web')).toEqual([]);
    await expect(
      Array.fromAsync(
        service.removeSnapshot({ ...remove, requestId: systemRandom.uuidV4() }, contextOf('RemoveSnapshot')),
      ),
    ).rejects.toMatchObject({ kind: 'not-found' });
  });

  it.each(['rollbackSnapshot', 'removeSnapshot'] as const)(
    'tell where %s could not look, with what to do, and go on with the others',
    async (method) => {
      await create('web', 'first');
      const asleep = new DroverError('unavailable', 'the pool is asleep', { nextStep: 'wake it' });
      fleet.nodes.get('h1')?.failNext('storage', asleep);
      const request = { project, target: 'web', name: 'first', restoreSpec: false };
      const results = await Array.fromAsync(
        service[method]({ ...request, requestId: systemRandom.uuidV4() }, contextOf('RollbackSnapshot')),
      );
      const told = results.map(({ node, error, errorKind }) => ({ node, error, errorKind }));
      expect(told.toSorted((a, b) => (a.node < b.node ? -1 : 1))).toEqual([
        { node: 'h1', error: 'the pool is asleep; wake it', errorKind: 'unavailable' },
        { node: 'h2', error: '', errorKind: '' },
      ]);
    },
  );

  it('refuse a target and a name that cannot be', async () => {
    await expect(create('nobody')).rejects.toMatchObject({ kind: 'not-found' });
    await expect(create('web', 'Not a name')).rejects.toMatchObject({ kind: 'invalid-argument' });
  });
});

describe('a running copy', () => {
  it('is paused and resumed, as often as it is asked', async () => {
    const [instance = ''] = copies();
    const asked = { project, instance };
    for (const _ of [1, 2]) await service.pauseInstance(asked, contextOf('PauseInstance'));
    const phase = () => {
      const { observed } = control.instances('web').find(({ metadata }) => metadata.name === instance) ?? {};
      return typeof observed === 'object' ? observed.phase : observed;
    };
    await until(() => phase() === 'paused', { what: 'paused' });
    for (const _ of [1, 2]) await service.resumeInstance(asked, contextOf('ResumeInstance'));
    await until(() => phase() === 'running', { what: 'running' });
  });

  it('tells what it uses, alone and with the others, once or again and again', async () => {
    const read = (target: string, intervalMs = 0): AsyncIterable<GuestStats> =>
      service.streamStats({ project, target, intervalMs }, contextOf('StreamStats'));
    const [instance = ''] = copies();
    expect((await Array.fromAsync(read(instance))).map(({ displayName }) => displayName)).toEqual([instance]);
    expect(await Array.fromAsync(read(''))).toHaveLength(2);
    const seen: string[] = [];
    for await (const { displayName } of read('web', 1000)) {
      seen.push(displayName);
      if (seen.length === 3) break;
    }
    expect(new Set(seen).size).toBe(2);
    await expect(Array.fromAsync(read('web', 10))).rejects.toMatchObject({ kind: 'invalid-argument' });
  });
});
