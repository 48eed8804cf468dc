import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ApplyResult,
  ListInstancesRequest,
  ObjectKind,
  OperationState,
  PlanRequest,
  RoutingRule,
  WatchRequest,
  type WatchResponse,
  WorkloadSpec,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { ExecInput, type ExecOutput, LogOptions } from '#shared/gen/drover/model/v1/model.ts';
import { systemRandom } from '#shared/random.ts';
import { type ApiWorld, startApiWorld } from '../../test/api-world.ts';
import type { FakeFleet } from '../../test/fakes/backend.ts';
import type { SimulatedControlPlane } from '../../test/simulation/control-plane.ts';
import { until } from '../../test/until.ts';
import { fleetService } from './fleet-service.ts';
import { operationService } from './operation-service.ts';

type SpecChanges = Parameters<typeof WorkloadSpec.fromPartial>[0];
const project = '';

let fleet: FakeFleet;
let control: SimulatedControlPlane;
let service: ReturnType<typeof fleetService>;
let operations: ReturnType<typeof operationService>;
let world: ApiWorld;

beforeEach(async () => {
  world = await startApiWorld();
  ({ fleet, control } = world);
  service = fleetService(world.deps);
  operations = operationService(world.deps);
});

afterEach(() => world.close());

const contextOf = (method: string) => world.contextOf(method);

const documentOf = (name: string, spec: SpecChanges) => ({
  metadata: { name },
  spec: { image: 'registry.example/web:1', update: { readyAfterMs: 0 }, ...spec },
});

async function apply(
  name: string,
  spec: SpecChanges = {},
  requestId = systemRandom.uuidV4(),
): Promise<ApplyResult> {
  const request = PlanRequest.fromPartial({ documents: [documentOf(name, spec)] });
  const { results } = await service.apply(
    { ...request, requestId, planRevision: 0n, destroyAdopted: false },
    contextOf('Apply'),
  );
  const [result] = results;
  if (result === undefined) throw new Error('no result');
  return result;
}

async function ready(name: string, replicas = 1): Promise<string[]> {
  const status = async () =>
    (await service.getWorkload({ name, project }, contextOf('GetWorkload'))).workload?.status;
  await until(async () => (await status())?.state === 'ready', { what: `${name} ready` });
  const listed = await Array.fromAsync(
    service.listInstances(ListInstancesRequest.fromPartial({ workload: name }), contextOf('ListInstances')),
  );
  expect(listed).toHaveLength(replicas);
  return listed.map(({ metadata }) => metadata?.name ?? '');
}

/** Reads on until the condition holds of what came. */
async function readUntil<T>(items: AsyncIterator<T>, holds: (item: T) => boolean): Promise<T[]> {
  const all: T[] = [];
  for (;;) {
    const { done, value } = await items.next();
    if (done) throw new Error(`the stream ended after ${all.length}`);
    all.push(value);
    if (holds(value)) return all;
  }
}

const iteratorOf = <T>(items: AsyncIterable<T>): AsyncIterator<T> => items[Symbol.asyncIterator]();

