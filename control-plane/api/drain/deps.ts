import type { ErrorKind } from '#shared/errors.ts';
import { asDroverError, wordsOf } from '#shared/errors.ts';
import type { DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance } from '#shared/model.ts';
import { nextChange } from '../changes.ts';
import type { ClusterDeps } from '../cluster/deps.ts';

/** Nothing tells of the end of a wait but time. */
const lookAgainAfterMs = 1000;

export const moving = ({ metadata }: Instance, target: string, message: string): DrainProgress => ({
  instance: metadata.name,
  state: 'moving',
  target,
  message,
  errorKind: '',
});

export const moved = ({ metadata }: Instance, target: string, message: string): DrainProgress => ({
  ...moving({ metadata } as Instance, target, message),
  state: 'moved',
});

export const stays = (
  { metadata }: Instance,
  message: string,
  errorKind: ErrorKind = 'failed-precondition',
): DrainProgress => ({ instance: metadata.name, state: 'stays', target: '', message, errorKind });

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
