import { createHash } from 'node:crypto';
import type { Digest } from '#shared/model.ts';
import type { ClusterVersion } from '../guests/guest-kind.ts';

/** From 9.1 on nodes pull OCI images, and the program and the environment of a container can be set. */
export const takesOci = ({ major, minor }: ClusterVersion): boolean =>
  major > 9 || (major === 9 && minor >= 1);

const letters: Readonly<Record<string, string>> = { _: '_u', '/': '_s', ':': '_c' };
const signs: Readonly<Record<string, string>> = { u: '_', s: '/', c: ':' };
/** References of images can name files up to so many characters. */
const longestName = 160;
const prefix = 'drover-oci-';

/**
 * The name of the file that a reference becomes on a storage, without the ".tar" that the cluster adds. The
 * same reference is there once, and can be read out of it unless it is too long.
 */
export function ociFileName(reference: string): string {
  const written = reference.replace(/[_/:]/g, (sign) => letters[sign] ?? '');
  if (written.length <= longestName) return `${prefix}${written}`;
  return `${prefix}_h${createHash('sha256').update(reference).digest('hex')}`;
}

export interface StoredOci {
  /** "drover-oci-…", without its ending. */
  readonly name: string;
  /** Undefined: it was too long for a name. */
  readonly reference: string | undefined;
}

/** Undefined: not one that we had pulled. */
export function storedOci(volid: string): StoredOci | undefined {
  const [, name] = /:vztmpl\/(drover-oci-[A-Za-z0-9_.-]+)\.tar$/.exec(volid) ?? [];
  if (name === undefined) return undefined;
  const written = name.slice(prefix.length);
  if (written.startsWith('_h')) return { name, reference: undefined };
  return { name, reference: written.replace(/_([usc])/g, (_, letter: string) => signs[letter] ?? '') };
}

/** Stands for what a tag was when it was pulled: the API tells no digest. Another size is another image. */
export const ociIdentity = (name: string, sizeBytes: number): Digest =>
  `sha256:${createHash('sha256').update(`${name} ${sizeBytes}`).digest('hex')}` as Digest;
