import { DroverError } from '#shared/errors.ts';
import type { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { InstanceId } from '#shared/model.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { parseInstanceId } from '#shared/wire/checks.ts';
import { formatInstanceState, parseOrder } from '#shared/wire/instance.ts';
import { formatNodeVolume, formatSnapshot, parseSnapshotId, parseVolumeId } from '#shared/wire/storage.ts';
import type { FakeNode } from './node.ts';

type StorageHandlers = Pick<
  Handlers<typeof RuntimeServiceService>,
  'createSnapshot' | 'listSnapshots' | 'rollbackSnapshot' | 'removeSnapshot' | 'listVolumes' | 'removeVolume'
>;

/** Volumes and snapshots of a node in memory, as an agent serves them. */
export function storageHandlers(node: FakeNode): StorageHandlers {
  const held = (id: InstanceId) => {
    const found = node.instances.get(id);
    if (found === undefined) throw new DroverError('not-found', `no instance ${id}`);
    return found.state;
  };
  return {
    createSnapshot: async ({ order, snapshotId, name }) => {
      const { instanceId } = parseOrder(order);
      const { generation } = held(instanceId);
      const wanted = { id: parseSnapshotId(snapshotId), name, generation };
      const snapshot = node.onStorage((storage) => storage.snapshot(instanceId, wanted));
      return { snapshot: formatSnapshot(snapshot) };
    },
    listSnapshots: async function* ({ instanceId }) {
      const id = instanceId === '' ? undefined : parseInstanceId(instanceId);
      yield* node.onStorage((storage) => storage.snapshots(id)).map(formatSnapshot);
    },
    rollbackSnapshot: async ({ order, snapshotId }) => {
      const { instanceId } = parseOrder(order);
      node.onStorage((storage) => storage.rollback(instanceId, parseSnapshotId(snapshotId)));
      return { state: formatInstanceState(held(instanceId)) };
    },
    removeSnapshot: async ({ order, snapshotId }) => {
      const { instanceId } = parseOrder(order);
      node.onStorage((storage) => storage.removeSnapshot(instanceId, parseSnapshotId(snapshotId)));
      return {};
    },
    listVolumes: async function* () {
      yield* [...node.storage.volumes.values()].map(formatNodeVolume);
    },
    removeVolume: async ({ volumeId }) => {
      node.onStorage((storage) => storage.removeVolume(parseVolumeId(volumeId)));
      return {};
    },
  };
}
