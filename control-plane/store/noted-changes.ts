import { DroverError } from '#shared/errors.ts';
import type { Kind, NamedKind, Records, Transaction } from './store.ts';

/** One record as it was before a transaction first touched it; undefined: there was none. */
export interface Before {
  readonly kind: Kind;
  readonly id: string;
  readonly project: string | undefined;
  readonly record: Records[Kind] | undefined;
}

/** The transaction, and a list that grows by every record that it changes: what takes the change back. */
export function notingChanges(tx: Transaction): { readonly noting: Transaction; readonly before: Before[] } {
  const before: Before[] = [];
  const note = (kind: Kind, id: string, project: string | undefined): void => {
    const isNoted = before.some((one) => one.kind === kind && one.id === id && one.project === project);
    if (!isNoted) before.push({ kind, id, project, record: tx.get(kind, id, project) });
  };
  const noting: Transaction = {
    ...tx,
    put(kind, id, record, project) {
      note(kind, id, project);
      tx.put(kind, id, record, project);
    },
    delete(kind, id, project) {
      note(kind, id, project);
      tx.delete(kind, id, project);
    },
  };
  return { noting, before };
}

/** Puts everything back as it was. aborted: somebody else has taken a name meanwhile. */
export function takeBack(tx: Transaction, before: readonly Before[]): void {
  for (const { kind, record, project, id } of before) {
    if (record === undefined || !('metadata' in record)) continue;
    const { name } = record.metadata;
    const holder = tx.named(kind as NamedKind, name, project);
    if (holder !== undefined && holder.metadata.id !== id)
      throw new DroverError('aborted', `another ${kind} is called ${name} by now`, {
        subject: { [kind]: name },
      });
  }
  for (const { kind, id, project, record } of before)
    if (record === undefined) tx.delete(kind, id, project);
    else tx.put(kind, id, record, project);
}
