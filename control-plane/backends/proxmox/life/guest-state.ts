import type {
  ClusterGuest,
  ExitStatus,
  InstanceState,
  NodeName,
  Phase,
  PlacementBond,
  Resources,
} from '#shared/model.ts';
import { isBeingAdopted } from '../../../store/put-cluster-guest.ts';
import type { GuestRow } from '../observe/listings.ts';

/** A guest of ours as it was last seen. */
export interface Sight {
  /** 'unseen': not since we started, so that nothing is known. */
  readonly presence: 'unseen' | 'present' | 'absent';
  /** As the cluster calls it; empty while unseen. */
  readonly node: string;
  readonly vmid: number;
  readonly status: GuestRow['status'];
  /** As GuestRow has it. */
  readonly trouble?: string | undefined;
  /** Zero when it does not run. */
  readonly startedAtMs: number;
  /** Empty: HA does not manage it. */
  readonly haState: string;
  /** "backup": somebody is at it. Empty: nobody. */
  readonly lock: string;
}

export const unseen: Sight = {
  presence: 'unseen',
  node: '',
  vmid: 0,
  status: 'unknown',
  startedAtMs: 0,
  haState: '',
  lock: '',
};

/** What was done about it, and what came of it. In memory: after a start of ours it begins anew. */
export interface Run {
  readonly restarts: number;
  readonly attempts: number;
  readonly exit: ExitStatus | undefined;
  /** Wall clock, of the last start of ours; zero: none. */
  readonly runningSinceMs: number;
  /** The restart policy is done with it. */
  readonly final: boolean;
  /** It ended by itself and waits to be started again: monotonic. Zero: it does not. */
  readonly startAtMs: number;
  /** What could not be done, and when it is tried again: monotonic. */
  readonly failure:
    | { readonly message: string; readonly retryAtMs: number; readonly reason?: string }
    | undefined;
}

export const freshRun: Run = {
  restarts: 0,
  attempts: 0,
  exit: undefined,
  runningSinceMs: 0,
  final: false,
  startAtMs: 0,
  failure: undefined,
};

/** What its configuration says of it, since it was last read. */
export interface Furnishing {
  readonly limits: Resources | undefined;
  readonly notEnforced: readonly string[];
  readonly addresses: readonly string[];
  /** Whether they are set by hand, or there is no interface to have any. Undefined: not read yet. */
  readonly areFixed?: boolean;
  readonly rootPool: string;
}

/**
 * What is to be done for a guest. 'settle': make it, or make it be as its newest spec says, and start it.
 * 'start' it again; 'note-end': it ended and nobody ordered it. 'stop', 'remove'. 'look': nothing is known of
 * it. 'wait': for the time, or for its cluster. 'rest': all is as it should be.
 */
export type GuestStep = 'settle' | 'start' | 'note-end' | 'stop' | 'remove' | 'look' | 'wait' | 'rest';

/** The next step for one guest. Pure. */
export function nextGuestStep(record: ClusterGuest, sight: Sight, run: Run, nowMs: number): GuestStep {
  const { intent, generation, appliedGeneration = 0 } = record;
  if (intent === 'removed' || isBeingAdopted(record)) return 'rest';
  if (run.failure !== undefined && run.failure.retryAtMs > nowMs) return 'wait';
  if (sight.presence === 'unseen' && record.made === true) return 'look';
  if (intent === 'remove') return 'remove';
  if (sight.presence === 'absent' && record.made === true) return 'rest';
  const isUp = sight.status === 'running' || sight.status === 'paused';
  if (intent === 'stop') {
    if (record.made !== true || sight.status === 'stopped') return 'rest';
    return isUp ? 'stop' : 'wait';
  }
  if (appliedGeneration < generation) return 'settle';
  if (isUp) return 'rest';
  if (sight.status === 'unknown') return 'wait';
  // HA starts what it manages again, elsewhere if need be; a backup or a move starts what it stopped.
  if (isLeftToHa(sight) || sight.lock !== '') return 'rest';
  if (run.final) return 'rest';
  if (run.startAtMs === 0) return 'note-end';
  return run.startAtMs <= nowMs ? 'start' : 'wait';
}

