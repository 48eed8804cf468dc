import { chmod, mkdir, readdir, rename, rm, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Digest, Image } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { HostCommands } from '../host/command.ts';
import { namesIn, readIfThere, syncDirectory, writeDurably } from '../host/durable-file.ts';
import { removeTree } from '../host/remove-tree.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import type { ImageConfig, PulledImage } from './image-source.ts';
import { createKeyedLock } from './keyed-lock.ts';
import { digestOf } from './manifest.ts';

/**
 * The images of one node on its disk:
 *
 *     indexes/<hex>.json           each index that was pulled, so that find knows what it stands for here
 *     staging/<uuid>/              pulls under way; whatever a start finds there is garbage
 *     roots/<hex>-<base>-<size>/   rootfs, image.json, and `ready`, written last;
 *                                  `leaving` in its place while it is decided whether the image goes
 *
 * Nobody else on the host may enter a root with the image's own ids (base 0): its setuid files are real.
 *
 * `ready` holds nothing; its time is when the image was last used.
 */
export interface ImageStore {
  readonly stagingDir: string;
  /** Makes the directories, and clears what a crash left. Once is enough, again does no harm. */
  open(signal: AbortSignal): Promise<void>;
  find(digest: Digest, range: IdRange): Promise<PulledImage | undefined>;
  /** A fresh directory, removed with all that is in it unless commit took its root. */
  stage(): Promise<StagedImage>;
  /** Makes a staged root, at <staged>/rootfs, the image of the digest. */
  commit(staged: StagedImage, image: ImageRecord, range: IdRange, signal: AbortSignal): Promise<PulledImage>;
  /** Adds to what the image is known by. */
  addReferences(digest: Digest, range: IdRange, references: readonly string[]): Promise<void>;
  saveIndex(digest: Digest, raw: string): Promise<void>;
  readIndex(digest: Digest): Promise<string | undefined>;
  /** Digests of the indexes that are kept. */
  listIndexes(): Promise<Digest[]>;
  removeIndex(digest: Digest): Promise<void>;
  /**
   * Removes the image's roots, of all ranges; gives the bytes that are free again. First nobody can find it
   * any more, then isUsed is asked, so whoever found it before has said so. failed-precondition: it is used.
   */
  remove(digest: Digest, isUsed: () => boolean, signal: AbortSignal): Promise<number>;
  list(): Promise<Image[]>;
}

export interface StagedImage extends AsyncDisposable {
  readonly directory: string;
}

export interface ImageRecord {
  readonly digest: Digest;
  readonly config: ImageConfig;
  readonly sizeBytes: number;
  readonly references: readonly string[];
}

export interface ImageStoreOptions {
  readonly directory: string;
  readonly run: HostCommands['run'];
  readonly clock: Clock;
  readonly random: Random;
}

const syncMs = 5 * 60_000;
const passable = 0o711;
const rootName = /^([0-9a-f]{64})-(\d+)-(\d+)$/;

