import { DroverError, type ErrorKind } from '#shared/errors.ts';

/** Stable, and part of the interface: scripts decide by them. `exec` passes the guest's own code. */
export const exitCode = {
  done: 0,
  failed: 1,
  usage: 2,
  changes: 3,
  denied: 4,
  notFound: 5,
  conflict: 6,
  notPlaced: 7,
  timedOut: 8,
  unreachable: 9,
  partly: 10,
} as const;

const ofKind: Partial<Record<ErrorKind, number>> = {
  'invalid-argument': exitCode.usage,
  unauthenticated: exitCode.denied,
  'permission-denied': exitCode.denied,
  'not-found': exitCode.notFound,
  'already-exists': exitCode.conflict,
  aborted: exitCode.conflict,
  'deadline-exceeded': exitCode.timedOut,
};

/** A cluster that does not answer is told by a control plane that does. */
export const isControlPlaneAway = ({ kind, reason, subject }: DroverError): boolean =>
  kind === 'unavailable' && reason === 'connection' && subject['cluster'] === undefined;

export function exitCodeOf(error: DroverError): number {
  if (isControlPlaneAway(error)) return exitCode.unreachable;
  if (error.reason === 'unplaceable') return exitCode.notPlaced;
  return ofKind[error.kind] ?? exitCode.failed;
}
