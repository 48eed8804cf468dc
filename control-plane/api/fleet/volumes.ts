import { DroverError } from '#shared/errors.ts';
import type {
  ListVolumesRequest,
  RemoveVolumeRequest,
  RemoveVolumeResponse,
  Volume as WireVolume,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Volume } from '#shared/model.ts';
import { formatDataVolume } from '#shared/wire/data-volume.ts';
import { isKnown } from '../../fleet-view.ts';
import { volumesOfWorkload } from '../../store/find-volumes.ts';
import { isKept, retireVolume } from '../../store/remove-volume.ts';
import type { Snapshot } from '../../store/store.ts';
import { nextChange } from '../changes.ts';
import { callerName, type HandlerContext, type HandlerDeps } from '../handler.ts';
import { notFound, parseProject } from '../resolve-name.ts';

/**
 * A node that answers has that long to remove a volume before the caller hears that it goes on without it.
 */
const waitMs = 25_000;

export async function* listVolumes(
  { project, workload }: ListVolumesRequest,
  { store }: HandlerDeps,
): AsyncGenerator<WireVolume> {
  const space = parseProject(project);
  const snapshot = store.snapshot();
  const all = workload === '' ? snapshot.list('volume', space) : volumesOfWorkload(snapshot, workload, space);
  for (const volume of all.toSorted(byName)) yield volumeMessage(volume, snapshot);
}

const byName = (a: Volume, b: Volume): number => (a.metadata.name < b.metadata.name ? -1 : 1);

export function volumeMessage(volume: Volume, snapshot: Snapshot): WireVolume {
  const { instanceId, metadata, workload } = volume;
  const user = instanceId && (snapshot.get('instance', instanceId, metadata.project)?.metadata.name ?? '');
  const keep = isKept(volume, snapshot.named('workload', workload, metadata.project));
  return formatDataVolume({ ...volume, keep }, user ?? '');
}

/** By full id, or by name. not-found, with the nearest name there is. */
function findVolume(snapshot: Snapshot, idOrName: string, project: string): Volume {
  const found = snapshot.get('volume', idOrName, project) ?? snapshot.named('volume', idOrName, project);
  if (found !== undefined) return found;
  const names = snapshot.list('volume', project).map(({ metadata }) => metadata.name);
  throw notFound('volume', idOrName, names);
}

/**
 * Answers when nothing is left; a node that is away is not waited for: it removes the volume when it is back.
 */
export async function removeVolume(
  { project, volume: idOrName }: RemoveVolumeRequest,
  { caller, signal }: HandlerContext,
  deps: HandlerDeps,
): Promise<RemoveVolumeResponse> {
  const { store, clock, view, wake } = deps;
  const space = parseProject(project);
  const { id, name } = findVolume(store.snapshot(), idOrName, space).metadata;
  await store.transact((tx) => {
    const record = tx.get('volume', id, space);
    if (record !== undefined)
      retireVolume(tx, record, `its removal was asked by ${callerName(caller)}`, clock.nowMs());
  });
  wake();
  const timeout = clock.timeout(waitMs, signal);
  for (;;) {
    const left = store.snapshot().get('volume', id, space);
    if (left === undefined) return {};
    const isAway = left.node !== undefined && !isKnown(view.node(left.node));
    if (isAway || timeout.aborted) throw goesOn(name, left.node ?? '', isAway);
    await nextChange(deps, timeout);
  }
}

const goesOn = (volume: string, node: string, isAway: boolean): DroverError => {
  const why = isAway ? `${node} does not answer` : `${node} has not removed it yet`;
  return new DroverError('unavailable', `volume ${volume} will be removed, but ${why}`, {
    subject: { volume, node },
    reason: 'removal-under-way',
    nextStep: 'nothing: it goes on by itself; drover get volumes shows it until it is gone',
  });
};
