import { formatTime } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type {
  CreateSnapshotRequest,
  ListSnapshotsRequest,
  RemoveSnapshotRequest,
  RollbackSnapshotRequest,
  SnapshotResult,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance, InstanceId, NodeName, Snapshot, SnapshotId } from '#shared/model.ts';
import { checkName, optionalName } from '#shared/wire/checks.ts';
import { fanOut } from '../fan-out.ts';
import { callerName, type HandlerContext, type HandlerDeps } from '../handler.ts';
import { presentMoment } from '../messages.ts';
import { findTargets, parseProject } from '../resolve-name.ts';
import { findSnapshots } from './find-snapshots.ts';
import { nodeOfReachable } from './instances.ts';
import { checkRequest, derivedId, done, failed, noSnapshot, orderOf } from './snapshot-results.ts';
import { undoUpdate } from './undo-update.ts';

const callMs = 120_000;
const rollbackMs = 600_000;
const atOnce = 16;

export async function* createSnapshot(
  request: CreateSnapshotRequest,
  { signal }: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<SnapshotResult> {
  const { requestId, named } = checkRequest(request, optionalName);
  const name = named || `manual-${compactTime(deps.clock.nowMs())}`;
  yield* onEach(request, deps, (instance, node) => {
    const id = derivedId(requestId, `snapshot ${instance.metadata.id}`) as SnapshotId;
    const order = orderOf(instance, node, requestId);
    return deps.backendOf(node).createSnapshot(order, { id, name }, deps.clock.timeout(callMs, signal));
  });
}

/** Each node is asked once, whatever the number of instances; one that is silent is told at its place. */
export async function* listSnapshots(
  request: ListSnapshotsRequest,
  { signal }: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<SnapshotResult> {
  const moment = presentMoment(deps);
  const project = parseProject(request.project);
  const { target } = request;
  const chosen =
    target === '' ? moment.snapshot.list('instance', project) : findTargets(moment.snapshot, target, project);
  const names = new Map(chosen.map(({ metadata }) => [metadata.id, metadata.name]));
  const nodes = [...new Set(chosen.flatMap(({ node }) => (node === undefined ? [] : [node])))].toSorted();
  const only = chosen.length === 1 ? (chosen[0]?.metadata.id as InstanceId) : undefined;
  const ask = async (node: NodeName): Promise<SnapshotResult[]> => {
    const found: SnapshotResult[] = [];
    try {
      const timeout = deps.clock.timeout(callMs, signal);
      for await (const snapshot of deps.backendOf(node).listSnapshots(node, only, timeout)) {
        const instance = names.get(snapshot.instanceId);
        if (instance !== undefined) found.push(done(instance, node, snapshot));
      }
    } catch (caught) {
      found.push(failed('', node, caught));
    }
    return found;
  };
  for await (const found of fanOut(nodes, atOnce, ask)) yield* found;
}

/** Each instance goes back to its own snapshot of the name; what fails for one leaves the others. */
export async function* rollbackSnapshot(
  request: RollbackSnapshotRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<SnapshotResult> {
  if (request.restoreSpec) return yield* undoUpdate(request, context, deps);
  const { requestId, named } = checkRequest(request, optionalName);
  const signal = deps.clock.timeout(rollbackMs, context.signal);
  const wanted = await wantedSnapshots(request, named, deps, signal);
  yield* onEach(request, deps, async (instance, node) => {
    const snapshot = wanted(instance);
    await deps.backendOf(node).rollbackSnapshot(orderOf(instance, node, requestId), snapshot.id, signal);
    await tellSetBack(instance, snapshot, callerName(context.caller), deps);
    return snapshot;
  });
}

/** What was written since is gone: who wanted that is kept. */
async function tellSetBack(
  { metadata, workload, node }: Instance,
  snapshot: Snapshot,
  caller: string,
  { store, clock }: HandlerDeps,
): Promise<void> {
  const subject = { instance: metadata.name, instanceId: metadata.id as InstanceId, workload };
  const message = `to ${snapshot.name} of ${formatTime(snapshot.createdAtMs)}; by ${caller}`;
  await store.transact((tx) =>
    tx.event(
      {
        atMs: clock.nowMs(),
        type: 'instance.rolled-back',
        severity: 'info',
        subject: { ...subject, ...(node !== undefined && { node }) },
        message,
      },
      metadata.project,
    ),
  );
}

export async function* removeSnapshot(
  request: RemoveSnapshotRequest,
  { signal }: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<SnapshotResult> {
  const { requestId, named } = checkRequest(request, checkName);
  const wanted = await wantedSnapshots(request, named, deps, deps.clock.timeout(callMs, signal));
  yield* onEach(request, deps, async (instance, node) => {
    const snapshot = wanted(instance);
    const timeout = deps.clock.timeout(callMs, signal);
    await deps.backendOf(node).removeSnapshot(orderOf(instance, node, requestId), snapshot.id, timeout);
    return snapshot;
  });
}

async function* onEach(
  request: { readonly target: string; readonly project: string },
  deps: HandlerDeps,
  act: (instance: Instance, node: NodeName) => Promise<Snapshot>,
): AsyncGenerator<SnapshotResult> {
  const moment = presentMoment(deps);
  const targets = findTargets(moment.snapshot, request.target, parseProject(request.project));
  yield* fanOut(targets, atOnce, async (instance) => {
    const { name } = instance.metadata;
    try {
      const node = nodeOfReachable(instance, moment);
      return done(name, node, await act(instance, node));
    } catch (caught) {
      return failed(name, instance.node ?? '', caught);
    }
  });
}

/**
 * Of each instance the one of the name, else the newest that was taken before an update; not-found: nobody's.
 */
async function wantedSnapshots(
  request: { readonly target: string; readonly project: string },
  name: string,
  deps: HandlerDeps,
  signal: AbortSignal,
): Promise<(instance: Instance) => Snapshot> {
  const moment = presentMoment(deps);
  const targets = findTargets(moment.snapshot, request.target, parseProject(request.project));
  const isWanted = (one: Snapshot): boolean =>
    name === '' ? one.kind === 'before-update' : one.name === name;
  const found = await findSnapshots(targets, isWanted, deps, signal);
  if (found.size === 0) throw noSnapshot(request.target, name);
  return ({ metadata }) => {
    const one = found.get(metadata.id) ?? noSnapshot(metadata.name, name);
    if (one instanceof DroverError) throw one;
    return one;
  };
}

/** "20260301-140502", in UTC. */
const compactTime = (ms: number): string => {
  const text = formatTime(ms);
  return `${text.slice(0, 10).replaceAll('-', '')}-${text.slice(11, 19).replaceAll(':', '')}`;
};
