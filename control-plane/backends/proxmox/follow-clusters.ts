import { asDroverError } from '#shared/errors.ts';
import type { Cluster } from '#shared/model.ts';
import { type LiveCluster, openCluster, type Surroundings } from './cluster.ts';

/** The clusters of the store, each open. */
export interface Clusters {
  /** By name: those that are reached now. */
  readonly clusters: ReadonlyMap<string, LiveCluster>;
  close(): Promise<void>;
}

/**
 * Keeps open what the store says: a cluster that is added is opened, one that changes is opened anew, one
 * that goes is closed. Each lives by itself: one that hangs holds up no other.
 */
export function followClusters(surroundings: Surroundings): Clusters {
  const { store, log } = surroundings;
  const clusters = new Map<string, LiveCluster>();
  let isClosed = false;

  function follow(): void {
    if (isClosed) return;
    const records = new Map(
      store
        .snapshot()
        .list('cluster')
        .map((each) => [each.metadata.name, each]),
    );
    for (const [name, cluster] of clusters) {
      const now = records.get(name);
      const isSame =
        now?.metadata.id === cluster.record.metadata.id &&
        now.metadata.generation === cluster.record.metadata.generation &&
        now.removingSinceMs === undefined;
      if (isSame) continue;
      clusters.delete(name);
      void cluster
        .close(now === undefined ? 'the cluster was removed' : 'the cluster is opened anew')
        .catch((err: unknown) => log.warn({ event: 'cluster.unclosed', cluster: name, err }));
    }
    for (const [name, record] of records)
      if (!clusters.has(name) && record.removingSinceMs === undefined) open(name, record);
  }

  function open(name: string, record: Cluster): void {
    try {
      clusters.set(name, openCluster(record, surroundings));
    } catch (caught) {
      // What its record says cannot be opened: said when it was added, and here again.
      log.error({ event: 'cluster.unopened', cluster: name, err: asDroverError(caught) });
    }
  }

  const leave = store.onCommit(follow);
  follow();
  return {
    clusters,
    async close() {
      isClosed = true;
      leave();
      const reason = 'the control plane is closing';
      await Promise.all([...clusters.values()].map((cluster) => cluster.close(reason)));
    },
  };
}