export function createImageStore({ directory, run, clock, random }: ImageStoreOptions): ImageStore {
  const stagingDir = path.join(directory, 'staging');
  const rootsDir = path.join(directory, 'roots');
  const locks = createKeyedLock();
  const indexesDir = path.join(directory, 'indexes');
  const indexFile = (digest: Digest): string => path.join(indexesDir, `${hexOf(digest)}.json`);
  const home = (digest: Digest, range: IdRange): string =>
    path.join(rootsDir, `${hexOf(digest)}-${range.base}-${range.size}`);

  /**
   * Removes a staged directory that a tool may still write to: one that was killed just now, or that a
   * killed agent left behind. With a file in the directory's place, whatever it does next fails.
   */
  async function removeStaged(staged: string, signal: AbortSignal): Promise<void> {
    const aside: string[] = [];
    do {
      aside.push(`${staged}.${aside.length}`);
      await rename(staged, aside.at(-1) ?? '');
    } while (!(await makeFile(staged)));
    for (const tree of aside) await removeTree(run, tree, signal);
    await unlink(staged);
  }

  async function open(signal: AbortSignal): Promise<void> {
    for (const each of [directory, rootsDir]) await makePassable(each);
    await mkdir(indexesDir, { recursive: true, mode: 0o700 });
    await mkdir(stagingDir, { recursive: true, mode: 0o700 });
    // What a killed removal had put aside goes first: its longer name is in the way of the shorter one.
    const left = (await readdir(stagingDir)).toSorted((one, other) => other.length - one.length);
    for (const name of left) await removeStaged(path.join(stagingDir, name), signal);
    for (const name of await readdir(rootsDir)) {
      const root = path.join(rootsDir, name);
      await renameIfThere(path.join(root, 'leaving'), path.join(root, 'ready'));
      if ((await readyAtMs(root)) === undefined) await removeTree(run, root, signal);
    }
  }

  async function find(digest: Digest, range: IdRange): Promise<PulledImage | undefined> {
    const root = home(digest, range);
    const now = clock.nowMs() / 1000;
    try {
      await utimes(path.join(root, 'ready'), now, now);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    const { config, sizeBytes } = await readRecord(root);
    return { digest, rootfs: path.join(root, 'rootfs'), config, sizeBytes };
  }

  async function stage(): Promise<StagedImage> {
    const staged = path.join(stagingDir, random.uuidV4());
    await mkdir(staged, { mode: 0o700 });
    // With a signal of its own: a caller that gave up must not stop the clean-up.
    const dispose = (): Promise<void> => removeStaged(staged, new AbortController().signal);
    return { directory: staged, [Symbol.asyncDispose]: dispose };
  }

  async function commit(
    staged: StagedImage,
    image: ImageRecord,
    range: IdRange,
    signal: AbortSignal,
  ): Promise<PulledImage> {
    const root = home(image.digest, range);
    const entry = path.join(staged.directory, 'root');
    await mkdir(entry, { mode: range.base === 0 ? 0o700 : passable });
    await rename(path.join(staged.directory, 'rootfs'), path.join(entry, 'rootfs'));
    await writeDurably(path.join(entry, 'image.json'), JSON.stringify(image));
    // A root that is called ready must be whole after a power cut, too.
    const synced = await run('sync', ['-f', entry], { signal, timeoutMs: syncMs });
    if (synced.exitCode !== 0) throw new DroverError('unavailable', `sync: ${synced.stderr.trim()}`);
    await locks.hold(image.digest, async () => {
      if ((await readyAtMs(root)) !== undefined) return;
      await removeTree(run, root, signal);
      await rename(entry, root);
      await syncDirectory(rootsDir);
      await writeDurably(path.join(root, 'ready'), '');
    });
    const { digest, config, sizeBytes } = image;
    return { digest, rootfs: path.join(root, 'rootfs'), config, sizeBytes };
  }

  async function addReferences(digest: Digest, range: IdRange, references: readonly string[]): Promise<void> {
    const root = home(digest, range);
    const record = await readRecord(root);
    const known = new Set([...record.references, ...references]);
    if (known.size === record.references.length) return;
    await writeDurably(path.join(root, 'image.json'), JSON.stringify({ ...record, references: [...known] }));
  }

  async function removeRoots(digest: Digest, isUsed: () => boolean, signal: AbortSignal): Promise<number> {
    const names = (await namesIn(rootsDir)).filter((name) => name.startsWith(`${hexOf(digest)}-`));
    const roots = names.map((name) => path.join(rootsDir, name));
    const leaving: string[] = [];
    for (const root of roots) {
      if (await renameIfThere(path.join(root, 'ready'), path.join(root, 'leaving'))) leaving.push(root);
    }
    if (isUsed()) {
      for (const root of leaving) await rename(path.join(root, 'leaving'), path.join(root, 'ready'));
      const message = 'the image is used: instances here are made from it';
      throw new DroverError('failed-precondition', message, { subject: { image: digest } });
    }
    let freedBytes = 0;
    for (const root of roots) {
      if (leaving.includes(root)) freedBytes += await unpackedBytes(root);
      await rm(path.join(root, 'leaving'), { force: true });
      await removeTree(run, root, signal);
    }
    return freedBytes;
  }

  return {
    stagingDir,
    open,
    find,
    stage,
    commit,
    addReferences,
    saveIndex: (digest, raw) => writeDurably(indexFile(digest), raw),
    async readIndex(digest) {
      const raw = await readIfThere(indexFile(digest));
      return raw !== undefined && digestOf(raw) === digest ? raw : undefined;
    },
    async listIndexes() {
      const names = (await namesIn(indexesDir)).filter((name) => /^[0-9a-f]{64}\.json$/.test(name));
      return names.map((name) => `sha256:${name.slice(0, 64)}` as Digest);
    },
    removeIndex: (digest) => rm(indexFile(digest), { force: true }),
    remove: (digest, isUsed, signal) => locks.hold(digest, () => removeRoots(digest, isUsed, signal)),
    list: () => listImages(rootsDir),
  };
}

const hexOf = (digest: Digest): string => digest.slice('sha256:'.length);

/** False where the name is taken. */
async function makeFile(file: string): Promise<boolean> {
  try {
    await writeFile(file, '', { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** False where there is no such file. */
async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function makePassable(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: passable });
  await chmod(directory, passable);
}

/** When the image was last used; undefined for what is not whole. */
async function readyAtMs(root: string): Promise<number | undefined> {
  try {
    return (await stat(path.join(root, 'ready'))).mtimeMs;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function readRecord(root: string): Promise<ImageRecord> {
  const raw = await readIfThere(path.join(root, 'image.json'));
  if (raw === undefined) throw new DroverError('data-loss', `${root} has lost its image.json`);
  return JSON.parse(raw) as ImageRecord;
}

/** Zero where its record is lost: it is to go all the same. */
async function unpackedBytes(root: string): Promise<number> {
  const raw = await readIfThere(path.join(root, 'image.json'));
  return raw === undefined ? 0 : (JSON.parse(raw) as ImageRecord).sizeBytes;
}

/** One entry for a digest, whatever the number of its ranges. */
async function listImages(rootsDir: string): Promise<Image[]> {
  const images = new Map<Digest, Image>();
  for (const name of (await namesIn(rootsDir)).filter((each) => rootName.test(each))) {
    const root = path.join(rootsDir, name);
    const usedAtMs = await readyAtMs(root);
    if (usedAtMs === undefined) continue;
    const { digest, sizeBytes, references } = await readRecord(root);
    const other = images.get(digest);
    images.set(digest, {
      digest,
      references: [...new Set([...(other?.references ?? []), ...references])],
      sizeBytes,
      lastUsedAtMs: Math.max(Math.round(usedAtMs), other?.lastUsedAtMs ?? 0),
      ready: true,
      usedBy: 0,
      pinned: false,
    });
  }
  return [...images.values()];
}
