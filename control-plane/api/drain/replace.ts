import type { DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance } from '#shared/model.ts';
import { blockedChange, isUnplaceable } from '../../reconciler/rollout.ts';
import { evictInstance } from '../../store/evict-instance.ts';
import { hasOwnRoot } from '../../store/instance-template.ts';
import type { ClusterDeps } from '../cluster/deps.ts';
import { presentMoment } from '../messages.ts';
import { awaitFound, moved, moving, stays, timeIsOver } from './deps.ts';

/** Room may be made in the next moment: what is found once is not believed yet. */
const patienceMs = 5000;

/** Has an instance replaced by another one elsewhere: its root is the image's, and it has nothing else. */
export async function* replaceElsewhere(
  instance: Instance,
  signal: AbortSignal,
  deps: ClusterDeps,
): AsyncGenerator<DrainProgress> {
  const obstacle = whyNotReplaced(instance);
  if (obstacle !== undefined) {
    yield obstacle;
    return;
  }
  const { store, clock, wake } = deps;
  const before = new Set(copiesOf(instance, deps).map(({ metadata }) => metadata.id));
  yield moving(instance, '', 'another takes its place', 'replaced');
  await store.transact((tx) => evictInstance(tx, instance, true));
  wake();
  try {
    let obstacleSinceMs: number | undefined;
    const outcome = await awaitFound(
      () => {
        const { id, project } = instance.metadata;
        if (store.snapshot().get('instance', id, project) === undefined) return 'gone';
        const because = obstacleNow(instance, deps);
        obstacleSinceMs = because === undefined ? undefined : (obstacleSinceMs ?? clock.monotonicMs());
        const isLasting = clock.monotonicMs() - (obstacleSinceMs ?? clock.monotonicMs()) >= patienceMs;
        return isLasting ? { because: because ?? '' } : undefined;
      },
      signal,
      deps,
    );
    if (outcome === 'gone') {
      const next = copiesOf(instance, deps).find(({ metadata }) => !before.has(metadata.id));
      yield moved(
        instance,
        next?.node ?? '',
        next === undefined ? 'it is gone' : `${next.metadata.name} took its place`,
        'replaced',
      );
    } else
      yield outcome === undefined
        ? timeIsOver(instance)
        : stays(instance, outcome.because, 'resource-exhausted');
  } finally {
    await store.transact((tx) => evictInstance(tx, instance, false));
    wake();
  }
}

const copiesOf = ({ workload, metadata }: Instance, { store }: ClusterDeps): readonly Instance[] =>
  store.snapshot().instancesOfWorkload(workload, metadata.project);

/** What another host cannot have. */
export function whyNotReplaced(instance: Instance): DrainProgress | undefined {
  const { spec, workload, node } = instance;
  if (spec.volumes.length > 0 || spec.assigned.volumes.length > 0)
    return stays(instance, `its data volumes lie on ${node}; drover delete ${workload} frees them`);
  if (hasOwnRoot(spec.runtime))
    return stays(
      instance,
      `its root is its own and lies on ${node}: moving it to another host is not implemented; ` +
        `drover delete ${workload} and apply it again where it is to be`,
      'unimplemented',
    );
  return undefined;
}

function obstacleNow(instance: Instance, deps: ClusterDeps): string | undefined {
  const { snapshot, world } = presentMoment(deps);
  const copies = copiesOf(instance, deps);
  const workload = snapshot.named('workload', instance.workload, instance.metadata.project);
  if (workload === undefined) return undefined;
  return (
    copies.find(isUnplaceable)?.placedBecause ??
    blockedChange(
      workload,
      copies.filter(({ metadata }) => metadata.id === instance.metadata.id),
      world,
    )?.because
  );
}
