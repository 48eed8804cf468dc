import type { Demand, Filter, NodeView } from '../plugin.ts';

/** Where the runtime is missing the rule about runtimes says so. */
function canTake({ imageContent, runtime }: Demand, { runtimes }: NodeView): boolean {
  const offered = runtimes.get(runtime);
  return imageContent === undefined || offered === undefined || offered.has(imageContent);
}

/** What nobody brings must be there already; what is brought needs a storage that takes it. */
export const imageHere: Filter = {
  name: 'image-here',
  outcome: 'lack its image',
  concerns: ({ imageAt, imageContent }) => imageAt !== undefined || imageContent !== undefined,
  fits: (demand, node) =>
    (demand.imageAt === undefined || demand.imageAt.nodes.has(node.name)) && canTake(demand, node),
  reason: (demand, node) => {
    const { imageAt, imageContent = '' } = demand;
    if (canTake(demand, node)) return imageAt?.because ?? '';
    return `none of its storages takes "${imageContent}", as which its image is brought: allow it on one`;
  },
};
