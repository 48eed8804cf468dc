import { DroverError } from '#shared/errors.ts';
import type { NodeName, Volume, Workload } from '#shared/model.ts';
import { volumesOfWorkload } from './find-volumes.ts';
import type { Transaction } from './store.ts';

/**
 * It stays when the workload goes. Said by the workload, of its claims and of those that went: that a claim
 * says otherwise need not be written down for every copy's volume. Pure.
 */
export function isKept({ claim, keep }: Volume, workload: Workload | undefined): boolean {
  const said = workload?.spec.volumes.find(({ name }) => name === claim);
  const dropped = workload?.droppedClaims;
  if (said !== undefined) return said.keep;
  return dropped !== undefined && Object.hasOwn(dropped, claim) ? (dropped[claim]?.keep ?? keep) : keep;
}

/**
 * It is to be removed from its node as soon as no instance has it: somebody asked, or its claim is gone and
 * it was not to be kept. Pure.
 */
export function isAbandoned(volume: Volume, workload: Workload | undefined): boolean {
  if (volume.instanceId !== undefined) return false;
  if (volume.removingSinceMs !== undefined) return true;
  if (isKept(volume, workload)) return false;
  if (workload === undefined || workload.deletingSinceMs !== undefined) return true;
  return !workload.spec.volumes.some(({ name }) => name === volume.claim);
}

/**
 * Says that a volume is to be removed, with all that is in it: no instance gets it from here on. Repeating it
 * changes nothing. failed-precondition while an instance has it.
 */
export function retireVolume(tx: Transaction, volume: Volume, because: string, nowMs: number): void {
  const { id, name, project } = volume.metadata;
  if (volume.instanceId !== undefined) {
    const user = tx.get('instance', volume.instanceId, project)?.metadata.name ?? volume.instanceId;
    throw new DroverError('failed-precondition', `volume ${name} is used by ${user}`, {
      subject: { volume: name, instance: user },
      reason: 'volume-in-use',
      nextStep: `scale ${volume.workload} down, delete it, or take the claim ${volume.claim} out of its spec`,
    });
  }
  if (volume.removingSinceMs !== undefined) return;
  tx.put('volume', id, { ...volume, removingSinceMs: nowMs }, project);
  tell(tx, volume, { type: 'volume.retired', severity: 'info', message: because }, nowMs);
}

/** Deletes the record: nothing of it is anywhere. Repeating it changes nothing. */
export function forgetVolume(
  tx: Transaction,
  { id, project }: { readonly id: string; readonly project: string },
  nowMs: number,
): void {
  const volume = tx.get('volume', id, project);
  if (volume === undefined) return;
  tx.delete('volume', id, project);
  const message = volume.node === undefined ? 'it lay nowhere' : `nothing is left of it on ${volume.node}`;
  tell(tx, volume, { type: 'volume.removed', severity: 'info', message }, nowMs);
}

/** A transaction has at most 128 operations. */
const volumesPerTransaction = 40;

/**
 * Retires what a workload leaves behind and did not ask to keep, and writes down what it did, some at a time;
 * false while there is more.
 */
export function retireUnkept(tx: Transaction, workload: Workload, nowMs: number): boolean {
  const { name, project } = workload.metadata;
  const left = volumesOfWorkload(tx, name, project).filter(
    (volume) => volume.removingSinceMs === undefined && !(volume.keep && isKept(volume, workload)),
  );
  for (const volume of left.slice(0, volumesPerTransaction)) {
    if (isKept(volume, workload)) tx.put('volume', volume.metadata.id, { ...volume, keep: true }, project);
    else retireVolume(tx, volume, `${name} is deleted, and its claim does not say keep`, nowMs);
  }
  return left.length <= volumesPerTransaction;
}

/**
 * Gives up some of the volumes on a node that was given up; the answer names them, empty when none is left.
 * Others, with other ids, take their places: an id lies on one node for ever.
 */
export function loseVolumes(tx: Transaction, node: NodeName, nowMs: number): string[] {
  const some = tx
    .list('volume')
    .filter((volume) => volume.node === node)
    .slice(0, volumesPerTransaction);
  for (const volume of some) {
    const { id, name, project } = volume.metadata;
    tx.delete('volume', id, project);
    const workload = tx.named('workload', volume.workload, project);
    const isClaimed = workload?.spec.volumes.some((claim) => claim.name === volume.claim) ?? false;
    const next = isClaimed && workload?.deletingSinceMs === undefined;
    const message = `${name} was on ${node}, which is lost with all that was in it${
      next ? ': the next copy gets a new, empty one' : ''
    }`;
    tell(tx, volume, { type: 'volume.lost', severity: 'warning', message }, nowMs);
  }
  return some.map(({ metadata }) => metadata.name);
}

/** Tells people that a node could not remove a volume. What is gone needs no telling. */
export function recordVolumeFailure(tx: Transaction, volume: Volume, message: string, nowMs: number): void {
  const { id, project } = volume.metadata;
  if (tx.get('volume', id, project) === undefined) return;
  const failed = {
    type: 'order.failed',
    severity: 'warning',
    message: `removal failed: ${message}`,
  } as const;
  tell(tx, volume, failed, nowMs);
}

function tell(
  tx: Transaction,
  { metadata, workload, node }: Volume,
  telling: { readonly type: string; readonly severity: 'info' | 'warning'; readonly message: string },
  nowMs: number,
): void {
  const subject = { volume: metadata.name, workload, ...(node === undefined ? {} : { node }) };
  tx.event({ atMs: nowMs, subject, ...telling }, metadata.project);
}
