import { asDroverError, DroverError, type ErrorKind, wordsOf } from '#shared/errors.ts';
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
import { findSnapshots } from './find-snapshots.ts';
import { nodeOfReachable } from './instances.ts';
import { checkRequest, done, failed, noSnapshot, orderOf } from './snapshot-results.ts';

const undoMs = 600_000;

/** The snapshot that a copy goes back to, or why it goes back to none. */
type Way =
  | { readonly id: string; readonly name: string }
  | { readonly kind: ErrorKind; readonly because: string };

/** Decided once for each request: a repeat would find later snapshots, of the data that is undone. */
interface Decided {
  /** Of the workload, with its earlier spec. */
  readonly generation: number;
  /** By the ids of instances. */
  readonly ways: Readonly<Record<string, Way>>;
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
  const isWanted = (one: Snapshot, { metadata }: Instance): boolean =>
    named === ''
      ? one.kind === 'before-update' && one.generation === metadata.generation - 1
      : one.name === named;
  const found = await findSnapshots(updated, isWanted, deps, signal);

  const restore = { project, name, operationId: random.uuidV7(), caller: callerName(context.caller) };
  const decided = await decide(deps, head, (tx): Decided => {
    const { generation } = workload.metadata;
    restoreWorkload(tx, { ...restore, expectedGeneration: generation }, clock.nowMs());
    const ways = updated.map((each) => [each.metadata.id, wayOf(each, found, named)] as const);
    // What no copy has taken in yet has spoilt nothing: then the spec is all there is to set back.
    if (ways.length > 0 && ways.every(([, way]) => 'kind' in way))
      throw [...found.values()].find((one) => one instanceof DroverError) ?? noSnapshot(name, named);
    return { generation: generation + 1, ways: Object.fromEntries(ways) };
  });
  const { generation } = decided;
  const undos = Object.entries(decided.ways).map(
    ([id, way]): Undo => ({ id, way, project, workload: name, requestId, generation }),
  );
  yield* fanOut(undos, undos.length, (undo) => setBack(undo, found.get(undo.id), deps, signal));
}

function wayOf(
  { metadata: { id, name } }: Instance,
  found: ReadonlyMap<string, Snapshot | DroverError>,
  named: string,
): Way {
  const one = found.get(id);
  if (one === undefined) {
    const none = noSnapshot(name, named);
    return { kind: none.kind, because: wordsOf(none) };
  }
  if (one instanceof DroverError)
    return { kind: one.kind, because: `${wordsOf(one)}; then: drover snapshot list ${name}` };
  return { id: one.id, name: one.name };
}

interface Undo {
  /** Of the instance. */
  readonly id: string;
  readonly way: Way;
  readonly project: string;
  readonly workload: string;
  readonly requestId: string;
  /** Of the workload, with its earlier spec. */
  readonly generation: number;
}

async function setBack(
  { id, way, project, workload, requestId, generation }: Undo,
  found: Snapshot | DroverError | undefined,
  deps: HandlerDeps,
  signal: AbortSignal,
): Promise<SnapshotResult> {
  const find = (): Instance | undefined => deps.store.snapshot().get('instance', id, project);
  const before = find();
  const name = before?.metadata.name ?? id;
  const refuse = (kind: ErrorKind, because: string): SnapshotResult =>
    failed(name, before?.node ?? '', new DroverError(kind, `its data was not set back: ${because}`));
  if ('kind' in way) return refuse(way.kind, way.because);
  try {
    const { instance, node } = await taken(id, project, generation, deps, signal);
    const order = orderOf(instance, node, requestId);
    await deps.backendOf(node).rollbackSnapshot(order, way.id as Snapshot['id'], signal);
    const isSame = found !== undefined && !(found instanceof DroverError) && found.id === way.id;
    return done(name, node, isSame ? found : repeated(id, way));
  } catch (caught) {
    const isThere = find()?.intent === 'run';
    const next = isThere ? `rollback ${name} ${way.name}` : `list ${workload}`;
    return refuse(asDroverError(caught).kind, `${wordsOf(caught)}; then: drover snapshot ${next}`);
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
