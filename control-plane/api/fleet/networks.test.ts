import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ApplyRequest,
  type Instance,
  ListInstancesRequest,
  ObjectKind,
  PlanRequest,
  WatchRequest,
  type WatchResponse,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { NetworkMode } from '#shared/gen/drover/model/v1/model.ts';
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
  const crun = { name: 'crun', version: '1', healthy: true, detail: '', capabilities: ['network-bridged'] };
  world = await startApiWorld({ facts: { runtimes: [crun] } });
  ({ fleet, control } = world);
  service = fleetService(world.deps);
});

afterEach(() => world.close());

const contextOf = (method: string) => world.contextOf(method);

type Asked = Pick<Parameters<typeof PlanRequest.fromPartial>[0] & object, 'documents' | 'networks'>;
const lan = (spec = {}) => ({
  metadata: { name: 'lan' },
  spec: { subnets: [{ cidr: '10.20.0.0/24' }], dns: { servers: ['10.20.0.1'] }, ...spec },
});
const web = ({ name = 'web', addresses = [] as string[], ports = [] as object[], replicas = 2 } = {}) => ({
  metadata: { name },
  spec: {
    image: 'registry.example/web:1',
    replicas,
    update: { readyAfterMs: 0 },
    network: NetworkMode.NETWORK_MODE_BRIDGED,
    guest: {
      networks: [{ network: 'lan', addresses }],
      ports: ports.map((port) => ({ protocol: 'tcp', ...port })),
    },
  },
});
const apply = (asked: Asked) =>
  service.apply(ApplyRequest.fromPartial({ ...asked, requestId: systemRandom.uuidV4() }), contextOf('Apply'));
const plan = (asked: Asked) => service.plan(PlanRequest.fromPartial(asked), contextOf('Plan'));
const get = async () => (await service.getNetwork({ project, name: 'lan' }, contextOf('GetNetwork'))).network;

const listed = (workload: string): Promise<Instance[]> => {
  const request = ListInstancesRequest.fromPartial({ workload });
  return Array.fromAsync(service.listInstances(request, contextOf('ListInstances')));
};

async function instancesOf(workload: string, count: number): Promise<Instance[]> {
  const list = () => listed(workload);
  const isThere = async (): Promise<boolean> => {
    const all = await list();
    return all.length === count && all.every(({ node }) => node !== '');
  };
  await until(isThere, { what: `${count} of ${workload} placed` });
  return list();
}
const addressesOf = (instances: readonly Instance[]): string[] =>
  instances
    .flatMap(({ assigned }) => assigned?.attachments.flatMap(({ addresses }) => addresses) ?? [])
    .toSorted();

