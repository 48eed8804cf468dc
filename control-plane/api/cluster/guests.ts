import type { Guest, ListGuestsRequest } from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { ClusterGuestView } from '#shared/model.ts';
import { formatGuest, parseClusterName } from '#shared/wire/cluster.ts';
import type { Snapshot } from '../../store/store.ts';
import { type ClusterDeps, findCluster } from './deps.ts';

export async function* listGuests(
  { cluster: text }: ListGuestsRequest,
  { store, clusters }: ClusterDeps,
): AsyncGenerator<Guest> {
  const snapshot = store.snapshot();
  const cluster = text === '' ? undefined : parseClusterName(text);
  if (cluster !== undefined) findCluster(snapshot, cluster);
  for (const guest of clusters.guests(cluster).toSorted(byNumber)) yield guestMessage(guest, snapshot);
}

export const byNumber = (a: ClusterGuestView, b: ClusterGuestView): number =>
  a.cluster === b.cluster ? a.vmid - b.vmid : a.cluster < b.cluster ? -1 : 1;

/** One that is ours and that nobody knows any more is told by its id. */
export function guestMessage(guest: ClusterGuestView, snapshot: Snapshot): Guest {
  const id = guest.instanceId;
  const name = id === undefined ? '' : (snapshot.get('instance', id)?.metadata.name ?? id);
  return formatGuest(guest, name);
}
