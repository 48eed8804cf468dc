import { DroverError } from '#shared/errors.ts';
import type { ClusterTemplate } from '#shared/model.ts';
import { claimedVmids } from './cluster-guests.ts';
import type { Transaction } from './store.ts';

export type TemplateClaim = Pick<ClusterTemplate, 'cluster' | 'name' | 'kind' | 'source'> & {
  /** It was ready under this number, and somebody removed it in the cluster. */
  readonly goneVmid?: number | undefined;
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
  // What others did since it was looked at counts.
  const isGone = found?.state === 'ready' && found.vmid === claim.goneVmid;
  if (found !== undefined && !isGone) {
    const isSame = found.source.vmid === source.vmid && found.source.snapshot === source.snapshot;
    // Its source may be on another node by now.
    if (isSame && (found.state === 'making' || found.state === 'failed'))
      return put(tx, { ...found, source, state: 'making', message: '' }, nowMs);
    throw new DroverError('already-exists', `there is a template ${key} already: ${found.state}`, {
      subject: { cluster },
      nextStep: `name it otherwise, or remove that one first: drover template remove ${key}`,
    });
  }
  const vmid = claim.chooseVmid(claimedVmids(tx, cluster));
  const record = { key, cluster, name, vmid, kind, source, state: 'making', message: '' } as const;
  return put(tx, { ...record, changedAtMs: nowMs }, nowMs);
}

/** What came of its making, or of its removal. Nothing where it is in another state by now, or forgotten. */
export function patchTemplate(
  tx: Transaction,
  key: string,
  from: 'making' | 'removing',
  patch: Pick<ClusterTemplate, 'state' | 'message'>,
  nowMs: number,
): ClusterTemplate | undefined {
  const found = tx.get('cluster-template', key);
  if (found?.state !== from) return undefined;
  if (found.state === patch.state && found.message === patch.message) return found;
  if (from === 'making' && (patch.state === 'ready' || patch.state === 'failed'))
    tell(tx, found, { type: `template.${patch.state}`, message: patch.message }, nowMs);
  const { wasReady: _wasReady, ...rest } = found;
  return put(tx, { ...rest, ...patch }, nowMs);
}

/** Its copy is about to be asked for under that number; 0: what has its number is somebody else's. */
export function noteTemplateBegun(tx: Transaction, key: string, begunVmid: number, nowMs: number): void {
  const found = tx.get('cluster-template', key);
  if (found !== undefined && found.begunVmid !== begunVmid) put(tx, { ...found, begunVmid }, nowMs);
}

/** From now on it is removed, whoever waits for it. not-found. */
export function beginTemplateRemoval(tx: Transaction, key: string, nowMs: number): ClusterTemplate {
  const found = tx.get('cluster-template', key);
  if (found === undefined) throw noTemplate(key);
  if (found.state === 'removing') return found;
  return put(tx, { ...found, state: 'removing', message: '', wasReady: found.state === 'ready' }, nowMs);
}

/** Nothing is left of it. May be repeated. */
export function forgetTemplate(tx: Transaction, key: string, nowMs: number): void {
  const found = tx.get('cluster-template', key);
  if (found === undefined) return;
  tx.delete('cluster-template', key);
  tell(tx, found, { type: 'template.removed', message: '' }, nowMs);
}

/** Another number, where somebody else's guest came to have the one that was claimed. */
export function renumberTemplate(
  tx: Transaction,
  key: string,
  chooseVmid: TemplateClaim['chooseVmid'],
  nowMs: number,
): ClusterTemplate {
  const found = tx.get('cluster-template', key);
  if (found === undefined) throw noTemplate(key);
  return put(tx, { ...found, vmid: chooseVmid(claimedVmids(tx, found.cluster)) }, nowMs);
}

function put(tx: Transaction, record: ClusterTemplate, nowMs: number): ClusterTemplate {
  const next = { ...record, changedAtMs: nowMs };
  tx.put('cluster-template', next.key, next);
  return next;
}

function tell(
  tx: Transaction,
  { key, cluster, vmid }: ClusterTemplate,
  { type, message }: { readonly type: string; readonly message: string },
  nowMs: number,
): void {
  const what = `template ${key}, VMID ${vmid}${message === '' ? '' : `: ${message}`}`;
  const severity = type === 'template.failed' ? 'warning' : 'info';
  tx.event({ atMs: nowMs, type, severity, subject: { cluster, vmid: `${vmid}` }, message: what });
}

const noTemplate = (key: string): DroverError =>
  new DroverError('not-found', `there is no template ${key} of ours`, { nextStep: 'drover template list' });
