import type { DrainNodeRequest, DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance } from '#shared/model.ts';
import { checkRange, parseNodeName, parseOne } from '#shared/wire/checks.ts';
import { cordonNode } from '../../store/cordon-node.ts';
import { foundNode } from '../../store/put-node.ts';
import type { ClusterDeps } from '../cluster/deps.ts';
import { callerName, type HandlerContext } from '../handler.ts';
import { presentMoment } from '../messages.ts';
import { moved, stays, timeIsOver } from './deps.ts';
import { startDryRun } from './dry-run.ts';
import { migrateAway } from './migrate.ts';
import { replaceElsewhere } from './replace.ts';

const defaultDeadlineMs = 3_600_000;
const longestMs = 86_400_000;

export async function* drainNode(
  request: DrainNodeRequest,
  { caller, signal }: HandlerContext,
  deps: ClusterDeps,
): AsyncGenerator<DrainProgress> {
  const { store, clock, wake } = deps;
  const node = parseNodeName(request.name);
  parseOne('drain', (faults) => checkRange(request.deadlineMs, [0, longestMs], 'deadlineMs', faults));
  const { cluster } = foundNode(store.snapshot(), node);
  const dryRun = request.dryRun ? startDryRun(node, cluster, deps) : undefined;
  const cordon = { node, cordoned: true, caller: callerName(caller) };
  if (dryRun === undefined) {
    await store.transact((tx) => cordonNode(tx, cordon, clock.nowMs()));
    wake();
  }
  const deadline = clock.timeout(request.deadlineMs || defaultDeadlineMs, signal);
  const bound = store
    .snapshot()
    .instancesOnNode(node)
    .filter(({ intent }) => intent === 'run');
  for (const before of bound.toSorted(byName)) {
    const { id, project } = before.metadata;
    const instance = store.snapshot().get('instance', id, project);
    if (instance?.intent !== 'run') continue;
    // HA moves others along with what is moved, and people do what they like.
    if (instance.node !== node) yield moved(instance, instance.node ?? '', 'it was moved meanwhile', 'none');
    else if (deadline.aborted) yield timeIsOver(instance);
    else if (presentMoment(deps).world.stale(instance)) yield silent(instance);
    else if (dryRun !== undefined) yield await dryRun.next(instance, deadline);
    else if (cluster === undefined) yield* replaceElsewhere(instance, deadline, deps);
    else yield* migrateAway(instance, cluster, deadline, deps);
  }
}

const byName = (a: Instance, b: Instance): number => (a.metadata.name < b.metadata.name ? -1 : 1);

const silent = (instance: Instance): DrainProgress =>
  stays(
    instance,
    `${instance.node} does not answer, and it may still run there; if its host is dead: ` +
      `drover node remove ${instance.node} --lost`,
    'unavailable',
  );
