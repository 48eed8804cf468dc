import type { ErrorKind } from '#shared/errors.ts';
import { asDroverError, wordsOf } from '#shared/errors.ts';
import type { DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance } from '#shared/model.ts';
import type { GuestMove } from '../../backends/cluster-backend.ts';
import type { Demand } from '../../scheduler/plugin.ts';
import type { Decision } from '../../scheduler/schedule.ts';
import { nextChange } from '../changes.ts';
import type { ClusterDeps } from '../cluster/deps.ts';

/** Nothing tells of the end of a wait but time. */
const lookAgainAfterMs = 1000;

/** A guest that one node cannot take may be taken by another. */
export const targetsTried = 3;
const reasonsTold = 8;

/** How an instance gets away: with its guest, or in place of another. Empty: somebody else moved it. */
export type Way = GuestMove | 'replaced';
const wayOf = (way: Way): string => (way === 'none' ? '' : way);

export const moving = ({ metadata }: Instance, target: string, message: string, way: Way): DrainProgress => ({
  instance: metadata.name,
  state: 'moving',
  target,
  message,
  errorKind: '',
  way: wayOf(way),
});

export const moved = (...said: Parameters<typeof moving>): DrainProgress => ({
  ...moving(...said),
  state: 'moved',
});

export const wouldMove = (...said: Parameters<typeof moving>): DrainProgress => ({
  ...moving(...said),
  state: 'would-move',
});

/** How a guest of a cluster moves, as far as is known before its cluster is asked. */
export function wayOfGuest({ observed, spec }: Instance): GuestMove {
  const phase = typeof observed === 'object' ? observed.phase : 'unknown';
  if (phase !== 'running' && phase !== 'paused') return 'stopped';
  return spec.runtime === 'proxmox-vm' ? 'live' : 'restarted';
}

/** Where it goes, and what goes with it. */
export const choiceOf = (decision: Decision, { bonds = [] }: Demand): string =>
  [
    decision.summary(),
    ...bonds.filter(({ kind }) => kind === 'along').map(({ because }) => `${because}.`),
  ].join(' ');

/** With each node's own reason: it is what people can do something about. */
export function refusalOf(decision: Decision): string {
  const reasons = decision.explain().slice(0, reasonsTold);
  return [decision.summary(), reasons.map(({ node, reason }) => `${node}: ${reason}`).join('; ')].join(' ');
}

export const stays = (
  { metadata }: Instance,
  message: string,
  errorKind: ErrorKind = 'failed-precondition',
): DrainProgress => ({ instance: metadata.name, state: 'stays', target: '', message, errorKind, way: '' });

export const staysBecauseOf = (instance: Instance, error: unknown): DrainProgress =>
  stays(instance, wordsOf(error), asDroverError(error).kind);

export const timeIsOver = (instance: Instance): DrainProgress =>
  stays(instance, 'the time for it is over', 'deadline-exceeded');

/** Looks again after every change, and now and then, until it finds something or the signal aborts. */
export async function awaitFound<Found>(
  look: () => Found | undefined,
  signal: AbortSignal,
  deps: Pick<ClusterDeps, 'store' | 'view' | 'clock'>,
): Promise<Found | undefined> {
  for (;;) {
    const found = look();
    if (found !== undefined || signal.aborted) return found;
    await nextChange(deps, deps.clock.timeout(lookAgainAfterMs, signal));
  }
}
