import type { Instance } from '#shared/model.ts';
import type { Demand } from './scheduler/plugin.ts';

/** What an instance asks of a node. */
export const demandOf = ({ workload, spec, placement }: Instance): Demand => ({
  workload,
  runtime: spec.runtime,
  image: spec.image,
  resources: spec.resources,
  placement,
});
