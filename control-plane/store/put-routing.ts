import { DroverError } from '#shared/errors.ts';
import type { Routing } from '#shared/model.ts';
import { isSameData } from './canonical.ts';
import type { Snapshot, Transaction } from './store.ts';

const onlyRouting = 'routing';

/** Undefined until somebody has put rules. */
export const storedRouting = (snapshot: Snapshot): Routing | undefined =>
  snapshot.get('routing', onlyRouting);

/**
 * Replaces all rules. What was chosen for workloads before stays as it is. aborted: they were changed since
 * the revision that the caller saw.
 */
export function putRouting(
  tx: Transaction,
  put: Omit<Routing, 'revision'> & { readonly expectedRevision: number; readonly caller: string },
  nowMs: number,
): void {
  const { rules, defaultRuntime, expectedRevision, caller } = put;
  const before = storedRouting(tx);
  if (expectedRevision > 0 && before?.revision !== expectedRevision) {
    const found = before === undefined ? 'there are none' : `they are at ${before.revision}`;
    throw new DroverError(
      'aborted',
      `the rules were expected at revision ${expectedRevision}, but ${found}`,
      {
        reason: 'revision-changed',
        nextStep: 'read them anew, then decide again',
      },
    );
  }
  const isSame =
    before !== undefined && isSameData([before.rules, before.defaultRuntime], [rules, defaultRuntime]);
  if (isSame) return;
  tx.put('routing', onlyRouting, { rules, defaultRuntime, revision: 0 });
  const message = `${rules.length} rules, else ${defaultRuntime}; by ${caller}`;
  tx.event({ atMs: nowMs, type: 'routing.changed', severity: 'info', subject: {}, message });
}
