import { unlessAborted } from '#shared/unless-aborted.ts';
import { type Facts, factsFor } from '../schema/facts.ts';

/** What the API of one cluster takes, by the version that it tells. */
export interface VersionFacts {
  /** From memory, or asked for once, whoever wants it. Throws what keeps the version from being known. */
  current(signal: AbortSignal): Promise<Facts>;
  /** The answer to GET /version: a cluster is upgraded while we know it. */
  note(data: unknown): void;
}

export function createVersionFacts(
  askVersion: () => Promise<unknown>,
  first: Facts | undefined,
): VersionFacts {
  let known = first;
  let underWay: Promise<Facts> | undefined;

  const factsIn = (data: unknown): Facts => {
    const { version } = (data ?? {}) as { readonly version?: unknown };
    return factsFor(typeof version === 'string' ? version : '');
  };
  const ask = async (): Promise<Facts> => {
    known = factsIn(await askVersion());
    return known;
  };

  return {
    async current(signal) {
      if (known !== undefined) return known;
      signal.throwIfAborted();
      underWay ??= ask().finally(() => {
        underWay = undefined;
      });
      return unlessAborted(underWay, signal);
    },
    note(data) {
      known = factsIn(data);
    },
  };
}
