import type { Configuration } from './guest-kind.ts';

/** "net0", "net1", … in the order of their numbers. */
export const indexedKeys = (config: Configuration, prefix: string): string[] =>
  Object.keys(config)
    .filter((key) => key.startsWith(prefix) && /^\d+$/.test(key.slice(prefix.length)))
    .toSorted((a, b) => Number(a.slice(prefix.length)) - Number(b.slice(prefix.length)));

/** Keys that nothing has: "mp0", "mp1", … */
export function* freeKeys(config: Configuration, prefix: string): Generator<string, never> {
  for (let place = 0; ; place += 1) if (config[`${prefix}${place}`] === undefined) yield `${prefix}${place}`;
}
