import type { Metadata } from '#shared/model.ts';

/** Of a record that is new. */
export const newMetadata = (
  {
    project = 'default',
    name,
    id,
    labels = {},
    annotations = {},
  }: Pick<Metadata, 'name' | 'id'> & Partial<Pick<Metadata, 'project' | 'labels' | 'annotations'>>,
  nowMs: number,
): Metadata => ({ project, name, id, labels, annotations, revision: 0, generation: 1, createdAtMs: nowMs });
