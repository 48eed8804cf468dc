/**
 * The nouns, as the code speaks of them. Values of these types have been checked: wire.ts is the only place
 * that makes them from text or messages. Times are milliseconds since 1970 UTC; revisions, generations and
 * epochs are safe integers.
 */

export type * from './model/ids.ts';
export type * from './model/spec.ts';
export type * from './model/state.ts';
export type * from './model/fleet.ts';
export type * from './model/cluster.ts';
