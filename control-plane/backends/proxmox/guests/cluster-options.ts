import type { ClusterOptions, InstanceSpec } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';

/** What a spec says of a cluster alone; where it says nothing, what is usual. */
export const clusterOf = ({ cluster }: Pick<InstanceSpec, 'cluster'>): ClusterOptions =>
  cluster ?? plainClusterOptions;

/** Whether a copy shares its disks with its template, which it then needs for ever. */
export const isLinked = ({ vm, cluster }: Pick<InstanceSpec, 'vm' | 'cluster'>): boolean =>
  cluster?.clone === 'linked' || vm?.clone === 'linked';

export const cannotLink = 'cluster.clone: only a copy of a template can be linked';
