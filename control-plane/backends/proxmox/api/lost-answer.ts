import { errorKinds, isKind } from '#shared/errors.ts';

/**
 * The answer was lost: it may have been done, or be done yet. Only a look tells. A guest that did not heed a
 * shutdown is an answer.
 */
export const isLost = (error: unknown): boolean =>
  isKind(error, 'unavailable', 'deadline-exceeded') &&
  errorKinds[error.kind].acted === 'maybe' &&
  error.subject['acted'] !== 'no' &&
  error.reason !== 'no-quorum' &&
  error.reason !== 'shutdown';
