import type { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { checkCount, checkUuid, parseOne } from '#shared/wire/checks.ts';
import { formatNodeVolume, parseVolumeId } from '#shared/wire/storage.ts';
import type { Instances } from '../instances.ts';

export const volumeHandlers = ({
  instances,
}: {
  readonly instances: Pick<Instances, 'volumes' | 'removeVolume'>;
}): Pick<Handlers<typeof RuntimeServiceService>, 'listVolumes' | 'removeVolume'> => ({
  listVolumes: async function* (_request, { signal }) {
    for await (const volume of instances.volumes(signal)) yield formatNodeVolume(volume);
  },
  removeVolume: async ({ fleetId, fleetEpoch, volumeId }, { signal }) => {
    const from = parseOne('order', (faults) => ({
      fleetId: checkUuid(fleetId, 'fleetId', faults),
      fleetEpoch: checkCount(fleetEpoch, 'fleetEpoch', faults),
    }));
    await instances.removeVolume(from, parseVolumeId(volumeId), signal);
    return {};
  },
});