describe('networks', () => {
  it('are made with the workloads that are in them, and lead to the nodes', async () => {
    const { networks, results } = await apply({ networks: [lan()], documents: [web()] });
    expect(networks).toMatchObject([
      { change: 'created', network: { metadata: { name: 'lan' }, free: 253n } },
    ]);
    expect(results).toMatchObject([{ change: 'created' }]);
    const instances = await instancesOf('web', 2);
    expect(addressesOf(instances)).toEqual(['10.20.0.2/24', '10.20.0.3/24']);
    const held = instances.map(({ metadata, assigned }) => ({
      address: assigned?.attachments[0]?.addresses[0]?.replace('/24', ''),
      instance: metadata?.name,
    }));
    expect(await get()).toMatchObject({ free: 251n, heldCount: 2, held: expect.arrayContaining(held) });
    const told = () => [...fleet.nodes.values()].flatMap(({ instances: all }) => [...all.values()]);
    await until(() => told().length === 2, { what: 'both ordered' });
    for (const { spec } of told()) expect(spec.dns.servers).toEqual(['10.20.0.1']);
    expect((await apply({ networks: [lan()], documents: [web()] })).networks).toMatchObject([
      { change: 'unchanged' },
    ]);
  });

  it('have addresses back when nothing of an instance is left, and can be removed then', async () => {
    await apply({ networks: [lan()], documents: [web()] });
    await instancesOf('web', 2);
    const remove = () => service.removeNetwork({ project, name: 'lan' }, contextOf('RemoveNetwork'));
    await expect(remove()).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringMatching(/in use by workloads: web/),
    });
    const request = { requestId: systemRandom.uuidV4(), project, name: 'web', destroyAdopted: false };
    await service.deleteWorkload(request, contextOf('DeleteWorkload'));
    await until(async () => (await get())?.free === 253n, { what: 'all given back' });
    await until(() => control.store.snapshot().named('workload', 'web') === undefined, { what: 'web gone' });
    await remove();
    await expect(get()).rejects.toMatchObject({ kind: 'not-found' });
    await expect(remove()).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('are planned as they would be applied, and nothing is written', async () => {
    const before = control.store.snapshot().revision;
    const planned = await plan({ networks: [lan()], documents: [web()] });
    expect(planned.networks).toMatchObject([{ name: 'lan', change: 'create' }]);
    expect(planned.networks[0]?.fields).toContainEqual({
      field: 'subnets.10.20.0.0/24',
      before: '',
      after: '{ gateway: 10.20.0.1, first: 10.20.0.2, last: 10.20.0.254 }',
    });
    expect(planned.workloads[0]?.placements.map(({ node }) => node)).toEqual(['h1', 'h2']);
    expect(control.store.snapshot().revision).toBe(before);
  });

  it.each([
    ['a network that there is not', { documents: [web()] }, /there is no network "lan"/],
    [
      'an address outside',
      { networks: [lan()], documents: [web({ addresses: ['10.9.0.1', '10.20.0.9'] })] },
      /lies in/,
    ],
    [
      'too few addresses',
      { networks: [lan()], documents: [web({ addresses: ['10.20.0.9'] })] },
      /for 2 copies/,
    ],
  ])('are refused by plan and by apply alike: %s', async (_title, asked, message) => {
    const wanted = { kind: 'invalid-argument', message: expect.stringMatching(message) };
    await expect(plan(asked)).rejects.toMatchObject(wanted);
    await expect(apply(asked)).rejects.toMatchObject(wanted);
    expect(control.store.snapshot().list('network')).toEqual([]);
  });

  it('that are full, and ports that are taken, are told by plan', async () => {
    const tiny = lan({ subnets: [{ cidr: '10.20.0.0/30' }] });
    const full = await plan({ networks: [tiny], documents: [web()] });
    expect(full.workloads[0]?.placements.map(({ node, summary }) => [node, summary])).toMatchObject([
      ['h1', expect.anything()],
      ['', expect.stringMatching(/network lan is full/)],
    ]);
    const ports = [{ hostPort: 8080, guestPort: 80 }];
    const crowded = await plan({ networks: [lan()], documents: [web({ replicas: 3, ports })] });
    expect(crowded.workloads[0]?.placements.at(-1)).toMatchObject({
      node: '',
      summary: expect.stringMatching(/2 have a host port taken/),
    });
  });

  it('that are full are told by explain, too', async () => {
    await apply({ networks: [lan({ subnets: [{ cidr: '10.20.0.0/30' }] })], documents: [web()] });
    const unplaced = async (): Promise<string | undefined> => {
      const all = await listed('web');
      const without = all.find(({ node, message }) => node === '' && message.includes('is full'));
      return all.length === 2 ? without?.metadata?.name : undefined;
    };
    await until(async () => (await unplaced()) !== undefined, { what: 'one without a place' });
    const instance = (await unplaced()) ?? '';
    const { decision } = await service.explainInstance({ project, instance }, contextOf('ExplainInstance'));
    expect(decision).toMatchObject({
      node: '',
      summary:
        'network lan is full: 1 of 1 addresses are held, 10.20.0.2 to 10.20.0.2; ' +
        'remove what needs none, or widen it; drover describe network lan says who holds which',
    });
    expect(decision?.verdicts).toHaveLength(2);
  });

  it('refuse to have more copies than a workload names addresses', async () => {
    await apply({ networks: [lan()], documents: [web({ addresses: ['10.20.0.7', '10.20.0.9'] })] });
    expect(addressesOf(await instancesOf('web', 2))).toEqual(['10.20.0.7/24', '10.20.0.9/24']);
    const request = {
      requestId: systemRandom.uuidV4(),
      project,
      name: 'web',
      replicas: 3,
      destroyAdopted: false,
    };
    await expect(service.scaleWorkload(request, contextOf('ScaleWorkload'))).rejects.toMatchObject({
      kind: 'invalid-argument',
      message: expect.stringMatching(/for 3 copies/),
    });
  });

  it('are watched: made, less free with each instance, gone', async () => {
    const kinds = [ObjectKind.OBJECT_KIND_NETWORK];
    const calls = new AbortController();
    const context = { ...contextOf('Watch'), signal: calls.signal };
    const changes = service.watch(WatchRequest.fromPartial({ kinds }), context);
    const seen: WatchResponse['event'][] = [];
    const reading = (async () => {
      for await (const { event } of changes) seen.push(event);
    })();
    await apply({ networks: [lan()], documents: [web({ replicas: 1 })] });
    const free = (): (bigint | undefined)[] =>
      seen.flatMap((event) => (event?.$case === 'network' ? [event.value.free] : []));
    await until(() => free().at(-1) === 252n, { what: 'one address taken' });
    expect(free()[0]).toBe(253n);
    const request = { requestId: systemRandom.uuidV4(), project, name: 'web', destroyAdopted: false };
    await service.deleteWorkload(request, contextOf('DeleteWorkload'));
    await until(() => control.store.snapshot().named('workload', 'web') === undefined, { what: 'web gone' });
    await service.removeNetwork({ project, name: 'lan' }, contextOf('RemoveNetwork'));
    await until(() => seen.at(-1)?.$case === 'removed', { what: 'the removal' });
    calls.abort(new Error('enough'));
    await reading.catch(() => {});
  });
});
