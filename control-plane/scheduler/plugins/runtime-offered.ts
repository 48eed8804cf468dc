import type { Filter } from '../plugin.ts';

/** A demand without a runtime fits wherever there is one. */
export const runtimeOffered: Filter = {
  name: 'runtime-offered',
  outcome: 'do not offer the runtime',
  fits: ({ runtime }, { runtimes }) => (runtime === '' ? runtimes.size > 0 : runtimes.has(runtime)),
  reason: ({ runtime }, { runtimes }) => {
    const offered = [...runtimes.keys()].toSorted().join(', ') || 'none';
    return `needs the runtime ${runtime || 'of any kind'}, offers ${offered}`;
  },
};
