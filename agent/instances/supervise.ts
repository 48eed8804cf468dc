import type { ExitStatus, Restart } from '#shared/model.ts';
import type { RunPhase } from './record.ts';

export const firstDelayMs = 1000;
export const longestDelayMs = 300_000;
/** A run this long counts as a good one: what failed before it is forgotten. */
export const goodRunMs = 600_000;

/** One instance at one moment: what was ordered, what was done, what the host shows. */
export interface Situation {
  readonly intent: 'run' | 'stop' | 'remove';
  readonly run: RunPhase;
  /** The restart policy is done with it. */
  readonly final: boolean;
  readonly guest: 'absent' | 'created' | 'running' | 'stopped' | 'unknown';
  /** A living guest has not got its new limits, and it is time to try. */
  readonly limitsDue: boolean;
  /** Its volumes are to be set back first. */
  readonly rollback: boolean;
  /** A back-off is not over. */
  readonly waiting: boolean;
}

/**
 * 'make' takes away an older guest, then creates and starts one. 'note-exit' counts an end that was not
 * ordered; 'note-stop' one that was. 'adopt' takes a running guest for the present run. 'wait': until the
 * back-off is over or something changes. 'look-again': the host did not answer. 'set-limits': of a guest that
 * goes on. 'roll-back': takes the guest away and sets its volumes back.
 */
export type Action =
  | 'rest'
  | 'wait'
  | 'look-again'
  | 'make'
  | 'start'
  | 'adopt'
  | 'note-exit'
  | 'note-stop'
  | 'set-limits'
  | 'roll-back'
  | 'stop'
  | 'remove';

/** The next thing to do for one instance. Pure. */
export function nextAction(situation: Situation): Action {
  const { intent, run, final, guest, limitsDue, rollback, waiting } = situation;
  if (waiting) return 'wait';
  if (intent === 'remove') return 'remove';
  if (rollback) return guest === 'unknown' ? 'look-again' : 'roll-back';
  if (intent === 'stop') {
    if (guest === 'running' || guest === 'unknown') return 'stop';
    return run === 'ended' ? 'rest' : 'note-stop';
  }
  if (guest === 'unknown') return 'look-again';
  if (run === 'pending') return 'make';
  if (run === 'started') {
    if (guest === 'running') return limitsDue ? 'set-limits' : 'rest';
    return guest === 'created' ? 'start' : 'note-exit';
  }
  if (guest === 'running') return 'adopt';
  return final ? 'rest' : 'make';
}

export interface RestartDecision {
  readonly final: boolean;
  /** Zero when final. */
  readonly delayMs: number;
  /** To carry into the next start. */
  readonly attempts: number;
}

/**
 * What the restart policy says after an end that was not ordered. `fraction` (0 to 1) spreads the delay by a
 * fifth either way; `rebooted` starts at once, for the host was at fault. Pure.
 */
export function afterExit(
  restart: Restart,
  end: { readonly exit: ExitStatus; readonly ranMs: number; readonly rebooted: boolean },
  attemptsSoFar: number,
  fraction: number,
): RestartDecision {
  const attempts = end.ranMs >= goodRunMs ? 0 : attemptsSoFar;
  const failed = end.exit.unknown || end.exit.code !== 0;
  const wanted = restart.policy === 'always' || (restart.policy === 'on-failure' && failed);
  const exhausted = restart.maxAttempts > 0 && attempts >= restart.maxAttempts;
  if (!wanted || exhausted) return { final: true, delayMs: 0, attempts };
  return { final: false, delayMs: end.rebooted ? 0 : backoffMs(attempts, fraction), attempts };
}

/** 1 s, 2 s, 4 s … 5 min, a fifth either way. */
export function backoffMs(attempts: number, fraction: number): number {
  const middle = Math.min(firstDelayMs * 2 ** Math.min(attempts, 30), longestDelayMs);
  return Math.round(middle * (0.8 + 0.4 * fraction));
}
