import type { Filter } from '../plugin.ts';

/** What nobody brings must be there already. */
export const imageHere: Filter = {
  name: 'image-here',
  outcome: 'lack its image',
  concerns: ({ imageAt }) => imageAt !== undefined,
  fits: ({ imageAt }, { name }) => imageAt === undefined || imageAt.nodes.has(name),
  reason: ({ imageAt }) => imageAt?.because ?? '',
};
