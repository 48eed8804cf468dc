import type { InstanceId, InstanceState, Phase } from '#shared/model.ts';
import type { GuestState } from '../drivers/driver.ts';
import type { InstanceRecord } from './record.ts';

/** What one instance is made of, in memory. */
export interface Sight {
  readonly id: InstanceId;
  readonly record: InstanceRecord | undefined;
  /** As last seen; undefined while it has not been looked at. */
  readonly guest: GuestState | 'absent' | undefined;
  readonly failure: { readonly message: string; readonly nextAtMs: number } | undefined;
  /** Why the limits of a living guest could not be set yet. Empty when all is well. */
  readonly limitsFailure: string;
  readonly notEnforced: readonly string[];
  /** Of its interfaces, as they were configured. */
  readonly addresses: readonly string[];
  /** Why there is no record. */
  readonly damage: string;
}

/** What the agent reports of an instance. Pure. */
export function present(sight: Sight): InstanceState {
  const { id, record, guest, failure } = sight;
  const live = guest !== undefined && guest !== 'absent' && isLive(guest) ? guest : undefined;
  const phase = record === undefined ? phaseWithoutRecord(guest) : phaseOf(sight, record);
  return {
    instanceId: id,
    generation: record?.generation ?? 0,
    phase,
    pid: live?.pid ?? 0,
    startedAtMs: live?.startedAtMs ?? 0,
    exit: record?.exit,
    restarts: record?.restarts ?? 0,
    nextStartAtMs: nextStartAtMs(phase, record, failure),
    message: messageOf(sight, phase),
    limits: live?.limits,
    notEnforced: sight.notEnforced,
    displayName: record?.spec.displayName ?? '',
    addresses: live === undefined ? [] : sight.addresses,
    // A run has begun, so there is a root.
    rootPool: record === undefined || record.bootId === '' ? '' : record.rootPool,
  };
}

export const isLive = ({ phase }: GuestState): boolean => phase === 'running' || phase === 'paused';

function phaseOf({ guest, failure }: Sight, record: InstanceRecord): Phase {
  const seen = guest === undefined || guest === 'absent' ? guest : guest.phase;
  if (record.intent === 'remove') return 'stopping';
  if (record.intent === 'stop')
    return record.run === 'ended' && seen !== 'running' && seen !== 'paused' ? 'stopped' : 'stopping';
  if (seen === 'unknown') return 'unknown';
  if (record.run === 'started' && (seen === 'running' || seen === 'paused')) return seen;
  if (record.run === 'started' && seen === undefined) return 'unknown';
  if (failure !== undefined) return 'failed';
  if (record.run === 'ended') {
    if (record.final) return 'exited';
    return record.nextStartAtMs > 0 ? 'backing-off' : 'preparing';
  }
  return 'preparing';
}

function phaseWithoutRecord(guest: GuestState | 'absent' | undefined): Phase {
  if (guest === undefined || guest === 'absent' || !isLive(guest)) return 'unknown';
  return guest.phase === 'paused' ? 'paused' : 'running';
}

function nextStartAtMs(
  phase: Phase,
  record: InstanceRecord | undefined,
  failure: { readonly nextAtMs: number } | undefined,
): number {
  if (phase === 'failed') return failure?.nextAtMs ?? 0;
  return phase === 'backing-off' ? (record?.nextStartAtMs ?? 0) : 0;
}

function messageOf({ damage, failure, limitsFailure, guest, record }: Sight, phase: Phase): string {
  if (damage !== '') return damage;
  if (failure !== undefined) return failure.message;
  if (limitsFailure !== '' && record?.limitsPending === true) return limitsFailure;
  if (phase === 'exited' && record !== undefined && record.attempts > 0) {
    const { maxAttempts } = record.spec.restart;
    if (maxAttempts > 0 && record.attempts >= maxAttempts) return `gave up after ${maxAttempts} restarts`;
  }
  const seen = guest === undefined || guest === 'absent' ? '' : guest.message;
  return seen === '' && mayLackPort(record, phase) ? portAdvice : seen;
}

const portAdvice =
  'it failed on the network of the host, where ports below 1024 are closed to it; ' +
  'if it needs one, set on the node: sysctl net.ipv4.ip_unprivileged_port_start=80';

/**
 * The refused bind is the program's own error, which nobody outside can see: the end of the run is all there
 * is.
 */
function mayLackPort(record: InstanceRecord | undefined, phase: Phase): boolean {
  if (record?.spec.network !== 'host' || (phase !== 'exited' && phase !== 'backing-off')) return false;
  return record.exit !== undefined && !record.exit.unknown && record.exit.code > 0 && record.exit.code < 128;
}
