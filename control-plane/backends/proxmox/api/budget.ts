import type { Clock } from '#shared/clock.ts';
import { DroverError, asDroverError } from '#shared/errors.ts';
import type { CallSubject } from './answers.ts';
import { cleanText } from './words.ts';

/** What a call may take: the caller's patience and its own. */
export interface Budget {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** The node that is asked first. */
  readonly via?: string;
  readonly subject: CallSubject;
  readonly onEndpoint?: (address: string) => void;
}

/** The one place where time-outs, the caller's end and what nobody foresaw become a DroverError. */
export async function withinBudget<T>(
  { signal, timeoutMs, subject }: Budget,
  clock: Clock,
  closing: AbortSignal,
  work: (limit: AbortSignal) => Promise<T>,
): Promise<T> {
  if (closing.aborted) throw closing.reason as DroverError;
  const limit = clock.timeout(timeoutMs, signal);
  try {
    return await work(limit);
  } catch (error) {
    const acted = error instanceof DroverError ? error.subject['acted'] : undefined;
    const context: CallContext = { ...subject, ...(acted === undefined ? {} : { acted }) };
    if (closing.aborted) throw closing.reason as DroverError;
    if (limit.aborted) throw timeUp({ signal, timeoutMs, subject }, context, error);
    if (error instanceof DroverError) throw placed(error, context);
    throw new DroverError('internal', `${subject.method}: ${cleanText((error as Error).message, 200)}`, {
      subject: context,
      cause: error,
    });
  }
}

/** What has to be there before a call is sent: where it fails, the call has done nothing. */
export async function beforeSending<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw placed(asDroverError(error), { acted: 'no' });
  }
}

type CallContext = Readonly<Record<string, string>>;

/** Only what was never sent has certainly not acted. */
function timeUp({ signal, timeoutMs, subject }: Budget, context: CallContext, cause: unknown): DroverError {
  const reason: unknown = signal.aborted ? signal.reason : undefined;
  if (reason instanceof DroverError) return reason;
  const late = !signal.aborted || (reason as Error | undefined)?.name === 'TimeoutError';
  const unsent = context['acted'] === 'no';
  const outcome = unsent ? 'it was not sent' : 'what it did is unknown';
  if (!late) {
    const message = `${subject.method} was given up: ${outcome}`;
    return new DroverError('unavailable', message, { reason: 'cancelled', subject: context, cause });
  }
  const limit = signal.aborted ? 'in time' : `within ${timeoutMs / 1000} s`;
  return new DroverError('deadline-exceeded', `${subject.method}: no answer ${limit}; ${outcome}`, {
    reason: 'timeout',
    subject: context,
    cause,
    ...(unsent
      ? {}
      : { nextStep: 'look at the tasks of the node and at the guest before it is tried again' }),
  });
}

function placed(error: DroverError, context: CallContext): DroverError {
  const { kind, message, reason, nextStep, faults, cause } = error;
  return new DroverError(kind, message, {
    reason,
    nextStep,
    faults,
    subject: { ...context, ...error.subject },
    ...(cause === undefined ? {} : { cause }),
  });
}
