import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { HostCommands } from '../host/command.ts';
import { createGate } from '../host/gate.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import { openRegular } from './allowed-path.ts';
import type { ImageSource, PulledImage, PullProgress } from './image-source.ts';
import { createImageStore, type StagedImage } from './image-store.ts';
import { createJoiner } from './joiner.ts';
import { defaultLimits, type ImageLimits } from './manifest.ts';
import { rootArchitecture, templateConfig } from './template-config.ts';
import { createTemplateOrigins, type ImageServer, type TemplateOrigin } from './template-origin.ts';
import {
  formatTemplateReference,
  parseTemplateReference,
  type TemplateReference,
} from './template-reference.ts';
import { noRoom } from './unpack.ts';
import { unpackTarball } from './unpack-tarball.ts';

export interface TemplateSourceOptions {
  /** All that it keeps is below; directories above must let others pass (o+x). No other source has it. */
  readonly directory: string;
  /** Where "tar:/path" may point to. */
  readonly templateDirs: readonly string[];
  /** What "lxc:NAME/…" means. */
  readonly imageServers: Readonly<Record<string, ImageServer>>;
  /** "host:port", or "host" for all its ports, of servers that may be asked without TLS. */
  readonly insecureServers: readonly string[];
  /** Of this node, in the words of OCI: "amd64". */
  readonly architecture: string;
  readonly commands: Pick<HostCommands, 'run' | 'start'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits?: ImageLimits;
  /** A fetch of which nothing comes for this long is given up. */
  readonly stallMs?: number;
}

type Report = (progress: PullProgress) => void;
type Pinned = TemplateReference & { readonly digest: Digest };

const defaultStallMs = 120_000;
const hashBytes = 1024 ** 2;
/** Each takes a core and the disk. */
const unpacksAtOnce = 2;

/**
 * Root file systems as tarballs: on this node, on a web server, or from servers that list theirs as public
 * servers of LXC images do. The digest of such an image is the sha256 of the tarball. A tarball says nothing
 * of itself; its entrypoint is /sbin/init where it has one.
 */
