import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { ApplyRequest, type SnapshotResult } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { systemRandom } from '#shared/random.ts';
import { type ApiWorld, startApiWorld } from '../../../test/api-world.ts';
import type { FakeFleet } from '../../../test/fakes/backend.ts';
import type { SimulatedControlPlane } from '../../../test/simulation/control-plane.ts';
import { until } from '../../../test/until.ts';
import type { Backend } from '../../backends/backend.ts';
import { fleetService } from '../fleet-service.ts';

let fleet: FakeFleet;
let control: SimulatedControlPlane;
let service: ReturnType<typeof fleetService>;
let world: ApiWorld;
/** Orders to set back do not come through. */
let isCut: boolean;

beforeEach(async () => {
  isCut = false;
  const lxc = { name: 'lxc', version: '5.0.2', healthy: true, detail: '', capabilities: [] };
  const through = (backend: Backend): Backend => ({
    ...backend,
    rollbackSnapshot: (...order) =>
      isCut ? Promise.reject(new DroverError('unavailable', 'cut')) : backend.rollbackSnapshot(...order),
  });
  world = await startApiWorld({ facts: { runtimes: [lxc, { ...lxc, name: 'crun' }] }, through });
  ({ fleet, control } = world);
  service = fleetService(world.deps);
});

afterEach(() => world.close());

const contextOf = (method: string) => world.contextOf(method);

const plain = {
  image: 'registry.example/db:1',
  runtime: 'lxc',
  replicas: 2,
  env: { VERSION: '1' },
  update: { readyAfterMs: 0 },
};

const workload = () => control.store.snapshot().named('workload', 'db');
const settled = () =>
  until(
    async () => {
      const answer = await service.getWorkload({ project: '', name: 'db' }, contextOf('GetWorkload'));
      return answer.workload?.status?.state === 'ready';
    },
    { what: 'db is ready' },
  );

async function apply(spec: object): Promise<void> {
  const documents = [{ metadata: { name: 'db' }, spec: { ...plain, ...spec } }];
  const request = ApplyRequest.fromPartial({ requestId: systemRandom.uuidV4(), documents });
  await service.apply(request, contextOf('Apply'));
}

async function applied(spec: object): Promise<void> {
  await apply(spec);
  await settled();
}

const undo = (requestId = systemRandom.uuidV4()): AsyncIterable<SnapshotResult> =>
  service.rollbackSnapshot(
    { requestId, project: '', target: 'db', name: '', restoreSpec: true },
    contextOf('RollbackSnapshot'),
  );

async function all(rows: AsyncIterable<SnapshotResult>): Promise<string[]> {
  const found = await Array.fromAsync(rows, ({ snapshot, error }) => error || (snapshot?.name ?? ''));
  return found.toSorted();
}

const snapshots = () =>
  control.instances('db').map(({ metadata, node }) =>
    fleet.nodes
      .get(node ?? '')
      ?.storage.snapshots(metadata.id as never)
      .map(({ name }) => name),
  );

describe('undoing the last update', () => {
  it('sets back the spec, then the data of every copy, once', async () => {
    await applied({});
    await applied({ env: { VERSION: '2' } });
    const requestId = systemRandom.uuidV4();
    expect(await all(undo(requestId))).toEqual(['before-update-1', 'before-update-1']);
    await settled();
    expect(workload()?.spec.env).toEqual({ VERSION: '1' });
    // What was spoilt is gone, and with it the snapshot that the way back had taken of it.
    expect(snapshots()).toEqual([['before-update-1'], ['before-update-1']]);

    expect(await all(undo(requestId))).toEqual(['before-update-1', 'before-update-1']);
    const { generation } = workload()?.metadata ?? {};
    await expect(all(undo())).rejects.toMatchObject({ kind: 'failed-precondition' });
    expect(workload()).toMatchObject({ metadata: { generation }, spec: { env: { VERSION: '1' } } });
  });

  it('finds the snapshot of before again when it was cut in between', async () => {
    await applied({});
    await applied({ env: { VERSION: '2' } });
    const requestId = systemRandom.uuidV4();
    isCut = true;
    const told = 'its data was not set back: cut; then: drover snapshot rollback db-';
    expect((await all(undo(requestId))).every((row) => row.startsWith(told))).toBe(true);
    await settled();
    const both = ['before-update-1', 'before-update-2'];
    expect(snapshots()).toEqual([both, both]);
    isCut = false;
    expect(await all(undo(requestId))).toEqual(['before-update-1', 'before-update-1']);
    expect(workload()?.spec.env).toEqual({ VERSION: '1' });
  });

  it('tells why a copy goes back to none, again when asked again, and leaves the others', async () => {
    await applied({});
    await applied({ env: { VERSION: '2' } });
    const requestId = systemRandom.uuidV4();
    const [first] = control.instances('db');
    const node = fleet.nodes.get(first?.node ?? '');
    const full = new DroverError('unavailable', 'the pool is asleep', { nextStep: 'wake it' });
    node?.failNext('storage', full);
    const why = 'its data was not set back: the pool is asleep; wake it; then: drover snapshot list db-';
    for (const _ of [1, 2])
      expect(await all(undo(requestId))).toEqual(['before-update-1', expect.stringContaining(why)]);
    expect(workload()?.spec.env).toEqual({ VERSION: '1' });
  });

  it('sets nothing back while no node answers that could have a snapshot', async () => {
    await applied({});
    await applied({ env: { VERSION: '2' } });
    for (const node of fleet.nodes.values()) node.disconnect();
    await until(() => [...control.view.nodes().values()].every(({ connected }) => !connected), {
      what: 'all nodes are away',
    });
    const refusal = { kind: 'unavailable', nextStep: expect.stringContaining('drover describe node h') };
    await expect(all(undo())).rejects.toMatchObject(refusal);
    expect(workload()?.spec.env).toEqual({ VERSION: '2' });
  });

  it('does not wait with the first copy for the last', async () => {
    await applied({});
    await applied({ env: { VERSION: '2' } });
    await applied({ env: { VERSION: '3' }, update: { readyAfterMs: 300 } });
    const rows = undo()[Symbol.asyncIterator]();
    expect((await rows.next()).value).toMatchObject({ error: '' });
    const old = control.instances('db').filter(({ spec }) => spec.env['VERSION'] === '3');
    expect(old).toHaveLength(1);
    expect((await rows.next()).value).toMatchObject({ error: '' });
  });

  it('refuses where the last update took no snapshot, rather than go back further', async () => {
    await applied({});
    await expect(all(undo())).rejects.toMatchObject({ kind: 'failed-precondition' });
    await applied({ env: { VERSION: '2' } });
    await applied({ env: { VERSION: '2' }, resources: { memoryMib: 64 } });
    await expect(all(undo())).rejects.toMatchObject({ kind: 'not-found' });
    expect(workload()?.spec).toMatchObject({ env: { VERSION: '2' }, resources: { memoryMib: 64 } });
    expect(snapshots()).toEqual([['before-update-1'], ['before-update-1']]);
  });

  it('leaves the data of copies that the update had not reached', async () => {
    await applied({});
    await applied({ env: { VERSION: '2' } });
    // Nothing can be resolved any more: the update reaches nobody.
    for (const node of fleet.nodes.values())
      for (let count = 0; count < 50; count += 1) node.failNext('resolve', new Error('no such image'));
    await apply({ env: { VERSION: '2' }, image: 'registry.example/db:typo' });
    expect(await all(undo())).toEqual([]);
    expect(workload()?.spec.image).toBe(plain.image);
    expect(snapshots()).toEqual([['before-update-1'], ['before-update-1']]);
  });
});
