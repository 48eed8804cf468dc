import { describe, expect, it } from 'vitest';
import { DroverError, type ErrorKind } from '#shared/errors.ts';
import { exitCodeOf } from './exit-code.ts';

const rows: readonly (readonly [ErrorKind, string, number])[] = [
  ['invalid-argument', '', 2],
  ['unauthenticated', '', 4],
  ['permission-denied', '', 4],
  ['not-found', '', 5],
  ['already-exists', '', 6],
  ['aborted', '', 6],
  ['failed-precondition', 'unplaceable', 7],
  ['deadline-exceeded', '', 8],
  ['unavailable', 'connection', 9],
  ['unavailable', '', 1],
  ['failed-precondition', '', 1],
  ['internal', '', 1],
];

describe('exitCodeOf', () => {
  it.each(rows)('%s %s is %i', (kind, reason, code) => {
    expect(exitCodeOf(new DroverError(kind, 'x', { reason }))).toBe(code);
  });

  it('takes a cluster that does not answer for no control plane', () => {
    const context = { reason: 'connection', subject: { cluster: 'lab' } };
    expect(exitCodeOf(new DroverError('unavailable', 'x', context))).toBe(1);
  });
});
