import type { Demand, NodeView } from './scheduler/plugin.ts';

const nodesTold = 5;

/** All zeros stand for a digest in a plan, before anybody was asked. */
const unknownDigest = /^sha256:0+$/;

/** Whether a node has an image that nobody brings there: a file on a storage, a template, another guest. */
export function hasImage({ images }: Pick<NodeView, 'images'>, image: string): boolean {
  // A guest's snapshot stands behind an "@" as well.
  const [, reference = image, digest = ''] = /^(.*)@(sha256:[0-9a-f]{64})$/.exec(image) ?? [];
  return images.has(digest === '' || unknownDigest.test(digest) ? reference : digest);
}

/** As storages of clusters name it. Undefined: it is not brought to one. */
function contentOf({ image, runtime }: Demand): string | undefined {
  const isBrought = image !== '' && !image.startsWith('proxmox:');
  if (!isBrought) return undefined;
  if (runtime === 'proxmox-lxc') return 'vztmpl';
  if (runtime !== 'proxmox-vm') return undefined;
  return /\.iso(?:[?#@]|$)/i.test(image) ? 'iso' : 'import';
}

/**
 * The demand with where its image can be had, where that is not everywhere: what is on the storage of one
 * cluster's node is brought to no other. What no node tells of is kept from none: it may have come just now;
 * and nothing is kept from a node that has not told yet. Of what is brought: what a storage must take for it.
 */
export function withImagePlaces(demand: Demand, nodes: readonly NodeView[]): Demand {
  const { image } = demand;
  const where = placeOf(image);
  const imageContent = contentOf(demand);
  if (imageContent !== undefined) return { ...demand, imageContent };
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
  if (/^proxmox:(?:template|guest)\//.test(image)) return '';
  const storage = /^proxmox:([^:/]+):(?:vztmpl|import|iso)\//.exec(image)?.[1];
  return storage === undefined ? undefined : `storage ${storage} of `;
}
