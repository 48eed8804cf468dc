import type { Cluster } from '#shared/model.ts';
import type { ClusterBackend } from '../../backends/cluster-backend.ts';
import type { Snapshot } from '../../store/store.ts';
import type { HandlerDeps } from '../handler.ts';
import { notFound } from '../resolve-name.ts';

export interface ClusterDeps extends HandlerDeps {
  readonly clusters: ClusterBackend;
}

/** not-found, with the nearest name there is. */
export function findCluster(snapshot: Snapshot, name: string): Cluster {
  const found = snapshot.named('cluster', name);
  if (found !== undefined) return found;
  const names = snapshot.list('cluster').map(({ metadata }) => metadata.name);
  throw notFound('cluster', name, names);
}