/** HA manages it, and has the last word on where and whether it runs. */
export const isLeftToHa = ({ haState }: Sight): boolean => haState !== '' && haState !== 'ignored';

/** What is told of a guest. Pure. `wallMs`: of a monotonic moment. */
export function stateOf(
  record: ClusterGuest,
  sight: Sight,
  run: Run,
  told: {
    readonly furnishing: Furnishing;
    readonly displayName: string;
    readonly bonds?: readonly PlacementBond[];
    readonly movingTo?: NodeName | undefined;
    wallMs(atMs: number): number;
  },
): InstanceState {
  const phase = phaseOf(record, sight, run);
  const isUp = sight.status === 'running' || sight.status === 'paused';
  const { furnishing, displayName, bonds = [], movingTo, wallMs } = told;
  return {
    instanceId: record.instanceId,
    generation: record.generation,
    phase,
    pid: 0,
    startedAtMs: isUp ? sight.startedAtMs : 0,
    exit: run.exit,
    restarts: run.restarts,
    nextStartAtMs: nextStartAtMs(phase, run, wallMs),
    message: messageOf(phase, sight, run, movingTo),
    limits: furnishing.limits,
    notEnforced: furnishing.notEnforced,
    displayName,
    addresses: isUp ? furnishing.addresses : [],
    rootPool: furnishing.rootPool,
    ...(bonds.length > 0 && { bonds }),
  };
}

function phaseOf(record: ClusterGuest, sight: Sight, run: Run): Phase {
  const { intent, generation, appliedGeneration = 0, made = false } = record;
  const { status } = sight;
  if (intent === 'remove' || intent === 'removed') return 'stopping';
  if (intent === 'stop') return status === 'stopped' || !made ? 'stopped' : 'stopping';
  if (appliedGeneration < generation) return run.failure === undefined ? 'preparing' : 'failed';
  if (status === 'running' || status === 'paused') return status;
  if (status === 'unknown') return 'unknown';
  if (run.failure !== undefined) return 'failed';
  if (run.final) return 'exited';
  return run.startAtMs > 0 ? 'backing-off' : 'preparing';
}

function nextStartAtMs(phase: Phase, run: Run, wallMs: (atMs: number) => number): number {
  if (phase === 'failed') return Math.round(wallMs(run.failure?.retryAtMs ?? 0));
  return phase === 'backing-off' ? Math.round(wallMs(run.startAtMs)) : 0;
}

function messageOf(phase: Phase, sight: Sight, run: Run, movingTo: NodeName | undefined): string {
  if (movingTo !== undefined) return movingMessage(movingTo, phase === 'stopping');
  if (run.failure !== undefined) return run.failure.message;
  if (phase === 'preparing' && isLeftToHa(sight)) return `left to HA: ${sight.haState}`;
  if (phase === 'preparing' && sight.lock !== '') return `locked: ${sight.lock}`;
  if (phase === 'paused' && sight.trouble !== undefined) return `it stands still: ${sight.trouble}`;
  return '';
}

/** A move that is cut off may leave disks behind and a lock that no token may take away. */
export const movingMessage = (to: NodeName, isWaitedFor: boolean): string =>
  isWaitedFor ? `waits until it has moved to ${to}: a move is not cut off` : `moves to ${to}`;

/** A guest whose end nobody saw. */
export const unknownExit = (atMs: number): ExitStatus => ({
  code: 0,
  unknown: true,
  outOfMemory: false,
  atMs,
});

/** What only its cluster has told of an instance so far, for one that is known to the store. */
export function furnishingBefore(observed: InstanceState | 'absent' | undefined): Furnishing {
  if (observed === undefined || observed === 'absent')
    return { limits: undefined, notEnforced: [], addresses: [], rootPool: '' };
  const { limits, notEnforced, addresses, rootPool } = observed;
  return { limits, notEnforced, addresses, rootPool };
}
