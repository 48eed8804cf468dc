import { realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { VolumeId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { mountIdmapped } from '../host/idmapped-overlay.ts';
import {
  type Homes,
  kindOf,
  type MountPoint,
  mountPoints,
  toolError,
  type VolumeRecord,
} from './directory-home.ts';
import { type MountDetails, mountsAt, mountsNaming } from './mounts.ts';

export interface DirectoryMounts {
  isMounted(id: VolumeId): Promise<boolean>;
  /** Mounts it at <home>/root, once. `isShifted`: the image has other ids than the root. */
  mount(id: VolumeId, record: VolumeRecord, isShifted: boolean, signal: AbortSignal): Promise<string>;
  release(id: VolumeId, signal: AbortSignal): Promise<void>;
}

const mountMs = 30_000;

export function createDirectoryMounts(homes: Homes, run: HostCommands['run']): DirectoryMounts {
  const { home } = homes;

  async function mountRoot(id: VolumeId, record: VolumeRecord, isShifted: boolean, signal: AbortSignal) {
    const { lower, range } = record;
    const [target, bind] = [path.join(home(id), 'root'), path.join(home(id), 'lower')];
    const at = (name: string): string => escapeOption(path.join(home(id), name));
    const data = `upperdir=${at('upper')},workdir=${at('work')}`;
    const layers = `lowerdir=${escapeOption(lower)},${data}`;
    const options = { signal, timeoutMs: mountMs };
    return isShifted
      ? mountIdmapped(run, { lower, bind, target, data, range }, options)
      : run('mount', ['-t', 'overlay', '-o', `nodev,${layers}`, 'overlay', target], options);
  }

  const mountData = (id: VolumeId, record: VolumeRecord, signal: AbortSignal) => {
    const args = [
      '--bind',
      '-o',
      'nodev,nosuid',
      '--',
      homes.content(id, record),
      path.join(home(id), 'root'),
    ];
    return run('mount', args, { signal, timeoutMs: mountMs });
  };

  async function unmount(id: VolumeId, place: MountPoint, signal: AbortSignal): Promise<void> {
    for (let count = await countMounts(id, place); count > 0; ) {
      const args = ['--', path.join(home(id), place)];
      const result = await run('umount', args, { signal, timeoutMs: mountMs });
      const left = await countMounts(id, place);
      if (left >= count) throw toolError('umount', result, id);
      count = left;
    }
  }

  /** mount(8) binds first and says nosuid and nodev then: one that was killed between them said nothing. */
  async function unmountBare(id: VolumeId, signal: AbortSignal): Promise<void> {
    const found = await mountsAt(await placeOf(id, 'root'));
    const isBare = ({ options }: MountDetails): boolean =>
      !['nodev', 'nosuid'].every((option) => options.split(',').includes(option));
    if (found.some(isBare)) await unmount(id, 'root', signal);
  }

  const placeOf = async (id: VolumeId, place: MountPoint): Promise<string> =>
    path.join(await realpath(home(id)).catch(() => home(id)), place);

  async function countMounts(id: VolumeId, place: MountPoint): Promise<number> {
    const near = await mountsNaming(id);
    if (near.length === 0) return 0;
    const wanted = await placeOf(id, place);
    return near.filter(({ target }) => target === wanted).length;
  }

  /** Takes away what a tool left that was killed between its mounts. */
  async function isMountedWhole(id: VolumeId, isRoot: boolean, signal: AbortSignal): Promise<boolean> {
    if ((await mountsNaming(id)).length === 0) return false;
    await unmount(id, 'lower', signal);
    if (!isRoot) await unmountBare(id, signal);
    return (await countMounts(id, 'root')) > 0;
  }

  return {
    isMounted: async (id) => (await countMounts(id, 'root')) > 0,
    async mount(id, record, isShifted, signal) {
      const root = path.join(home(id), 'root');
      await checkPassable(root);
      const isRoot = kindOf(record) === 'root';
      if (await isMountedWhole(id, isRoot, signal)) return root;
      const result = await (isRoot
        ? mountRoot(id, record, isShifted, signal)
        : mountData(id, record, signal));
      // The tool's exit code is a hint; the mount table is the truth.
      if ((await countMounts(id, 'root')) > 0) return root;
      throw toolError(isRoot && isShifted ? 'the idmapped mount' : 'mount', result, id);
    },
    async release(id, signal) {
      if ((await mountsNaming(id)).length === 0) return;
      for (const place of mountPoints) await unmount(id, place, signal);
    },
  };
}

/** Guests come to their root as somebody else, so everybody must be let through. failed-precondition. */
export async function checkPassable(root: string): Promise<void> {
  for (let above = path.dirname(root); above !== path.dirname(above); above = path.dirname(above)) {
    if (((await stat(above)).mode & 0o001) !== 0) continue;
    throw new DroverError('failed-precondition', `others cannot pass ${above}, so no guest can`, {
      nextStep: `chmod o+x ${above}`,
    });
  }
}

/** Overlayfs: comma separates options, colon separates lower directories. */
const escapeOption = (text: string): string => text.replaceAll(/[\\,:]/g, '\\$&');
