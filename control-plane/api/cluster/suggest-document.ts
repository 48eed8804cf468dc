import type { WorkloadDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { WorkloadSpec } from '#shared/model.ts';
import { formatMetadata, formatWorkloadSpec } from '#shared/wire/workload.ts';
import { newMetadata } from '../../store/new-metadata.ts';

/** What a person would have written, as an apply would send it. */
export const suggestDocument = (
  { project, name }: { readonly project: string; readonly name: string },
  spec: WorkloadSpec,
): WorkloadDocument => ({
  metadata: formatMetadata({ ...newMetadata({ project, name, id: '' }, 0), generation: 0 }),
  spec: formatWorkloadSpec(spec),
});
