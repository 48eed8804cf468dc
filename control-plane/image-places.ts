import type { Demand, NodeView } from './scheduler/plugin.ts';

const nodesTold = 5;

/** What stands for a digest in a plan, before anybody was asked. */
const isDigest = (text: string): boolean => /^sha256:[0-9a-f]{64}$/.test(text) && !/^sha256:0+$/.test(text);

/** Whether a node has an image that nobody brings there: a file on a storage, or a template. */
export function hasImage({ images }: Pick<NodeView, 'images'>, image: string): boolean {
  const [reference = '', digest = ''] = image.split('@');
  return images.has(isDigest(digest) ? digest : reference);
}

/**
 * The demand with where its image can be had, where that is not everywhere: what is on the storage of one
 * cluster's node is brought to no other. What no node tells of is kept from none: it may have come just now;
 * and nothing is kept from a node that has not told yet.
 */
export function withImagePlaces(demand: Demand, nodes: readonly NodeView[]): Demand {
  const { image } = demand;
  const where = placeOf(image);
  if (where === undefined) return demand;
  const having = nodes.filter((node) => hasImage(node, image)).map(({ name }) => name);
  if (having.length === 0) return demand;
  const untold = nodes.filter(({ imagesListed }) => imagesListed !== true).map(({ name }) => name);
  const sorted = having.toSorted();
  const more = sorted.length > nodesTold ? ` and ${sorted.length - nodesTold} more` : '';
  const because = `its image is on ${where}${sorted.slice(0, nodesTold).join(', ')}${more} alone`;
  return { ...demand, imageAt: { nodes: new Set([...having, ...untold]), because } };
}

/** "storage local of ". Undefined: it is brought wherever it is wanted. */
function placeOf(image: string): string | undefined {
  if (image.startsWith('proxmox:template/')) return '';
  const storage = /^proxmox:([^:/]+):(?:vztmpl|import|iso)\//.exec(image)?.[1];
  return storage === undefined ? undefined : `storage ${storage} of `;
}
