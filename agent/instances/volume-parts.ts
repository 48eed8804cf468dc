import type { VolumeId } from '#shared/model.ts';
import type { InstanceRecord } from './record.ts';

/** One volume of an instance. */
export interface VolumePart {
  readonly volumeId: VolumeId;
  /** Empty: the default. */
  readonly pool: string;
}

/** The root, then the data volumes of the spec. */
export const partsOf = ({ id, rootPool, volumes, spec }: InstanceRecord): VolumePart[] => [
  { volumeId: id, pool: rootPool },
  ...volumes
    .filter((each) => spec.assigned.volumes.some(({ volumeId }) => volumeId === each.id))
    .map((each) => ({ volumeId: each.id, pool: each.pool })),
];

/** The claim that a data volume stands for; undefined: no instance here has it. */
export function claimOf(records: readonly InstanceRecord[], id: VolumeId): string | undefined {
  for (const { spec } of records) {
    const found = spec.assigned.volumes.find(({ volumeId }) => volumeId === id);
    if (found !== undefined) return found.name;
  }
  return undefined;
}
