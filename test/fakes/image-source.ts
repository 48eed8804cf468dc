import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { Digest, Image } from '#shared/model.ts';
import type { ImageConfig, ImageSource, PulledImage, PullProgress } from '../../agent/images/image-source.ts';
import type { IdRange } from '../../agent/volumes/volume-driver.ts';

interface FakeImage {
  readonly config: ImageConfig;
  readonly platforms: readonly string[];
  readonly sizeBytes: number;
  /** Path inside the root to content. */
  readonly files: Readonly<Record<string, string>>;
}

/** What a small image with a shell says of itself. */
const busyboxConfig: ImageConfig = {
  entrypoint: [],
  command: ['/bin/sh'],
  env: { PATH: '/bin' },
  user: '',
  workingDir: '/',
  stopSignal: 15,
};

/** Where the fake's images come from; lives on while sources on it come and go. */
export interface FakeImageStore {
  /** From now on the reference stands for this image. */
  publish(reference: string, image?: Partial<FakeImage>): Digest;
  /** From now on every resolve and pull of the reference fails so; undefined heals it. */
  failWith(reference: string, error: DroverError | undefined): void;
  readonly pulls: string[];
  readonly byDigest: Map<string, FakeImage>;
  readonly byReference: Map<string, Digest>;
  readonly failures: Map<string, DroverError>;
}

export function createFakeImageStore(): FakeImageStore {
  const byDigest = new Map<string, FakeImage>();
  const byReference = new Map<string, Digest>();
  const failures = new Map<string, DroverError>();
  return {
    byDigest,
    byReference,
    failures,
    pulls: [],
    publish(reference, image = {}) {
      const whole: FakeImage = {
        config: busyboxConfig,
        platforms: ['linux/amd64', 'linux/arm64'],
        sizeBytes: 1_000_000,
        files: { 'etc/hostname': 'fake\n' },
        ...image,
      };
      const hex = createHash('sha256')
        .update(JSON.stringify([reference, whole]))
        .digest('hex');
      const digest = `sha256:${hex}` as Digest;
      byDigest.set(digest, whole);
      byReference.set(reference, digest);
      return digest;
    },
    failWith(reference, error) {
      if (error === undefined) failures.delete(reference);
      else failures.set(reference, error);
    },
  };
}

export interface FakeImageSourceOptions {
  /** Roots are made below it. */
  readonly directory: string;
  readonly store: FakeImageStore;
  /** "linux/amd64". */
  readonly platform?: string;
}

interface FakeReference {
  /** As published: without the digest. */
  readonly published: string;
  readonly digest: Digest | undefined;
}

/** The in-memory twin of the OCI source: real directories, no registry and no tools. */
export function createFakeImageSource(options: FakeImageSourceOptions): ImageSource {
  const { directory, store, platform = 'linux/amd64' } = options;
  const joined = new Map<string, Promise<PulledImage>>();
  const home = (digest: string, range: IdRange): string =>
    path.join(directory, `${digest.slice(7)}-${range.base}-${range.size}`);

  function lookUp(reference: string): { digest: Digest; image: FakeImage } {
    const { published, digest: pinned } = split(reference);
    const failure = store.failures.get(published) ?? store.failures.get(reference);
    if (failure !== undefined) throw failure;
    const digest = pinned ?? store.byReference.get(published);
    const image = digest === undefined ? undefined : store.byDigest.get(digest);
    if (digest === undefined || image === undefined) {
      throw new DroverError('not-found', `no image ${reference}`, { subject: { image: reference } });
    }
    return { digest, image };
  }

  async function find(reference: string, range: IdRange): Promise<PulledImage | undefined> {
    const { digest } = split(reference);
    const image = digest === undefined ? undefined : store.byDigest.get(digest);
    if (digest === undefined || image === undefined) return undefined;
    const rootfs = path.join(home(digest, range), 'rootfs');
    return existsSync(rootfs)
      ? { digest, rootfs, config: image.config, sizeBytes: image.sizeBytes }
      : undefined;
  }

  async function make(
    reference: string,
    range: IdRange,
    onProgress?: (progress: PullProgress) => void,
  ): Promise<PulledImage> {
    const { digest, image } = lookUp(reference);
    if (!image.platforms.includes(platform)) {
      throw new DroverError(
        'not-found',
        `${reference} is for ${image.platforms.join(', ')}, wanted ${platform}`,
      );
    }
    store.pulls.push(reference);
    const bytesTotal = image.sizeBytes;
    onProgress?.({ step: 'fetching', bytesDone: 0, bytesTotal });
    const final = home(digest, range);
    const staging = `${final}.staging`;
    await mkdir(path.join(staging, 'rootfs'), { recursive: true, mode: 0o755 });
    for (const [name, content] of Object.entries(image.files)) {
      const file = path.join(staging, 'rootfs', name);
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, content);
    }
    await writeFile(path.join(staging, 'reference'), split(reference).published);
    await rename(staging, final);
    onProgress?.({ step: 'ready', bytesDone: bytesTotal, bytesTotal });
    return { digest, rootfs: path.join(final, 'rootfs'), config: image.config, sizeBytes: image.sizeBytes };
  }

  return {
    name: 'fake',
    takes: (reference) => !reference.startsWith('template:'),
    async resolve(reference, _credential, signal) {
      signal.throwIfAborted();
      const { digest, image } = lookUp(reference);
      return { digest, platforms: [...image.platforms] };
    },
    async pull({ reference, range, onProgress }, signal) {
      signal.throwIfAborted();
      const { digest } = split(reference);
      if (digest === undefined) {
        throw new DroverError('invalid-argument', `a pull wants a digest, found ${reference}`);
      }
      const found = await find(reference, range);
      if (found !== undefined) return found;
      const key = home(digest, range);
      const pulling = joined.get(key) ?? make(reference, range, onProgress);
      joined.set(key, pulling);
      return pulling.finally(() => joined.delete(key));
    },
    find,
    async remove(digest, _signal, isUsed = () => false) {
      const names = (await readdir(directory).catch(() => [])).filter((name) =>
        name.startsWith(digest.slice(7)),
      );
      if (names.length > 0 && isUsed()) {
        throw new DroverError('failed-precondition', 'the image is used', { subject: { image: digest } });
      }
      for (const name of names) await rm(path.join(directory, name), { recursive: true, force: true });
      return names.length * (store.byDigest.get(digest)?.sizeBytes ?? 0);
    },
    list: () => listReady(directory, store),
  };
}

async function listReady(directory: string, store: FakeImageStore): Promise<Image[]> {
  const names = await readdir(directory).catch(() => []);
  const images = new Map<string, Image>();
  for (const name of names.filter((each) => !each.endsWith('.staging'))) {
    const digest = `sha256:${name.split('-')[0] ?? ''}` as Digest;
    const sizeBytes = store.byDigest.get(digest)?.sizeBytes ?? 0;
    const references = [await readFile(path.join(directory, name, 'reference'), 'utf8')];
    images.set(digest, {
      digest,
      references,
      sizeBytes,
      lastUsedAtMs: 0,
      ready: true,
      usedBy: 0,
      pinned: false,
    });
  }
  return [...images.values()];
}

function split(reference: string): FakeReference {
  const [published = '', digest] = reference.split('@');
  const isReference = /^[\w./][\S]*$/.test(published) && (digest ?? 'sha256:').startsWith('sha256:');
  if (!isReference) {
    throw new DroverError('invalid-argument', `not a reference: "${reference}"`);
  }
  return { published, digest: digest as Digest | undefined };
}
