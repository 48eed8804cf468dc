import type { Filter } from '../plugin.ts';

/** A data volume does not move: what has one goes where it lies. */
export const volumesHere: Filter = {
  name: 'volumes-here',
  outcome: 'without its volume',
  concerns: ({ anchor }) => anchor !== undefined,
  fits: ({ anchor }, { name }) => anchor === undefined || anchor.node === name,
  reason: ({ anchor }) => `its volume ${anchor?.volume} lies on ${anchor?.node}`,
};
