import type { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { checkName, parseInstanceId, parseOne } from '#shared/wire/checks.ts';
import { formatInstanceState, parseOrder } from '#shared/wire/instance.ts';
import { formatSnapshot, parseSnapshotId } from '#shared/wire/storage.ts';
import type { Instances } from '../instances.ts';

type SnapshotHandlers = Pick<
  Handlers<typeof RuntimeServiceService>,
  'createSnapshot' | 'listSnapshots' | 'rollbackSnapshot' | 'removeSnapshot'
>;

export const snapshotHandlers = ({
  instances,
}: {
  readonly instances: Pick<Instances, 'snapshots' | 'createSnapshot' | 'rollBack' | 'removeSnapshot'>;
}): SnapshotHandlers => ({
  createSnapshot: async ({ order, snapshotId, name }, { signal }) => {
    const wanted = {
      id: parseSnapshotId(snapshotId),
      name: parseOne('snapshot', (faults) => checkName(name, 'name', faults)),
    };
    return { snapshot: formatSnapshot(await instances.createSnapshot(parseOrder(order), wanted, signal)) };
  },
  listSnapshots: async function* ({ instanceId }, { signal }) {
    const id = instanceId === '' ? undefined : parseInstanceId(instanceId);
    for (const snapshot of await instances.snapshots(id, signal)) yield formatSnapshot(snapshot);
  },
  rollbackSnapshot: async ({ order, snapshotId }, { signal }) => ({
    state: formatInstanceState(
      await instances.rollBack(parseOrder(order), parseSnapshotId(snapshotId), signal),
    ),
  }),
  removeSnapshot: async ({ order, snapshotId }, { signal }) => {
    await instances.removeSnapshot(parseOrder(order), parseSnapshotId(snapshotId), signal);
    return {};
  },
});
