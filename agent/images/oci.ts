import { readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { HostCommands } from '../host/command.ts';
import { writeDurably } from '../host/durable-file.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import { parseImageConfig } from './image-config.ts';
import type { ImageSource, PulledImage, PullProgress } from './image-source.ts';
import { createImageStore, type StagedImage } from './image-store.ts';
import { createJoiner } from './joiner.ts';
import { layoutOrigin, readCopied } from './layout-origin.ts';
import {
  choosePlatform,
  defaultLimits,
  digestOf,
  formatPlatform,
  type ImageLimits,
  isGzip,
  type Manifest,
  type ManifestIndex,
  parseManifest,
  platformsOf,
} from './manifest.ts';
import type { ImageOrigin } from './origin.ts';
import { formatReference, parseReference, type Reference } from './reference.ts';
import { registryOrigin } from './registry-origin.ts';
import { unlessStalled } from './stall.ts';
import { checkRoom, noRoom, unpack } from './unpack.ts';

export interface OciSourceOptions {
  /** All that it keeps is below; directories above must let others pass (o+x). */
  readonly directory: string;
  /** Holds <name>.json, each a container auth file of mode 0600. */
  readonly credentialsDir: string;
  /** Registries that may be asked without TLS: "127.0.0.1:5000", or "127.0.0.1" for all its ports. */
  readonly insecureRegistries: readonly string[];
  /** Where "oci:/path" may point to. */
  readonly layoutDirs: readonly string[];
  /** Of this node, in the words of OCI: "amd64". */
  readonly architecture: string;
  readonly run: HostCommands['run'];
  readonly clock: Clock;
  readonly random: Random;
  readonly limits?: ImageLimits;
  /** A fetch of which nothing comes for this long is given up. */
  readonly stallMs?: number;
}

type Report = (progress: PullProgress) => void;

interface ChosenManifest {
  readonly digest: Digest;
  readonly manifest: Manifest;
}

/** Which images skopeo may take. */
const policy = {
  default: [{ type: 'reject' }],
  transports: { docker: { '': [{ type: 'insecureAcceptAnything' }] } },
};
/** Long for a registry that fetches from another first, short for one that is hung. */
const defaultStallMs = 120_000;

/** OCI images, from registries with skopeo and from layouts on this node, unpacked with umoci. */
export function createOciSource(options: OciSourceOptions): ImageSource {
  const { architecture, clock, run, limits = defaultLimits, stallMs = defaultStallMs } = options;
  const store = createImageStore(options);
  const joiner = createJoiner<PulledImage, PullProgress>();
  const policyFile = path.join(options.directory, 'policy.json');
  let opening: Promise<void> | undefined;

  /** Once for all; a failed attempt does not count. */
  function open(signal: AbortSignal): Promise<void> {
    const openAll = async (): Promise<void> => {
      await store.open(signal);
      await writeDurably(policyFile, JSON.stringify(policy));
    };
    opening ??= openAll().catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    return opening;
  }

  function originOf(reference: Reference, credential: string): Promise<ImageOrigin> {
    if (reference.kind === 'layout') return layoutOrigin(options.layoutDirs, reference);
    return registryOrigin({ ...options, policyFile, temporaryDir: store.stagingDir }, reference, credential);
  }

  /** The manifest for this node; the index, where there is one, is kept for find. */
  async function choose(origin: ImageOrigin, digest: Digest, signal: AbortSignal): Promise<ChosenManifest> {
    const raw = await origin.readManifest(digest, signal);
    const document = parseManifest(raw, limits);
    if (document.kind === 'manifest') return { digest, manifest: document };
    const entry = choosePlatform(document, architecture);
    if (entry === undefined) throw otherPlatform(platformsOf(document), architecture);
    const manifest = parseManifest(await origin.readManifest(entry.digest, signal), limits);
    if (manifest.kind === 'index')
      throw new DroverError('invalid-argument', 'the image is an index of indexes');
    await store.saveIndex(digest, raw);
    return { digest: entry.digest, manifest };
  }

  async function fetchLayout(
    origin: ImageOrigin,
    chosen: ChosenManifest,
    layout: string,
    signal: AbortSignal,
    report: Report,
  ): Promise<Manifest> {
    const { layers } = chosen.manifest;
    const bytesTotal = layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
    await checkRoom(path.dirname(layout), bytesTotal);
    const tell = (bytesDone: number): void => report({ step: 'fetching', bytesDone, bytesTotal });
    tell(0);
    await unlessStalled((unstalled) => origin.copy(chosen, layout, unstalled), {
      clock,
      signal,
      measure: () => bytesIn(layout),
      onMeasured: tell,
      stallMs,
    });
    const copied = parseManifest(await readCopied(layout), limits);
    if (copied.kind === 'index' || !hasLayers(copied, chosen.manifest)) {
      throw new DroverError('data-loss', `${chosen.digest}: other layers came than its manifest lists`);
    }
    return copied;
  }

  async function make(
    reference: Reference,
    chosen: ChosenManifest,
    origin: ImageOrigin,
    range: IdRange,
    staged: StagedImage,
    signal: AbortSignal,
    report: Report,
  ): Promise<PulledImage> {
    const { digest } = chosen;
    const { config, platform } = parseImageConfig(await origin.readConfig(digest, chosen.manifest, signal));
    if (platform.os !== 'linux' || platform.architecture !== architecture) {
      throw otherPlatform([formatPlatform(platform)], architecture);
    }
    const layout = path.join(staged.directory, 'layout');
    const manifest = await fetchLayout(origin, chosen, layout, signal, report);
    const rootfs = path.join(staged.directory, 'rootfs');
    report({ step: 'unpacking', bytesDone: 0, bytesTotal: 0 });
    const { bytes } = await unpack(run, { layout, manifest, rootfs, range, limits }, signal);
    await rm(layout, { recursive: true, force: true });
    const record = { digest, config, sizeBytes: bytes, references: namesOf(reference) };
    const image = await store.commit(staged, record, range, signal);
    report({ step: 'ready', bytesDone: bytes, bytesTotal: bytes });
    return image;
  }

  async function pullAnew(
    reference: Reference & { digest: Digest },
    credential: string,
    range: IdRange,
    signal: AbortSignal,
    report: Report,
  ): Promise<PulledImage> {
    await open(signal);
    // What a removal that was cut off had hidden is back now, and needs no registry.
    const known = await findKnown(await manifestOf(reference.digest), range, reference);
    if (known !== undefined) return known;
    report({ step: 'resolving', bytesDone: 0, bytesTotal: 0 });
    const origin = await originOf(reference, credential);
    const chosen = await choose(origin, reference.digest, signal);
    const found = await findKnown(chosen.digest, range, reference);
    if (found !== undefined) return found;
    await using staged = await store.stage();
    return await make(reference, chosen, origin, range, staged, signal, report).catch(noRoom);
  }

  async function findKnown(
    digest: Digest,
    range: IdRange,
    reference: Reference,
  ): Promise<PulledImage | undefined> {
    const found = await store.find(digest, range);
    if (found !== undefined) await store.addReferences(digest, range, namesOf(reference));
    return found;
  }

  /** What a digest stands for on this node, as far as it is known without asking anybody. */
  async function manifestOf(digest: Digest): Promise<Digest> {
    const raw = await store.readIndex(digest);
    if (raw === undefined) return digest;
    return choosePlatform(parseManifest(raw, limits) as ManifestIndex, architecture)?.digest ?? digest;
  }

  return {
    name: 'oci',
    takes: isReference,
    async resolve(text, credential, signal) {
      await open(signal);
      const reference = parseReference(text);
      const origin = await originOf(reference, credential);
      const raw = await origin.readManifest(reference.digest, signal);
      const digest = digestOf(raw);
      const document = parseManifest(raw, limits);
      if (document.kind === 'index') return { digest, platforms: platformsOf(document) };
      const { platform } = parseImageConfig(await origin.readConfig(digest, document, signal));
      return { digest, platforms: [formatPlatform(platform)] };
    },
    async pull({ reference: text, credential, range, onProgress }, signal) {
      const reference = parseReference(text);
      const { digest } = reference;
      if (digest === undefined) {
        throw new DroverError('invalid-argument', `a pull wants a digest, found ${text}`);
      }
      const known = await findKnown(await manifestOf(digest), range, reference);
      if (known !== undefined) return known;
      const key = `${digest} ${range.base} ${range.size}`;
      return joiner.join(key, { signal, onProgress }, (shared, report) =>
        pullAnew({ ...reference, digest }, credential, range, shared, report),
      );
    },
    async find(text, range) {
      const { digest } = parseReference(text);
      return digest === undefined ? undefined : store.find(await manifestOf(digest), range);
    },
    async remove(digest, signal, isUsed = () => false) {
      const freedBytes = await store.remove(digest, isUsed, signal);
      for (const index of await store.listIndexes()) {
        if ((await manifestOf(index)) === digest) await store.removeIndex(index);
      }
      return freedBytes;
    },
    list: () => store.list(),
  };
}

function isReference(text: string): boolean {
  try {
    parseReference(text);
    return true;
  } catch {
    return false;
  }
}

/** What was asked for, by tag and by digest: the digest may be that of an index. */
function namesOf(reference: Reference): string[] {
  const bare = formatReference({ ...reference, tag: '' });
  const tagged = reference.tag === '' ? [] : [formatReference(reference)];
  return reference.digest === undefined ? tagged : [...tagged, `${bare}@${reference.digest}`];
}

/** A layer that was not compressed may be compressed on its way, so only the others can be compared. */
const hasLayers = (found: Manifest, wanted: Manifest): boolean =>
  found.layers.length === wanted.layers.length &&
  wanted.layers.every((layer, index) => !isGzip(layer) || layer.digest === found.layers[index]?.digest);

const otherPlatform = (found: readonly string[], architecture: string): DroverError =>
  new DroverError(
    'not-found',
    `no image for this platform: wanted linux/${architecture}, found ${found.join(', ') || 'none'}`,
    { reason: 'no-platform' },
  );

/** Bytes that skopeo has written so far. */
async function bytesIn(layout: string): Promise<number> {
  const names = await readdir(layout, { recursive: true });
  const sizes = names.map(async (name) => {
    const found = await stat(path.join(layout, name));
    return found.isFile() ? found.size : 0;
  });
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
