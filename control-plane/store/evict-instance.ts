import type { Instance } from '#shared/model.ts';
import type { Transaction } from './store.ts';

/**
 * Says that another copy is to take an instance's place elsewhere, or that it stays after all. Repeating it
 * changes nothing, and what is on its way out stays so.
 */
export function evictInstance(
  tx: Transaction,
  { metadata }: Pick<Instance, 'metadata'>,
  evicting: boolean,
): void {
  const { id, project } = metadata;
  const record = tx.get('instance', id, project);
  if (record === undefined || record.intent !== 'run' || (record.evicting ?? false) === evicting) return;
  const { evicting: _before, ...rest } = record;
  tx.put('instance', id, evicting ? { ...rest, evicting } : rest, project);
}
