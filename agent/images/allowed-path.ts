import { constants } from 'node:fs';
import { type FileHandle, open, realpath } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import { refuse } from './manifest.ts';

export interface AllowedPlaces {
  /** What lies there: "layout", "tarball". */
  readonly what: string;
  /** "oci:", "tar:". */
  readonly scheme: string;
  readonly directories: readonly string[];
  /** What allows more. */
  readonly nextStep: string;
}

/**
 * The real path of something below one of the directories that the node's owner allows, links resolved. not-
 * found; permission-denied, which does not tell whether a forbidden path exists.
 */
export async function allowedPath(places: AllowedPlaces, wanted: string): Promise<string> {
  const { what, scheme, directories, nextStep } = places;
  const subject = { image: `${scheme}${wanted}` };
  const allowed = await Promise.all(directories.map((each) => realpath(each).catch(() => each)));
  const isBelow = (found: string, roots: readonly string[]): boolean =>
    roots.some((each) => `${found}/`.startsWith(`${each}/`));
  const found = await realpath(wanted).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (found !== undefined && isBelow(found, allowed)) return found;
  const asWritten = path.normalize(wanted);
  if (found === undefined && (isBelow(asWritten, allowed) || isBelow(asWritten, directories))) {
    throw new DroverError('not-found', `no ${what} in ${wanted}`, { subject });
  }
  throw new DroverError('permission-denied', `${what}s in ${wanted} are not allowed on this node`, {
    subject,
    nextStep,
  });
}

/** Links are not followed and fifos not waited for: whoever may write there may not be root. */
export async function openRegular(file: string): Promise<FileHandle> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(file, flags).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new DroverError('not-found', `there is no ${file}`);
    if (error.code === 'ELOOP') throw refuse(`${file} is a link`);
    throw error;
  });
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw refuse(`${file} is not a file`);
}
