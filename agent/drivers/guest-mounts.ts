import { lstat, readlink, stat } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { GuestMount } from './driver.ts';

/** As the kernel has it. */
const maxLinks = 40;
const ownMounts = ['proc', 'sys', 'dev'];

/**
 * Where an absolute path leads inside a root with these volumes in it, every link taken as the guest would
 * take it: none leads out. What is not there yet is kept as it is written. Nobody else may change the root
 * meanwhile. invalid-argument: its links go round in circles.
 */
export async function resolveInRoot(
  rootfs: string,
  place: string,
  mounts: readonly GuestMount[] = [],
): Promise<string> {
  const open = place.split('/');
  const done: string[] = [];
  for (let links = 0; open.length > 0; ) {
    const part = open.shift() ?? '';
    if (part === '' || part === '.') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const target = await linkTarget(onHost(rootfs, mounts, `/${[...done, part].join('/')}`));
    if (target === undefined) {
      done.push(part);
      continue;
    }
    links += 1;
    if (links > maxLinks) throw new DroverError('invalid-argument', `the links of ${place} have no end`);
    if (target.startsWith('/')) done.length = 0;
    open.unshift(...target.split('/'));
  }
  return `/${done.join('/')}`;
}

/** The deepest volume has it. */
function onHost(rootfs: string, mounts: readonly GuestMount[], place: string): string {
  const mount = mounts.findLast(({ target }) => place.startsWith(`${target}/`));
  return mount === undefined
    ? path.join(rootfs, place)
    : path.join(mount.source, place.slice(mount.target.length));
}

async function linkTarget(place: string): Promise<string | undefined> {
  try {
    return (await lstat(place)).isSymbolicLink() ? await readlink(place) : undefined;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/**
 * The data volumes as they are to be mounted: targets without links, the outer ones first. invalid-argument:
 * a target that is no plain path, that leads to "/" or into /proc, /sys or /dev, that two have; a source that
 * is not a directory.
 */
export async function placeMounts(rootfs: string, mounts: readonly GuestMount[]): Promise<GuestMount[]> {
  for (const mount of mounts) await checkMount(mount);
  let wanted = mounts.toSorted(byDepth);
  // A link may lead into a volume that seemed to come later: until each is where it was looked for.
  for (let attempt = 0; attempt <= mounts.length; attempt += 1) {
    const placed = (await placeOnce(rootfs, wanted)).toSorted(byDepth);
    if (placed.every(({ target }, index) => target === wanted[index]?.target)) return placed;
    wanted = placed;
  }
  throw new DroverError('invalid-argument', 'the links at the volumes lead into one another');
}

const byDepth = (a: GuestMount, b: GuestMount): number =>
  a.target.split('/').length - b.target.split('/').length;

async function placeOnce(rootfs: string, mounts: readonly GuestMount[]): Promise<GuestMount[]> {
  const placed: GuestMount[] = [];
  for (const mount of mounts) {
    const target = await resolveInRoot(rootfs, mount.target, placed);
    const [, first = ''] = target.split('/');
    if (first === '' || ownMounts.includes(first)) throw refuse(mount, `it leads to ${target} in this root`);
    if (placed.some((other) => other.target === target)) throw refuse(mount, `two volumes lead to ${target}`);
    placed.push({ ...mount, target });
  }
  return placed;
}

async function checkMount(mount: GuestMount): Promise<void> {
  const isDots = (part: string): boolean => part === '.' || part === '..';
  if (!/^(\/[^/\p{Cc}]+)+$/u.test(mount.target) || mount.target.split('/').some(isDots))
    throw refuse(mount, 'wanted an absolute path such as "/var/lib/data"');
  const source = path.isAbsolute(mount.source) ? await stat(mount.source).catch(() => undefined) : undefined;
  if (source?.isDirectory() !== true) throw refuse(mount, `its volume has no directory ${mount.source}`);
}

const refuse = ({ target }: GuestMount, why: string): DroverError =>
  new DroverError('invalid-argument', `cannot mount at ${JSON.stringify(target)}: ${why}`, {
    subject: { field: 'volumes' },
  });
