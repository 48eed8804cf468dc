import { chmod, chown, mkdir, readdir, realpath, rm, rmdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { VolumeId } from '#shared/model.ts';
import type { CommandResult, HostCommands } from '../host/command.ts';
import { readIfThere, syncDirectory, writeDurably } from '../host/durable-file.ts';
import { mountIdmapped } from '../host/idmapped-overlay.ts';
import { readMounts } from './mounts.ts';
import type { FoundVolume, IdRange, VolumeDriver } from './volume-driver.ts';

export interface DirectoryDriverOptions {
  /** Absolute; all that it makes is below. Directories above must let others pass (o+x). */
  readonly directory: string;
  readonly run: HostCommands['run'];
}

/** Of what a root was made; written before it is first mounted, and never changed. */
interface VolumeRecord {
  readonly digest: string;
  readonly lower: string;
  readonly range: IdRange;
}

const mountMs = 30_000;
const removeMs = 10 * 60_000;
const usageMs = 5 * 60_000;
const passable = 0o711;
const mountPoints = ['root', 'lower'] as const;
type MountPoint = (typeof mountPoints)[number];
const idText = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

/**
 * Roots as overlays in plain directories: the image below, and
 * <directory>/<id>/{upper,work,root,volume.json} for each instance. A directory without volume.json was
 * never handed out. No quota. Where the image has its own ids, they are shifted on the way, and
 * <directory>/<id>/lower is there for the moment of the mount.
 */
export function createDirectoryDriver({ directory, run }: DirectoryDriverOptions): VolumeDriver {
  /** The last line before paths and tools: ids are checked again. */
  function home(id: VolumeId): string {
    if (idText.test(id)) return path.join(directory, id);
    throw new DroverError('invalid-argument', 'not an instance id', { subject: { instance: id } });
  }
  const recordFile = (id: VolumeId): string => path.join(home(id), 'volume.json');

  async function readRecord(id: VolumeId): Promise<VolumeRecord | undefined> {
    const raw = await readIfThere(recordFile(id));
    return raw === undefined ? undefined : (JSON.parse(raw) as VolumeRecord);
  }

  async function make(
    id: VolumeId,
    record: VolumeRecord,
    range: IdRange,
    signal: AbortSignal,
  ): Promise<void> {
    if (await exists(home(id))) {
      await release(id, signal);
      await removeTree(run, home(id), signal);
    }
    await mkdir(home(id), { recursive: true, mode: passable });
    for (const each of [directory, home(id)]) await chmod(each, passable);
    const upper = path.join(home(id), 'upper');
    await mkdir(upper);
    // Upper is the root that the guest sees: its owner is the guest's own, its mode the image's.
    await chown(upper, range.base, range.base);
    await chmod(upper, (await stat(record.lower)).mode & 0o7777);
    await mkdir(path.join(home(id), 'work'), { mode: 0o700 });
    for (const place of mountPoints) await mkdir(path.join(home(id), place));
    await writeDurably(recordFile(id), JSON.stringify(record));
    await syncDirectory(directory);
  }

  async function mount(
    id: VolumeId,
    record: VolumeRecord,
    unshifted: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { lower, range } = record;
    const [target, bind] = [path.join(home(id), 'root'), path.join(home(id), 'lower')];
    const at = (name: string): string => escapeOption(path.join(home(id), name));
    const data = `upperdir=${at('upper')},workdir=${at('work')}`;
    const layers = `lowerdir=${escapeOption(lower)},${data}`;
    const options = { signal, timeoutMs: mountMs };
    const result = unshifted
      ? await mountIdmapped(run, { lower, bind, target, data, range }, options)
      : await run('mount', ['-t', 'overlay', '-o', `nodev,${layers}`, 'overlay', target], options);
    // The tool's exit code is a hint; the mount table is the truth.
    if ((await countMounts(id, 'root')) > 0) return;
    throw toolError(unshifted ? 'the idmapped mount' : 'mount', result, id);
  }

  async function release(id: VolumeId, signal: AbortSignal): Promise<void> {
    for (const place of mountPoints) await unmount(id, place, signal);
  }

  async function unmount(id: VolumeId, place: MountPoint, signal: AbortSignal): Promise<void> {
    for (let count = await countMounts(id, place); count > 0; ) {
      const args = ['--', path.join(home(id), place)];
      const result = await run('umount', args, { signal, timeoutMs: mountMs });
      const left = await countMounts(id, place);
      if (left >= count) throw toolError('umount', result, id);
      count = left;
    }
  }

  async function countMounts(id: VolumeId, place: MountPoint): Promise<number> {
    const wanted = path.join(await realpath(home(id)).catch(() => home(id)), place);
    return (await readMounts()).filter(({ target }) => target === wanted).length;
  }

  async function found(id: VolumeId): Promise<FoundVolume> {
    return { id, kind: 'root', range: (await readRecord(id))?.range, diskMib: 0 };
  }

  return {
    name: 'directory',
    pool: 'local',
    fingerprint: async () => ({
      name: 'local',
      driver: 'directory',
      version: '',
      healthy: true,
      detail: '',
      capabilities: [],
      sizeMib: 0,
      freeMib: 0,
    }),
    prepareData: refuse,
    setQuota: refuse,
    snapshot: refuse,
    snapshots: refuse,
    rollback: refuse,
    removeSnapshot: refuse,
    clone: refuse,
    send: refuseStream,
    receive: refuse,
    listImages: async () => [],
    removeImage: async () => {},
    close: async () => {},
    async prepare({ id, image, range }, signal) {
      const wanted = { digest: image.digest, lower: image.rootfs, range };
      const found = await readRecord(id);
      if (found === undefined) await make(id, wanted, range, signal);
      else checkSame(found, wanted, id);
      const root = path.join(home(id), 'root');
      await checkPassable(root);
      // Left by a tool that was killed between its mounts.
      await unmount(id, 'lower', signal);
      if ((await countMounts(id, 'root')) === 0)
        await mount(id, wanted, image.range.base !== range.base, signal);
      return { path: root, quotaEnforced: false };
    },
    release,
    async remove(id, signal) {
      await release(id, signal);
      if (!(await exists(home(id)))) return;
      // Without its record first: what a crash leaves of it is then never taken for a whole root.
      await rm(recordFile(id), { force: true });
      await syncDirectory(home(id));
      await removeTree(run, home(id), signal);
    },
    async usage(id, signal) {
      if ((await readRecord(id)) === undefined) {
        throw new DroverError('not-found', `no root of ${id}`, { subject: { instance: id } });
      }
      // du(1) walks by descriptor: a guest that swaps directories for links meanwhile leads it nowhere.
      const args = ['-sx', '--block-size=1', '--', path.join(home(id), 'upper')];
      const result = await run('du', args, { signal, timeoutMs: usageMs });
      const bytes = Number.parseInt(result.stdout, 10);
      // du fails for files that the guest removed under it, and still has its sum.
      if (!Number.isSafeInteger(bytes)) throw toolError('du', result, id);
      return { bytes };
    },
    async list() {
      const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return [];
        throw error;
      });
      const ids = names.filter((name) => idText.test(name)) as VolumeId[];
      return Promise.all(ids.map(found));
    },
  };
}

