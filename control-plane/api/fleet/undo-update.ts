import { asDroverError, DroverError } from '#shared/errors.ts';
import { RollbackSnapshotRequest, type SnapshotResult } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance, InstanceId, NodeName, Snapshot, Workload } from '#shared/model.ts';
import { optionalName } from '#shared/wire/checks.ts';
import { blockedChange, currentState } from '../../reconciler/rollout.ts';
import { isOutdated } from '../../store/instance-template.ts';
import { restoreWorkload } from '../../store/restore-workload.ts';
import { nextChange } from '../changes.ts';
import { decide, headOf } from '../decide.ts';
import { fanOut } from '../fan-out.ts';
import { callerName, type HandlerContext, type HandlerDeps } from '../handler.ts';
import { type Moment, presentMoment } from '../messages.ts';
import { findWorkload, parseProject } from '../resolve-name.ts';
import { nodeOfReachable } from './instances.ts';
import { checkRequest, done, failed, noSnapshot, orderOf } from './snapshot-results.ts';

const undoMs = 600_000;
const asksAtOnce = 16;

/** Decided once for each request: a repeat would find later snapshots, of the data that is undone. */
interface Decided {
  /** Of the workload, with its earlier spec. */
  readonly generation: number;
  /** Snapshots by the ids of instances. */
  readonly snapshots: Readonly<Record<string, { readonly id: string; readonly name: string }>>;
}

/**
 * Undoes the last update of a workload: its spec, then the data of each copy as soon as its node has taken
 * that in, so that old data never meets the spec that spoilt it. A copy is not waited for by the others: with
 * its data as it was it gets ready, and the next one has its turn. not-found: the update took no snapshot;
 * failed-precondition as restoreWorkload; what fails for one copy leaves the others.
 */
export async function* undoUpdate(
  request: RollbackSnapshotRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<SnapshotResult> {
  const { requestId, named } = checkRequest(request, optionalName);
  const head = headOf(requestId, RollbackSnapshotRequest.encode(request).finish(), context);
  const { clock, random } = deps;
  const signal = clock.timeout(undoMs, context.signal);
  const moment = presentMoment(deps);
  const project = parseProject(request.project);
  const workload = findWorkload(moment.snapshot, request.target, project);
  const { name } = workload.metadata;
  const updated = moment.snapshot
    .instancesOfWorkload(name, project)
    .filter((each) => each.intent === 'run' && each.node !== undefined && !isOutdated(each, workload));
  const found = await snapshotsOf(updated, named, moment, deps, signal);

  const restore = { project, name, operationId: random.uuidV7(), caller: callerName(context.caller) };
  const decided = await decide(deps, head, (tx): Decided => {
    const { generation } = workload.metadata;
    restoreWorkload(tx, { ...restore, expectedGeneration: generation }, clock.nowMs());
    // What no copy has taken in yet has spoilt nothing: then the spec is all there is to set back.
    if (updated.length > 0 && found.size === 0) throw noSnapshot(name, named);
    const snapshots = Object.fromEntries([...found].map(([id, one]) => [id, { id: one.id, name: one.name }]));
    return { generation: generation + 1, snapshots };
  });
  const targets = [
    ...new Set([...Object.keys(decided.snapshots), ...updated.map(({ metadata }) => metadata.id)]),
  ];
  yield* fanOut(targets, targets.length, (id) =>
    setBack({ id, project, requestId, decided, found: found.get(id) }, deps, signal),
  );
}

/** By the instance's id: the one of the name, else the one of before the generation that it has. */
async function snapshotsOf(
  instances: readonly Instance[],
  name: string,
  { world }: Moment,
  deps: HandlerDeps,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Snapshot>> {
  const found = new Map<string, Snapshot>();
  const look = async (instance: Instance): Promise<void> => {
    const { node, metadata } = instance;
    if (node === undefined || world.stale(instance)) return;
    const id = metadata.id as InstanceId;
    for await (const one of deps.backendOf(node).listSnapshots(node, id, signal)) {
      const isBefore = one.kind === 'before-update' && one.generation === metadata.generation - 1;
      if (name === '' ? isBefore && one.instanceId === id : one.name === name) found.set(id, one);
    }
  };
  for await (const _ of fanOut(instances, asksAtOnce, look));
  return found;
}

interface Undo {
  /** Of the instance. */
  readonly id: string;
  readonly project: string;
  readonly requestId: string;
  readonly decided: Decided;
  readonly found: Snapshot | undefined;
}

async function setBack(
  { id, project, requestId, decided, found }: Undo,
  deps: HandlerDeps,
  signal: AbortSignal,
): Promise<SnapshotResult> {
  const before = deps.store.snapshot().get('instance', id, project);
  const name = before?.metadata.name ?? id;
  const chosen = decided.snapshots[id];
  try {
    if (chosen === undefined) throw noSnapshot(name, '');
    const { instance, node } = await taken(id, project, decided.generation, deps, signal);
    const order = orderOf(instance, node, requestId);
    const snapshotId = chosen.id as Snapshot['id'];
    await deps.backendOf(node).rollbackSnapshot(order, snapshotId, signal);
    return found?.id === chosen.id
      ? done(name, node, found)
      : { ...done(name, node, repeated(id, chosen)), instance: name };
  } catch (caught) {
    const error = asDroverError(caught);
    const next = chosen === undefined ? '' : `; then: drover snapshot rollback ${name} ${chosen.name}`;
    const message = `its data was not set back: ${error.message}${next}`;
    return failed(name, before?.node ?? '', new DroverError(error.kind, message));
  }
}

/** Of a request that came again nothing but name and id is kept. */
const repeated = (
  instanceId: string,
  { id, name }: { readonly id: string; readonly name: string },
): Snapshot => ({
  id: id as Snapshot['id'],
  name,
  instanceId: instanceId as InstanceId,
  kind: 'before-update',
  createdAtMs: 0,
  volumes: [],
  crashInconsistent: false,
  pauseMs: 0,
  generation: 0,
});

/** Waits until the instance's node has taken in that generation of the workload, or a later one. */
async function taken(
  id: string,
  project: string,
  generation: number,
  deps: HandlerDeps,
  signal: AbortSignal,
): Promise<{ readonly instance: Instance; readonly node: NodeName }> {
  for (;;) {
    const moment = presentMoment(deps);
    const instance = moment.snapshot.get('instance', id, project);
    if (instance === undefined || instance.intent !== 'run')
      throw new DroverError('failed-precondition', 'another copy has taken its place');
    if (instance.workloadGeneration >= generation && currentState(instance) !== undefined)
      return { instance, node: nodeOfReachable(instance, moment) };
    if (signal.aborted) {
      const because = whyNotYet(instance, moment);
      throw new DroverError('deadline-exceeded', `it has not taken its earlier spec in yet${because}`);
    }
    await nextChange(deps, signal);
  }
}

function whyNotYet({ metadata, workload: name }: Instance, { snapshot, world }: Moment): string {
  const workload: Workload | undefined = snapshot.named('workload', name, metadata.project);
  const instances = snapshot.instancesOfWorkload(name, metadata.project);
  const blocked = workload && blockedChange(workload, instances, world);
  return blocked === undefined
    ? ''
    : `: ${blocked.instance.metadata.name} stays as it is: ${blocked.because}`;
}
