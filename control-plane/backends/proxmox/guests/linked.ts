import type { InstanceSpec } from '#shared/model.ts';

/** Whether a copy shares its disks with its template, which it then needs for ever. */
export const isLinked = ({ vm, cluster }: Pick<InstanceSpec, 'vm' | 'cluster'>): boolean =>
  cluster?.clone === 'linked' || vm?.clone === 'linked';

export const cannotLink = 'cluster.clone: only a copy of a template can be linked';