const refuse = async (): Promise<never> => {
  throw new DroverError('unimplemented', 'the directory driver cannot do that');
};

async function* refuseStream(): AsyncGenerator<never> {
  yield await refuse();
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** A root over another image would be neither the old one nor the new. */
function checkSame(found: VolumeRecord, wanted: VolumeRecord, id: VolumeId): void {
  const isSame =
    found.lower === wanted.lower &&
    found.range.base === wanted.range.base &&
    found.range.size === wanted.range.size;
  if (isSame) return;
  throw new DroverError(
    'failed-precondition',
    `wanted a root of ${wanted.digest} for ids from ${wanted.range.base}, ` +
      `found one of ${found.digest} for ids from ${found.range.base}`,
    { subject: { instance: id }, nextStep: 'remove the instance; a new one gets a new root' },
  );
}

/** Guests come to their root as somebody else, so everybody must be let through. */
async function checkPassable(root: string): Promise<void> {
  for (let above = path.dirname(root); above !== path.dirname(above); above = path.dirname(above)) {
    if (((await stat(above)).mode & 0o001) !== 0) continue;
    throw new DroverError('failed-precondition', `others cannot pass ${above}, so no guest can`, {
      nextStep: `chmod o+x ${above}`,
    });
  }
}

/** Overlayfs: comma separates options, colon separates lower directories. */
const escapeOption = (text: string): string => text.replaceAll(/[\\,:]/g, '\\$&');

const emptyParts = ['upper', 'work/work', 'work', 'root', 'lower', ''];

/**
 * A guest that wrote nothing leaves empty directories, and no tool is needed for those. False: there is more.
 */
async function removeEmpty(tree: string): Promise<boolean> {
  for (const part of emptyParts) {
    try {
      await rmdir(path.join(tree, part));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') return false;
    }
  }
  return true;
}

/** Stays on one file system: what somebody mounted below is not ours to remove. */
async function removeTree(run: HostCommands['run'], tree: string, signal: AbortSignal): Promise<void> {
  if (await removeEmpty(tree)) return;
  const args = ['-rf', '--one-file-system', '--', tree];
  const { exitCode, stderr } = await run('rm', args, { signal, timeoutMs: removeMs });
  if (exitCode !== 0) throw new DroverError('unavailable', `rm: ${stderr.trim().slice(0, 500)}`);
}

function toolError(tool: string, { stderr, exitCode }: CommandResult, id: VolumeId): DroverError {
  const words = stderr.trim().slice(0, 500) || `exit ${exitCode}`;
  const kind = /no space left|quota/i.test(words) ? 'resource-exhausted' : 'unavailable';
  return new DroverError(kind, `${tool}: ${words}`, { subject: { instance: id } });
}
