import type { Digest, Workload } from '#shared/model.ts';
import type { Transaction } from './store.ts';

export interface Resolution {
  readonly generation: number;
  readonly image: string;
  readonly digest: Digest;
  /** The image as the spec names it. */
  readonly reference: string;
  readonly runtime: string;
  /** As in Workload.resolved. */
  readonly runtimeBecause: string;
}

/**
 * Keeps the digest and runtime of one generation. A workload that has moved on, or is gone, is left alone.
 */
export function resolveWorkload(
  tx: Transaction,
  workload: Pick<Workload, 'metadata'>,
  resolution: Resolution,
): void {
  const { id, project } = workload.metadata;
  const record = tx.get('workload', id, project);
  if (record === undefined || record.metadata.generation !== resolution.generation) return;
  if (record.resolved?.generation === resolution.generation) return;
  tx.put('workload', id, { ...record, resolved: resolution, resolveMessage: '' }, project);
}

/** Keeps why the image of this generation is not resolved. An unchanged reason writes nothing. */
export function recordUnresolved(
  tx: Transaction,
  workload: Pick<Workload, 'metadata'>,
  because: string,
): void {
  const { id, project, generation } = workload.metadata;
  const record = tx.get('workload', id, project);
  if (record === undefined || record.metadata.generation !== generation) return;
  if (record.resolveMessage === because) return;
  tx.put('workload', id, { ...record, resolveMessage: because }, project);
}
