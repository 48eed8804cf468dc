import { createHash } from 'node:crypto';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import { ociIdentity, storedOci } from './oci-names.ts';

/** What an image's reference names, for guests of clusters. Without its digest. */
export type ImageReference =
  /** A file on a storage: "local:vztmpl/debian-12.tar.zst". */
  | { readonly kind: 'stored'; readonly storage: string; readonly content: Content; readonly volid: string }
  /** A template of machines or containers, by number or name. */
  | { readonly kind: 'template'; readonly name: string }
  /** Any guest, by number; for what was adopted it is itself. Its snapshot is empty: as it is. */
  | { readonly kind: 'guest'; readonly vmid: number; readonly snapshot: string }
  /** Fetched by the cluster. */
  | { readonly kind: 'url'; readonly url: string; readonly digest: Digest }
  /** On the control plane's own host. */
  | { readonly kind: 'file'; readonly path: string; readonly digest: Digest | undefined }
  /** In a registry, pulled by a node: with its tag, by which alone the API pulls. */
  | { readonly kind: 'oci'; readonly reference: string };

export type Content = 'vztmpl' | 'import' | 'iso';

const host = '[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?';
const part = '[a-z0-9]+(?:(?:\\.|__?|-+)[a-z0-9]+)*';
const registryImage = new RegExp(`^(${host}(?:/${part})+)(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$`);

/** As the API takes numbers, and as snapshots are called there and by us. */
const guestImage = /^proxmox:guest\/([1-9][0-9]{2,8})(?:@([A-Za-z0-9][A-Za-z0-9_-]{0,39}))?$/;

const digestText = /@(sha256:[0-9a-f]{64})$/;

/** The guest that is to be copied, and its snapshot. Undefined: it is another kind of image. */
export function copiedGuest(image: string): { readonly vmid: number; readonly snapshot: string } | undefined {
  const [, vmid, snapshot = ''] = guestImage.exec(image.replace(digestText, '')) ?? [];
  return vmid === undefined ? undefined : { vmid: Number(vmid), snapshot };
}

/** unimplemented: an image that only agents can run. */
export function parseImage(image: string): ImageReference {
  const digest = digestText.exec(image)?.[1] as Digest | undefined;
  const reference = image.replace(digestText, '');
  const [, storage, content, name] = /^proxmox:([^:/]+):(vztmpl|import|iso)\/([^/]+)$/.exec(reference) ?? [];
  if (storage !== undefined && content !== undefined && name !== undefined)
    return { kind: 'stored', storage, content: content as Content, volid: `${storage}:${content}/${name}` };
  const [, template] = /^proxmox:template\/([^/]+)$/.exec(reference) ?? [];
  if (template !== undefined) return { kind: 'template', name: template };
  const copied = copiedGuest(reference);
  if (copied !== undefined) return { kind: 'guest', ...copied };
  if (/^https?:/.test(reference) && digest !== undefined) return { kind: 'url', url: reference, digest };
  if (reference.startsWith('tar:')) return { kind: 'file', path: reference.slice('tar:'.length), digest };
  const [, repository, tag = ':latest'] = isOciImage(image) ? (registryImage.exec(reference) ?? []) : [];
  if (repository !== undefined) return { kind: 'oci', reference: `${repository}${tag}` };
  throw new DroverError('unimplemented', `no guest of a cluster can be made from ${image}`, {
    nextStep:
      'name one that is on a storage ("proxmox:local:vztmpl/NAME"), or "https://…@sha256:…" or "tar:/PATH"',
  });
}

/** Whether a guest is made as a copy of one of its cluster. */
export const isCopy = (image: string): boolean => isTemplate(image) || image.startsWith('proxmox:guest/');

/** Whether a guest is a copy of a template of its cluster. */
export const isTemplate = (image: string): boolean => image.startsWith('proxmox:template/');

/** The digest that an image is bound to; undefined: to none. */
export const digestIn = (image: string): Digest | undefined =>
  digestText.exec(image)?.[1] as Digest | undefined;

/**
 * What stands for a file or a guest of a cluster, which tells no digest: another name or size is another
 * image. It says nothing of the content.
 */
export const identityOf = (name: string, size: number): Digest =>
  `sha256:${createHash('sha256').update(`${name} ${size}`).digest('hex')}` as Digest;

const endings = ['.tar.gz', '.tar.xz', '.tar.zst', '.tar.bz2', '.qcow2', '.raw', '.vmdk', '.iso'];
/** Others that mean one of them: a cloud image called ".img" is in qcow2. */
const otherEndings = new Map([
  ['.tgz', '.tar.gz'],
  ['.img', '.qcow2'],
]);

/** The name of what we fetched, made of its digest: the same image is there once. invalid-argument. */
export function storedName(
  digest: Digest,
  from: string,
): { readonly name: string; readonly content: Content } {
  const path = from.split(/[?#]/)[0]?.toLowerCase() ?? '';
  const other = [...otherEndings.keys()].find((each) => path.endsWith(each)) ?? '';
  const ending = endings.find((each) => path.endsWith(each)) ?? otherEndings.get(other);
  if (ending === undefined) {
    const known = [...endings, ...otherEndings.keys()].join(', ');
    throw new DroverError('invalid-argument', `wanted an image that ends in ${known}: ${from}`);
  }
  return { name: `drover-${digest.replace(':', '-')}${ending}`, content: contentOf(ending) };
}

function contentOf(ending: string): Content {
  if (ending.startsWith('.tar.')) return 'vztmpl';
  return ending === '.iso' ? 'iso' : 'import';
}

/** Undefined: not one that we fetched. */
export function digestOfStored(volid: string): Digest | undefined {
  const [, hex] = /\/drover-sha256-([0-9a-f]{64})\.[a-z0-9.]+$/.exec(volid) ?? [];
  return hex === undefined ? undefined : (`sha256:${hex}` as Digest);
}

/** Whether a container's program and environment came with its image. */
export const isOciImage = (image: string): boolean =>
  !/^(?:https?|tar|oci|lxc|proxmox):/.test(image) && registryImage.test(image.replace(digestText, ''));

/** A file on a storage as an image: what it is called by, and whether Drover brought it. */
export function storedImage({ volid, sizeBytes }: { readonly volid: string; readonly sizeBytes: number }): {
  readonly digest: Digest;
  readonly reference: string;
  readonly isOurs: boolean;
} {
  const oci = storedOci(volid);
  const digest = digestOfStored(volid) ?? (oci && ociIdentity(oci.name, sizeBytes));
  return {
    digest: digest ?? identityOf(volid, sizeBytes),
    reference: oci?.reference ?? `proxmox:${volid}`,
    isOurs: digest !== undefined,
  };
}