describe('apply, scale and delete', () => {
  it('carries a workload out, and tells of its operation until it has ended', async () => {
    const { operationId, change, workload } = await apply('web', { replicas: 2 });
    expect([change, workload?.status?.state]).toEqual(['created', 'progressing']);
    const seen = await Array.fromAsync(
      operations.watchOperation({ id: operationId }, contextOf('WatchOperation')),
    );
    expect(seen.at(-1)).toMatchObject({
      state: OperationState.OPERATION_STATE_SUCCEEDED,
      done: 2,
      total: 2,
      caller: 'admin/root',
    });
    await ready('web', 2);
  });

  it('answers a repeated request alike, and refuses its id for another body', async () => {
    const requestId = systemRandom.uuidV4();
    const first = await apply('web', {}, requestId);
    const second = await apply('web', {}, requestId);
    expect([second.change, second.operationId]).toEqual(['created', first.operationId]);
    await expect(apply('web', { replicas: 2 }, requestId)).rejects.toMatchObject({
      reason: 'request-id-reused',
    });
    await expect(apply('web', {}, 'again')).rejects.toMatchObject({ kind: 'invalid-argument' });
  });

  it('scales and deletes, and suggests the nearest name', async () => {
    await apply('web');
    await ready('web');
    const scaled = await service.scaleWorkload(
      { requestId: systemRandom.uuidV4(), project, name: 'web', replicas: 3, destroyAdopted: false },
      contextOf('ScaleWorkload'),
    );
    expect(scaled.result?.change).toBe('changed');
    await ready('web', 3);
    const remove = (name: string) =>
      service.deleteWorkload(
        { requestId: systemRandom.uuidV4(), project, name, destroyAdopted: false },
        contextOf('DeleteWorkload'),
      );
    await expect(remove('wbe')).rejects.toMatchObject({ kind: 'not-found', nextStep: 'did you mean "web"?' });
    const { operationId } = await remove('web');
    await Array.fromAsync(operations.watchOperation({ id: operationId }, contextOf('WatchOperation')));
    const { operation } = await operations.getOperation({ id: operationId }, contextOf('GetOperation'));
    expect(operation).toMatchObject({ kind: 'delete', done: 3, total: 3 });
    expect(control.instances('web')).toEqual([]);
  });

  it('tells what stands in the way', async () => {
    const { operationId } = await apply('big', { resources: { memoryMib: 10_000_000 } });
    const blocked = await until(
      async () => {
        const { operation } = await operations.getOperation({ id: operationId }, contextOf('GetOperation'));
        return operation?.blocked ? operation : undefined;
      },
      { what: 'a blocked operation' },
    );
    expect(blocked).toMatchObject({ blockedBy: 'unplaceable', done: 0, total: 1 });
    expect(blocked.message).toMatch(/0 of 2 nodes fit/);
    const [instance] = control.instances('big');
    const explained = await service.explainInstance(
      { project, instance: instance?.metadata.name ?? '' },
      contextOf('ExplainInstance'),
    );
    expect(explained.decision?.verdicts.map(({ rule }) => rule)).toEqual(['enough-memory', 'enough-memory']);
    expect(explained).toMatchObject({ nextStep: 'place it as soon as a node fits', placedBecause: '' });
  });

  it('plans what apply does, bound to a revision', async () => {
    const request = PlanRequest.fromPartial({ documents: [documentOf('web', { replicas: 2 })] });
    const { revision, workloads } = await service.plan(request, contextOf('Plan'));
    expect(workloads[0]).toMatchObject({ name: 'web', change: 'create' });
    expect(workloads[0]?.placements.map(({ node }) => node)).toEqual(['h1', 'h2']);
    await apply('web', { replicas: 2 });
    const head = { requestId: systemRandom.uuidV4(), destroyAdopted: false };
    const late = { ...request, ...head, planRevision: revision };
    await expect(service.apply(late, contextOf('Apply'))).rejects.toMatchObject({ reason: 'plan-outdated' });
  });
});

