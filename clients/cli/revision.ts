import { DroverError } from '#shared/errors.ts';

/**
 * A revision that cannot be read must not become none: the check that was asked for would be left out.
 * invalid-argument.
 */
export function parseRevision(text: string | undefined, nextStep: string): bigint {
  if (text === undefined) return 0n;
  if (/^[1-9]\d{0,15}$/.test(text)) return BigInt(text);
  throw new DroverError('invalid-argument', `"${text}" is not a revision`, { nextStep });
}
