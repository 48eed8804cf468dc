import { DroverError } from '#shared/errors.ts';
import type { ClusterTemplate } from '#shared/model.ts';
import { claimedVmids } from './put-cluster-guest.ts';
import type { Transaction } from './store.ts';

export type TemplateClaim = Pick<ClusterTemplate, 'cluster' | 'name' | 'kind' | 'source'> & {
  /** A number that no guest has, the claimed ones left out. */
  chooseVmid(claimed: ReadonlySet<number>): number;
};

export const templateKey = ({ cluster, name }: Pick<ClusterTemplate, 'cluster' | 'name'>): string =>
  `${cluster}/${name}`;

/** Reserves name and number before anything is made. already-exists, but for a repetition. */
export function claimTemplate(tx: Transaction, claim: TemplateClaim, nowMs: number): ClusterTemplate {
  const { cluster, name, kind, source } = claim;
  const key = templateKey(claim);
  const found = tx.get('cluster-template', key);
  if (found !== undefined) {
    const isSame = found.source.vmid === source.vmid && found.source.snapshot === source.snapshot;
    if (isSame && found.state !== 'ready') return put(tx, { ...found, state: 'making', message: '' }, nowMs);
    throw new DroverError('already-exists', `there is a template ${key} already`, { subject: { cluster } });
  }
  const vmid = claim.chooseVmid(claimedVmids(tx, cluster));
  const record = { key, cluster, name, vmid, kind, source, state: 'making', message: '' } as const;
  return put(tx, { ...record, changedAtMs: nowMs }, nowMs);
}

/** What came of it. Nothing where its record is gone by now. */
export function patchTemplate(
  tx: Transaction,
  key: string,
  patch: Partial<Pick<ClusterTemplate, 'state' | 'message'>>,
  nowMs: number,
): ClusterTemplate | undefined {
  const found = tx.get('cluster-template', key);
  return found === undefined ? undefined : put(tx, { ...found, ...patch }, nowMs);
}

/** Another number, where somebody else's guest came to have the one that was claimed. */
export function renumberTemplate(
  tx: Transaction,
  key: string,
  chooseVmid: TemplateClaim['chooseVmid'],
  nowMs: number,
): ClusterTemplate {
  const found = tx.get('cluster-template', key);
  if (found === undefined) throw new DroverError('not-found', `there is no template ${key} of ours`);
  return put(tx, { ...found, vmid: chooseVmid(claimedVmids(tx, found.cluster)) }, nowMs);
}

function put(tx: Transaction, record: ClusterTemplate, nowMs: number): ClusterTemplate {
  const next = { ...record, changedAtMs: nowMs };
  tx.put('cluster-template', next.key, next);
  return next;
}
