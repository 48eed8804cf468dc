import { DroverError, isKind } from '#shared/errors.ts';
import type { StreamStatsRequest } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { GuestStats as WireGuestStats } from '#shared/gen/drover/model/v1/model.ts';
import type { GuestStats, Instance, InstanceId, NodeName } from '#shared/model.ts';
import { formatGuestStats } from '#shared/wire/storage.ts';
import type { HandlerContext, HandlerDeps } from '../handler.ts';
import { createMailbox } from '../mailbox.ts';
import { presentMoment } from '../messages.ts';
import { findTargets, parseProject } from '../resolve-name.ts';
import { nodeOfRunning } from './instances.ts';

/** One stream from each node, whatever the number of its instances. */
export async function* streamStats(
  request: StreamStatsRequest,
  { signal }: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<WireGuestStats> {
  const { target, intervalMs } = request;
  if (intervalMs !== 0 && (intervalMs < 1000 || intervalMs > 60_000)) {
    const message = `wanted an interval of 1000 to 60000 ms, or zero for one reading, found ${intervalMs}`;
    throw new DroverError('invalid-argument', message, { subject: { field: 'intervalMs' } });
  }
  const moment = presentMoment(deps);
  const project = parseProject(request.project);
  const { snapshot, world } = moment;
  const chosen = target === '' ? snapshot.list('instance', project) : findTargets(snapshot, target, project);
  const [first] = chosen;
  // One that was asked for by name has to answer; of many, those that do not run have nothing to tell.
  if (target !== '' && chosen.length === 1 && first !== undefined) nodeOfRunning(first, moment);
  const placed = chosen.filter((each) => each.node !== undefined && !world.stale(each));
  const names = new Map(placed.map(({ metadata }) => [metadata.id, metadata.name]));
  for await (const stats of readNodes(placed, intervalMs, signal, deps)) {
    const name = names.get(stats.instanceId);
    if (name !== undefined) yield formatGuestStats(stats, name);
  }
}

async function* readNodes(
  instances: readonly Instance[],
  intervalMs: number,
  signal: AbortSignal,
  deps: HandlerDeps,
): AsyncGenerator<GuestStats, void> {
  const mailbox = createMailbox<GuestStats>();
  const only = instances.length === 1 ? (instances[0]?.metadata.id as InstanceId) : undefined;
  const ending = new AbortController();
  const until = AbortSignal.any([signal, ending.signal]);
  async function pump(node: NodeName): Promise<void> {
    try {
      for await (const stats of deps.backendOf(node).stats(node, only, intervalMs, until))
        if (!(await mailbox.put(stats))) return;
    } catch (error) {
      // A node that goes away takes its own readings with it, and nobody else's.
      if (!isKind(error, 'unavailable', 'deadline-exceeded', 'unimplemented') || only !== undefined)
        throw error;
    }
  }
  const nodes = [...new Set(instances.flatMap(({ node }) => (node === undefined ? [] : [node])))];
  Promise.all(nodes.map(pump)).then(
    () => mailbox.end(),
    (error: unknown) => mailbox.end(error),
  );
  try {
    yield* mailbox.read();
  } finally {
    ending.abort();
  }
}