export function createTemplateSource(options: TemplateSourceOptions): ImageSource {
  const { architecture, clock, commands, limits = defaultLimits, stallMs = defaultStallMs } = options;
  const store = createImageStore({ ...options, run: commands.run });
  const joiner = createJoiner<PulledImage, PullProgress>();
  const originOf = createTemplateOrigins({ ...options, limits, stallMs });
  const unpacking = createGate(unpacksAtOnce);
  let opening: Promise<void> | undefined;

  /** Once for all; a failed attempt does not count. */
  function open(signal: AbortSignal): Promise<void> {
    opening ??= store.open(signal).catch((error: unknown) => {
      opening = undefined;
      throw error;
    });
    return opening;
  }

  async function findKnown(reference: Pinned, range: IdRange): Promise<PulledImage | undefined> {
    const found = await store.find(reference.digest, range);
    if (found !== undefined) await store.addReferences(reference.digest, range, namesOf(reference));
    return found;
  }

  async function unpack(
    tarball: FileHandle,
    reference: Pinned,
    range: IdRange,
    staged: StagedImage,
    signal: AbortSignal,
    report: Report,
  ): Promise<PulledImage> {
    const { digest } = reference;
    // Before anything of it is unpacked, so that what was damaged on its way is not called hostile.
    await checkContent(tarball, digest, signal);
    const rootfs = path.join(staged.directory, 'rootfs');
    const bytesTotal = (await tarball.stat()).size;
    const onBytes = (bytesDone: number): void => report({ step: 'unpacking', bytesDone, bytesTotal });
    onBytes(0);
    const request = { tarball, digest, rootfs, range, limits, onBytes };
    const { bytes } = await unpackTarball({ commands, clock }, request, signal);
    const found = await rootArchitecture(rootfs);
    if (found !== undefined && found !== architecture) throw otherPlatform(found, architecture);
    const config = await templateConfig(rootfs);
    const record = { digest, config, sizeBytes: bytes, references: namesOf(reference) };
    const image = await store.commit(staged, record, range, signal);
    report({ step: 'ready', bytesDone: bytes, bytesTotal: bytes });
    return image;
  }

  async function pullAnew(
    reference: Pinned,
    range: IdRange,
    signal: AbortSignal,
    report: Report,
  ): Promise<PulledImage> {
    await open(signal);
    // What a removal that was cut off had hidden is back now, and needs nobody else.
    const known = await findKnown(reference, range);
    if (known !== undefined) return known;
    report({ step: 'resolving', bytesDone: 0, bytesTotal: 0 });
    const origin = await originOf(reference, signal);
    await using staged = await store.stage();
    const tell = (bytesDone: number, bytesTotal: number): void =>
      report({ step: 'fetching', bytesDone, bytesTotal });
    tell(0, 0);
    const file = await origin.fetch(path.join(staged.directory, 'tarball'), tell, signal).catch(noRoom);
    await using tarball = await openRegular(file);
    const work = (): Promise<PulledImage> => unpack(tarball, reference, range, staged, signal, report);
    return await unpacking.pass(work).catch(noRoom);
  }

  return {
    name: 'lxc-template',
    takes: isReference,
    async resolve(text, _credential, signal) {
      const reference = parseTemplateReference(text);
      const origin = await originOf(reference, signal);
      return { digest: await resolveDigest(reference, origin, signal), platforms: [...origin.platforms] };
    },
    async pull({ reference: text, range, onProgress }, signal) {
      const reference = parseTemplateReference(text);
      const { digest } = reference;
      if (digest === undefined) {
        throw new DroverError('invalid-argument', `a pull wants a digest, found ${text}`);
      }
      const pinned = { ...reference, digest };
      const known = await findKnown(pinned, range);
      if (known !== undefined) return known;
      const key = `${digest} ${range.base} ${range.size}`;
      return joiner.join(key, { signal, onProgress }, (shared, report) =>
        pullAnew(pinned, range, shared, report),
      );
    },
    async find(text, range) {
      const { digest } = parseTemplateReference(text);
      return digest === undefined ? undefined : store.find(digest, range);
    },
    remove: (digest, signal, isUsed = () => false) => store.remove(digest, isUsed, signal),
    list: () => store.list(),
  };
}

async function resolveDigest(
  reference: TemplateReference,
  origin: TemplateOrigin,
  signal: AbortSignal,
): Promise<Digest> {
  if (origin.digest !== undefined) return origin.digest;
  await using tarball = await openRegular(origin.place);
  if (reference.digest === undefined) return await hashOf(tarball, signal);
  await checkContent(tarball, reference.digest, signal);
  return reference.digest;
}

async function checkContent(tarball: FileHandle, wanted: Digest, signal: AbortSignal): Promise<void> {
  const found = await hashOf(tarball, signal);
  if (found === wanted) return;
  throw new DroverError('data-loss', `wanted ${wanted}, found content of ${found}`);
}

async function hashOf(tarball: FileHandle, signal: AbortSignal): Promise<Digest> {
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(hashBytes);
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const { bytesRead } = await tarball.read(buffer, 0, hashBytes, position);
    if (bytesRead === 0) return `sha256:${hash.digest('hex')}` as Digest;
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}

function isReference(text: string): boolean {
  try {
    parseTemplateReference(text);
    return true;
  } catch {
    return false;
  }
}

function namesOf(reference: Pinned): string[] {
  const bare = formatTemplateReference(reference);
  const pinned = `${bare}@${reference.digest}`;
  return reference.kind === 'url' ? [pinned] : [bare, pinned];
}

const otherPlatform = (found: string, architecture: string): DroverError =>
  new DroverError(
    'not-found',
    `no image for this platform: wanted linux/${architecture}, found linux/${found}`,
    { reason: 'no-platform' },
  );
