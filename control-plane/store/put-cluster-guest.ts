import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { DroverError } from '#shared/errors.ts';
import type { ClusterGuest, InstanceId, InstanceSpec, NodeName } from '#shared/model.ts';
import { canonicalText } from './canonical.ts';
import { claimedVmids, guestWithVmid } from './cluster-guests.ts';
import type { Transaction } from './store.ts';

export interface GuestClaim {
  readonly instanceId: InstanceId;
  readonly generation: number;
  readonly cluster: string;
  readonly kind: ClusterGuest['kind'];
  readonly node: NodeName;
  readonly spec: InstanceSpec;
  /** A number that no guest has, the claimed ones left out. */
  chooseVmid(claimed: ReadonlySet<number>): number;
}

/**
 * Takes in what an instance is to be, before anything is done about it: a new one gets its number. Repeating
 * a generation changes nothing. failed-precondition with the reason stale-generation or removed;
 * invalid-argument with generation-reused.
 */
export function claimGuest(tx: Transaction, claim: GuestClaim, nowMs: number): ClusterGuest {
  const { instanceId, generation, cluster, spec } = claim;
  const specDigest = specDigestOf(spec);
  const record = tx.get('cluster-guest', instanceId);
  if (record === undefined) {
    const vmid = claim.chooseVmid(claimedVmids(tx, cluster));
    const { kind, node } = claim;
    const intent = 'run' as const;
    const taken = { instanceId, cluster, vmid, kind, node, generation, intent, specDigest };
    return put(tx, { ...taken, adopted: false, changedAtMs: nowMs, spec });
  }
  checkGeneration(record, generation);
  if (record.intent === 'remove' || record.intent === 'removed')
    throw refusal(instanceId, 'removed', `instance ${instanceId} is being removed, or was, for good`);
  if (record.generation === generation) {
    if (record.specDigest === '' || record.specDigest === specDigest) return record;
    throw new DroverError(
      'invalid-argument',
      `generation ${generation} of ${instanceId} was ordered with another spec`,
      { subject: { instance: instanceId }, reason: 'generation-reused' },
    );
  }
  return put(tx, { ...record, generation, intent: 'run', specDigest, spec, changedAtMs: nowMs });
}

/**
 * Reserves a number for an instance. already-exists: another instance has it, or the instance has another one
 * that is not given up.
 */
export function reserveGuest(
  tx: Transaction,
  guest: Omit<ClusterGuest, 'changedAtMs'>,
  nowMs: number,
): ClusterGuest {
  const { instanceId, cluster, vmid } = guest;
  const subject = { instance: instanceId, cluster, vmid: `${vmid}` };
  const other = guestWithVmid(tx, cluster, vmid);
  if (other !== undefined && other.instanceId !== instanceId)
    throw new DroverError('already-exists', `${vmid} of ${cluster} is the instance ${other.instanceId}`, {
      subject,
      reason: 'vmid-taken',
    });
  const before = tx.get('cluster-guest', instanceId);
  if (
    before !== undefined &&
    before.intent !== 'removed' &&
    (before.vmid !== vmid || before.cluster !== cluster)
  )
    throw new DroverError(
      'already-exists',
      `the instance ${instanceId} is ${before.vmid} of ${before.cluster}`,
      { subject, reason: 'guest-reserved' },
    );
  return put(tx, { ...guest, changedAtMs: nowMs });
}

/** Our mark is on it: an order of the generation that it was adopted for finds nothing to do. not-found. */
export function settleAdoptedGuest(
  tx: Transaction,
  instanceId: InstanceId,
  spec: InstanceSpec,
  nowMs: number,
): ClusterGuest {
  const record = tx.get('cluster-guest', instanceId);
  if (record === undefined) throw notThere(instanceId);
  const appliedGeneration = record.generation;
  const specDigest = specDigestOf(spec);
  return put(tx, { ...record, spec, specDigest, made: true, appliedGeneration, changedAtMs: nowMs });
}

/** Until its mark is written, what was adopted is neither told nor absent. */
export const isBeingAdopted = ({ adopted, specDigest, intent }: ClusterGuest): boolean =>
  adopted && specDigest === '' && intent === 'run';

/**
 * What was asked last. failed-precondition with stale-generation; not-found for a stop of what is not there.
 */
export function putGuestIntent(
  tx: Transaction,
  order: { readonly instanceId: InstanceId; readonly generation: number; readonly intent: 'stop' | 'remove' },
  nowMs: number,
): ClusterGuest {
  const { instanceId, generation, intent } = order;
  const record = tx.get('cluster-guest', instanceId);
  if (record === undefined || record.intent === 'removed') throw notThere(instanceId);
  checkGeneration(record, generation);
  if (record.intent === 'remove' || record.intent === intent) return record;
  return put(tx, {
    ...record,
    generation: Math.max(record.generation, generation),
    intent,
    changedAtMs: nowMs,
  });
}