describe('instances', () => {
  it('finds them by what people call them, and explains where they are', async () => {
    await apply('web');
    const [name = ''] = await ready('web');
    const { instance } = await service.getInstance({ project, instance: name }, contextOf('GetInstance'));
    const { instance: same } = await service.getInstance(
      { project, instance: instance?.metadata?.id ?? '' },
      contextOf('GetInstance'),
    );
    expect(same?.metadata?.name).toBe(name);
    const explained = await service.explainInstance(
      { project, instance: name },
      contextOf('ExplainInstance'),
    );
    expect(explained.decision?.verdicts[0]?.node).toBe(instance?.node);
    expect(explained.nextStep).toMatch(/nothing to do/);
    await expect(
      service.getInstance({ project, instance: `${name}x` }, contextOf('GetInstance')),
    ).rejects.toMatchObject({ kind: 'not-found', nextStep: `did you mean "${name}"?` });
  });

  it('signals what runs, and refuses what is away', async () => {
    await apply('web');
    const [instance = ''] = await ready('web');
    await service.signalInstance({ project, instance, signal: 1 }, contextOf('SignalInstance'));
    await expect(
      service.signalInstance({ project, instance, signal: 65 }, contextOf('SignalInstance')),
    ).rejects.toMatchObject({ kind: 'invalid-argument' });
    for (const node of fleet.nodes.values()) node.disconnect();
    await expect(
      until(
        () =>
          service
            .signalInstance({ project, instance, signal: 1 }, contextOf('SignalInstance'))
            .then(() => false),
        { what: 'a refusal' },
      ),
    ).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('relays an exec with its exit', async () => {
    await apply('web');
    const [instance = ''] = await ready('web');
    async function* input() {
      const start = { instance, command: ['/bin/cat'], stdin: true };
      yield ExecInput.fromPartial({ input: { $case: 'start', value: start } });
      yield ExecInput.fromPartial({ input: { $case: 'stdin', value: Buffer.from('hello') } });
      yield ExecInput.fromPartial({ input: { $case: 'stdinEnd', value: true } });
    }
    const outputs: ExecOutput[] = await Array.fromAsync(service.exec(input(), contextOf('Exec')));
    expect(outputs[0]?.output?.$case).toBe('started');
    expect(outputs.at(-1)?.output?.$case).toBe('exit');
  });

  it('refuses an exec that does not begin with its start', async () => {
    async function* input() {
      yield ExecInput.fromPartial({ input: { $case: 'stdinEnd', value: true } });
    }
    await expect(Array.fromAsync(service.exec(input(), contextOf('Exec')))).rejects.toMatchObject({
      kind: 'invalid-argument',
    });
  });

  it('reads the output of one and of all', async () => {
    await apply('web', { replicas: 2 });
    const [first = ''] = await ready('web', 2);
    const read = (target: string) =>
      Array.fromAsync(
        service.streamLogs({ project, target, options: LogOptions.fromPartial({}) }, contextOf('StreamLogs')),
      );
    const one = await read(first);
    expect(new Set(one.map(({ instance }) => instance))).toEqual(new Set(one.length > 0 ? [first] : []));
    const all = await read('web');
    expect(all.length).toBe(2 * one.length);
    expect(all.map(({ atNs }) => atNs)).toEqual(
      all.map(({ atNs }) => atNs).toSorted((a, b) => (a < b ? -1 : 1)),
    );
    await expect(read('wep')).rejects.toMatchObject({ kind: 'not-found', nextStep: 'did you mean "web"?' });
    fleet.nodes.get('h1')?.disconnect();
    await until(() => control.view.node('h1' as never)?.connected === false, { what: 'h1 away' });
    await expect(read('web')).rejects.toMatchObject({ kind: 'unavailable', reason: 'node-away' });
  });
});

const kinds = [ObjectKind.OBJECT_KIND_WORKLOAD, ObjectKind.OBJECT_KIND_INSTANCE, ObjectKind.OBJECT_KIND_NODE];
const isBookmark = ({ event }: WatchResponse): boolean => event?.$case === 'bookmark';
const watchFrom = (fromRevision: bigint) =>
  iteratorOf(service.watch(WatchRequest.fromPartial({ kinds, fromRevision }), contextOf('Watch')));

describe('watch', () => {
  it('sends all, a bookmark, then what changes, and what was removed', async () => {
    await apply('web');
    await ready('web');
    const responses = watchFrom(0n);
    const first = await readUntil(responses, isBookmark);
    expect(first.map(({ event }) => event?.$case)).toEqual([
      'node',
      'node',
      'workload',
      'instance',
      'bookmark',
    ]);
    await control.remove('web');
    const removed = await readUntil(
      responses,
      ({ event }) => event?.$case === 'removed' && event.value.kind === ObjectKind.OBJECT_KIND_WORKLOAD,
    );
    const revisions = removed.map(({ revision }) => revision);
    expect(revisions).toEqual(revisions.toSorted((a, b) => Number(a - b)));
  });

  it('resumes after a revision without sending all again', async () => {
    await apply('web');
    await ready('web');
    const [bookmark] = (await readUntil(watchFrom(0n), isBookmark)).slice(-1);
    await apply('other');
    const changes = watchFrom(bookmark?.revision ?? 0n);
    const seen = await readUntil(changes, ({ event }) => event?.$case === 'instance');
    expect(seen.at(-1)?.event).toMatchObject({ $case: 'instance', value: { workload: 'other' } });
  });

  it('begins anew after a revision that is still to come', async () => {
    const responses = await readUntil(watchFrom(1_000_000n), isBookmark);
    expect(responses[0]?.event).toMatchObject({ $case: 'resync', value: { reason: 'compacted' } });
  });

  it('begins anew for a reader that was too slow', async () => {
    const responses = watchFrom(0n);
    await readUntil(responses, isBookmark);
    const first = responses.next();
    await apply('web', { replicas: 0 });
    await first;
    const { metadata } = control.workload('web') ?? {};
    for (let count = 0; count < 1_100; count += 1)
      await control.store.transact((tx) => {
        const workload = tx.get('workload', metadata?.id ?? '');
        if (workload !== undefined) tx.put('workload', workload.metadata.id, workload);
      });
    const lost = await readUntil(responses, ({ event }) => event?.$case === 'resync');
    expect(lost.at(-1)?.event).toMatchObject({ value: { reason: 'slow-reader' } });
    await readUntil(responses, isBookmark);
  });

  it('tells when a node goes away, though the store is the same', async () => {
    const responses = watchFrom(0n);
    await readUntil(responses, isBookmark);
    fleet.nodes.get('h1')?.disconnect();
    const seen = await readUntil(
      responses,
      ({ event }) => event?.$case === 'node' && event.value.metadata?.name === 'h1' && !event.value.connected,
    );
    expect(seen.length).toBeGreaterThan(0);
  });

  it('refuses no kinds', async () => {
    const nothing = service.watch(WatchRequest.fromPartial({}), contextOf('Watch'));
    await expect(Array.fromAsync(nothing)).rejects.toMatchObject({ kind: 'invalid-argument' });
  });

  it('follows events from a revision on', async () => {
    const since = BigInt(control.store.snapshot().revision);
    const request = { project, sinceRevision: since, follow: true };
    const events = iteratorOf(service.listEvents(request, contextOf('ListEvents')));
    await apply('web');
    const seen = await readUntil(events, ({ type }) => type === 'instance.placed');
    expect(seen[0]).toMatchObject({ type: 'workload.created', subject: { workload: 'web' } });
    const kept = service.listEvents({ project, sinceRevision: 0n, follow: false }, contextOf('ListEvents'));
    expect((await Array.fromAsync(kept)).length).toBeGreaterThanOrEqual(seen.length);
  });
});

describe('routing', () => {
  const glob = (value: string) => ({ match: { $case: 'glob' as const, value } });
  const put = (rules: Parameters<typeof RoutingRule.fromPartial>[0][], revision = 0n) =>
    service.putRouting(
      {
        requestId: systemRandom.uuidV4(),
        rules: rules.map((one) => RoutingRule.fromPartial(one)),
        defaultRuntime: '',
        revision,
      },
      contextOf('PutRouting'),
    );
  const system = { name: 'system', workload: glob('sys-*'), runtime: 'crun' };

  it('chooses for what names none, and says why in plan, status and explain', async () => {
    const { warnings } = await put([system]);
    expect(warnings).toEqual([]);
    const request = PlanRequest.fromPartial({ documents: [documentOf('sys-a', { runtime: '' })] });
    const planned = await service.plan(request, contextOf('Plan'));
    expect(planned.workloads[0]?.runtime).toBe('crun: rule "system"');
    await apply('sys-a', { runtime: '' });
    const because = async () =>
      (await service.getWorkload({ project, name: 'sys-a' }, contextOf('GetWorkload'))).workload?.status;
    await until(async () => (await because())?.state === 'ready', { what: 'sys-a is ready' });
    expect(await because()).toMatchObject({ runtime: 'crun', runtimeBecause: 'rule "system"' });
    const [instance] = control.instances('sys-a');
    const asked = { project, instance: instance?.metadata.name ?? '' };
    const explained = await service.explainInstance(asked, contextOf('ExplainInstance'));
    expect(explained.runtimeBecause).toBe('crun: rule "system"');
  });

  it('leaves the choice as it was when the rules and the spec change', async () => {
    await put([system]);
    await apply('sys-b', { runtime: '' });
    await until(() => control.workload('sys-b')?.resolved !== undefined, { what: 'the choice' });
    await put([{ ...system, runtime: 'lxc' }]);
    await apply('sys-b', { runtime: '', env: { NEW: '1' } });
    await until(() => control.workload('sys-b')?.resolved?.generation === 2, { what: 'the new choice' });
    expect(control.workload('sys-b')?.resolved).toMatchObject({
      runtime: 'crun',
      runtimeBecause: 'rule "system"',
    });
  });

  it('takes all rules or none, names every fault, and refuses an old revision', async () => {
    const { revision } = await put([system]);
    const wrong = put([
      { name: 'all', runtime: 'docker' },
      { name: 'all', image: glob('x'), runtime: 'crun' },
    ]);
    await expect(wrong).rejects.toMatchObject({
      kind: 'invalid-argument',
      faults: [{ field: 'rules[0].runtime' }, { field: 'rules[1].name' }],
    });
    const { rules } = await service.getRouting({}, contextOf('GetRouting'));
    expect(rules.map(({ name }) => name)).toEqual(['system']);
    await put([], revision);
    await expect(put([system], revision)).rejects.toMatchObject({ kind: 'aborted' });
  });
});
