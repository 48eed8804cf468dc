/** What each kind of failure tells its caller: may it have acted, and can the same call succeed later? */
export const errorKinds = {
  'invalid-argument': { acted: 'no', retry: false },
  'not-found': { acted: 'no', retry: false },
  'already-exists': { acted: 'no', retry: false },
  'failed-precondition': { acted: 'no', retry: false },
  'permission-denied': { acted: 'no', retry: false },
  unauthenticated: { acted: 'no', retry: false },
  unimplemented: { acted: 'no', retry: false },
  aborted: { acted: 'no', retry: true },
  'resource-exhausted': { acted: 'no', retry: true },
  unavailable: { acted: 'maybe', retry: true },
  'deadline-exceeded': { acted: 'maybe', retry: true },
  internal: { acted: 'maybe', retry: false },
  'data-loss': { acted: 'maybe', retry: false },
} as const satisfies Record<string, { acted: 'no' | 'maybe'; retry: boolean }>;

export type ErrorKind = keyof typeof errorKinds;

/** One fault in one field of a document: dotted path from its root, and what was wanted and found. */
export interface FieldFault {
  readonly field: string;
  readonly message: string;
}

export interface ErrorContext {
  /** What the error is about: `{ instance: id }`, `{ node: name }`, `{ field: path }`. */
  readonly subject?: Readonly<Record<string, string>>;
  /** What to do next, where there is one thing to do. */
  readonly nextStep?: string;
  /** A finer name within the kind, for programs: "stale-generation". */
  readonly reason?: string;
  readonly faults?: readonly FieldFault[];
  readonly cause?: unknown;
}

/**
 * The one error class. Its message says what was wanted and what was found; the kind decides retry and undo.
 */
export class DroverError extends Error {
  override readonly name = 'DroverError';
  readonly kind: ErrorKind;
  readonly subject: Readonly<Record<string, string>>;
  readonly nextStep: string;
  readonly reason: string;
  readonly faults: readonly FieldFault[];

  constructor(kind: ErrorKind, message: string, context: ErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.kind = kind;
    this.subject = context.subject ?? {};
    this.nextStep = context.nextStep ?? '';
    this.reason = context.reason ?? '';
    this.faults = context.faults ?? [];
  }
}

export const isKind = (error: unknown, ...kinds: readonly ErrorKind[]): error is DroverError =>
  error instanceof DroverError && kinds.includes(error.kind);

/**
 * Anything caught becomes a DroverError; what we do not know is `internal`, with the original as its cause.
 */
export function asDroverError(error: unknown): DroverError {
  if (error instanceof DroverError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new DroverError('internal', message, { cause: error });
}

/** What an error says and what to do next, on one line: for where only text goes on. */
export function wordsOf(error: unknown): string {
  const { message, nextStep } = asDroverError(error);
  return nextStep === '' ? message : `${message}; ${nextStep}`;
}