/** Nothing is left of it: its number is free, and no order counts any more. */
export function putGuestRemoved(
  tx: Transaction,
  gone: { readonly instanceId: InstanceId; readonly cluster: string; readonly node: NodeName } & {
    readonly generation: number;
  },
  nowMs: number,
): ClusterGuest {
  const record = tx.get('cluster-guest', gone.instanceId);
  if (record?.intent === 'removed') return record;
  const fresh: ClusterGuest = {
    ...gone,
    vmid: 0,
    kind: 'lxc',
    specDigest: '',
    adopted: false,
    intent: 'removed',
    changedAtMs: nowMs,
  };
  const { spec: _spec, ...rest } = record ?? fresh;
  return put(tx, { ...rest, intent: 'removed', changedAtMs: nowMs });
}

/** Forgets a guest: nothing says any more that it was ours. May be repeated. */
export function forgetGuest(tx: Transaction, instanceId: InstanceId): void {
  if (tx.get('cluster-guest', instanceId) !== undefined) tx.delete('cluster-guest', instanceId);
}

/** What was learned of it while it was worked on. Nothing where its record is another's by now. */
export function patchGuest(
  tx: Transaction,
  instanceId: InstanceId,
  patch: Partial<
    Pick<
      ClusterGuest,
      | 'vmid'
      | 'node'
      | 'made'
      | 'appliedGeneration'
      | 'copies'
      | 'rollBack'
      | 'source'
      | 'begunVmid'
      | 'configuredFor'
    >
  >,
  nowMs: number,
): ClusterGuest | undefined {
  const record = tx.get('cluster-guest', instanceId);
  if (record === undefined || record.intent === 'removed') return record;
  const isSame = Object.entries(patch).every(([key, value]) =>
    isDeepStrictEqual(record[key as keyof ClusterGuest], value),
  );
  return isSame ? record : put(tx, { ...record, ...patch, changedAtMs: nowMs });
}

/** What was left half made, also of what is removed by now: its number, until it is gone. */
export function putGuestLeft(tx: Transaction, instanceId: InstanceId, leftVmids: readonly number[]): void {
  const record = tx.get('cluster-guest', instanceId);
  if (record === undefined) return;
  const { leftVmids: _before, ...rest } = record;
  put(tx, { ...rest, ...(leftVmids.length > 0 && { leftVmids }) });
}

/** A step back is about to be asked for: it is not as its spec says any more, whatever comes of it. */
export function noteRollBack(
  tx: Transaction,
  instanceId: InstanceId,
  rollBack: NonNullable<ClusterGuest['rollBack']>,
  nowMs: number,
): void {
  const record = tx.get('cluster-guest', instanceId);
  if (record === undefined || record.intent === 'removed') return;
  const { appliedGeneration, ...rest } = record;
  const kept = record.intent === 'run' || appliedGeneration === undefined ? {} : { appliedGeneration };
  put(tx, { ...rest, ...kept, rollBack, changedAtMs: nowMs });
}

/** Another number, where somebody else's guest came to have the one that was claimed. */
export function claimOtherVmid(
  tx: Transaction,
  instanceId: InstanceId,
  chooseVmid: GuestClaim['chooseVmid'],
  nowMs: number,
): ClusterGuest {
  const record = tx.get('cluster-guest', instanceId);
  if (record === undefined) throw notThere(instanceId);
  const vmid = chooseVmid(claimedVmids(tx, record.cluster));
  return put(tx, { ...record, vmid, changedAtMs: nowMs });
}

const specDigestOf = (spec: InstanceSpec): string =>
  createHash('sha256').update(canonicalText(spec)).digest('hex');

function put(tx: Transaction, record: ClusterGuest): ClusterGuest {
  tx.put('cluster-guest', record.instanceId, record);
  return record;
}

function checkGeneration(record: ClusterGuest, generation: number): void {
  if (generation >= record.generation) return;
  const message = `order for generation ${generation}, ${record.generation} was seen`;
  throw refusal(record.instanceId, 'stale-generation', message);
}

const refusal = (instance: string, reason: string, message: string): DroverError =>
  new DroverError('failed-precondition', message, { subject: { instance }, reason });

const notThere = (instanceId: InstanceId): DroverError =>
  new DroverError('not-found', `there is no guest of instance ${instanceId}`, {
    subject: { instance: instanceId },
  });
