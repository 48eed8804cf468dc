import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { lstat, mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';
import type { HostCommands, StartedCommand } from '../host/command.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import { type ImageLimits, refuse } from './manifest.ts';
import { createTarScanner, type LayerSize, type TarScanner } from './scan-layer.ts';
import { scanRoot } from './scan-root.ts';
import { shiftIds } from './shift-ids.ts';
import { checkRoom } from './unpack.ts';

const unpackMs = 30 * 60_000;
/** How much is unpacked before the disk is looked at again. */
const roomStepBytes = 256 * 1024 ** 2;
const readBytes = 256 * 1024;
/** How often one is told how far it is. */
const tellBytes = 4 * 1024 ** 2;
const maxStderrBytes = 64 * 1024;
/** xz may ask for gigabytes by a header; what image tools write needs 65 MiB. */
const xzMemory = '--memlimit-decompress=256MiB';

export interface UnpackTarballRequest {
  /** Of a regular file; read from its beginning. */
  readonly tarball: FileHandle;
  readonly digest: Digest;
  /** Must not exist. */
  readonly rootfs: string;
  readonly range: IdRange;
  readonly limits: ImageLimits;
  /** Of the tarball that have been read. */
  readonly onBytes: (done: number) => void;
}

export interface TarballTools {
  readonly commands: Pick<HostCommands, 'run' | 'start'>;
  readonly clock: Clock;
}

/**
 * Unpacks a root file system for the range, a hostile one included: what it would do outside of the root
 * does not happen, or it is refused. tar(1) is safe with links within one archive (it makes them last), and
 * there is one alone. Extended attributes are left out, so no file has capabilities. Leaves half a root
 * where it throws. data-loss: not what the digest says; invalid-argument, resource-exhausted,
 * deadline-exceeded.
 */
export async function unpackTarball(
  { commands, clock }: TarballTools,
  request: UnpackTarballRequest,
  signal: AbortSignal,
): Promise<LayerSize> {
  const { rootfs, range } = request;
  await mkdir(rootfs, { mode: 0o755 });
  const deadline = clock.timeout(unpackMs, signal);
  const size = await extract(commands, request, deadline).catch((error: unknown) => {
    if (signal.aborted || !deadline.aborted) throw error;
    const message = `the image is not unpacked after ${unpackMs / 60_000} minutes`;
    throw new DroverError('deadline-exceeded', message, { cause: error });
  });
  await checkShape(rootfs);
  await scanRoot(rootfs, signal);
  await shiftIds(commands.run, rootfs, range, signal);
  return size;
}

/** One pass: the archive is hashed, decompressed, counted and unpacked as it is read. */
async function extract(
  commands: TarballTools['commands'],
  request: UnpackTarballRequest,
  signal: AbortSignal,
): Promise<LayerSize> {
  const { tarball, rootfs, digest, limits, onBytes } = request;
  const hash = createHash('sha256');
  let read = 0;
  const source = async function* (): AsyncGenerator<Buffer> {
    const buffer = Buffer.alloc(readBytes);
    for (;;) {
      const { bytesRead } = await tarball.read(buffer, 0, readBytes, read);
      if (bytesRead === 0) return;
      const chunk = Buffer.from(buffer.subarray(0, bytesRead));
      read += bytesRead;
      hash.update(chunk);
      yield chunk;
      if (read % tellBytes < bytesRead) onBytes(read);
    }
  };
  const magic = Buffer.alloc(6);
  await tarball.read(magic, 0, magic.length, 0);
  const scanner = createTarScanner(limits);
  await using tar = await startTar(commands, rootfs);
  await feed(commands, source, magic, watched(scanner, path.dirname(rootfs)), tar, signal);
  const size = scanner.end();
  await tar.end(signal);
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== digest) throw new DroverError('data-loss', `wanted ${digest}, found content of ${found}`);
  return size;
}

type Watch = (chunks: AsyncIterable<Buffer>) => AsyncGenerator<Buffer>;

/** Passes on what has been counted, as long as there is room for it. */
function watched(scanner: TarScanner, directory: string): Watch {
  return async function* (chunks) {
    let untilLook = 0;
    for await (const chunk of chunks) {
      if (untilLook <= 0) {
        await checkRoom(directory, roomStepBytes / 4);
        untilLook = roomStepBytes;
      }
      untilLook -= chunk.length;
      scanner.push(chunk);
      yield chunk;
    }
  };
}

async function feed(
  commands: TarballTools['commands'],
  source: () => AsyncGenerator<Buffer>,
  magic: Buffer,
  watch: Watch,
  tar: RunningTar,
  signal: AbortSignal,
): Promise<void> {
  const form = compressionOf(magic);
  try {
    if (form === 'xz') await throughXz(commands, source, (chunks) => feedTar(chunks), signal);
    else if (form === 'none') await feedTar(source());
    else {
      const unpacker = form === 'gzip' ? createGunzip() : createZstdDecompress();
      const decompressed = pipeline(source, unpacker, (chunks: AsyncIterable<Buffer>) => feedTar(chunks), {
        signal,
      });
      await decompressed;
    }
  } catch (cause) {
    signal.throwIfAborted();
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    if (code.startsWith('Z_') || code.startsWith('ZSTD_')) throw refuse(`it is not ${form}`);
    // tar has more to say about it than that its pipe is closed.
    if (code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE') await tar.end(signal);
    throw cause;
  }

  async function feedTar(chunks: AsyncIterable<Buffer>): Promise<void> {
    let isWhole = false;
    const whole = async function* (): AsyncGenerator<Buffer> {
      yield* watch(chunks);
      isWhole = true;
    };
    try {
      await pipeline(whole, tar.input, { signal });
    } catch (error) {
      // It has read all and gone before its pipe told us so; its exit code is looked at afterwards.
      if (!isWhole || !hasGoneFirst(error)) throw error;
    }
  }
}

const hasGoneFirst = (error: unknown): boolean =>
  (error as NodeJS.ErrnoException | undefined)?.code === 'ERR_STREAM_PREMATURE_CLOSE';

function compressionOf(magic: Buffer): 'xz' | 'gzip' | 'zstd' | 'none' {
  const hex = magic.toString('hex');
  if (hex === 'fd377a585a00') return 'xz';
  if (hex.startsWith('1f8b')) return 'gzip';
  if (hex.startsWith('28b52ffd')) return 'zstd';
  if (hex.startsWith('68737173')) {
    const nextStep = 'unpack it elsewhere (unsquashfs) and make a tar.xz of it';
    throw new DroverError('unimplemented', 'the image is a squashfs, and no tarball', { nextStep });
  }
  return 'none';
}

async function throughXz(
  commands: TarballTools['commands'],
  source: () => AsyncGenerator<Buffer>,
  sink: (chunks: AsyncIterable<Buffer>) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const args = ['--decompress', '--stdout', xzMemory];
  const xz = await commands.start('xz', args, { pipes: ['write', 'read', 'read'] });
  const stderr = collect(xz.readable(2));
  try {
    const output = xz.readable(1);
    // Where xz refuses its input it closes the pipe; its exit code says so, too.
    const feeding = pipeline(source, xz.writable(0), { signal }).catch((error: unknown) => error);
    await sink(output);
    const broken = await feeding;
    const exitCode = await unlessAborted(xz.exitCode, signal);
    // As tar may; that all was read, the digest says.
    if (exitCode === 0 && (broken === undefined || hasGoneFirst(broken))) return;
    const words = (await stderr)
      .replaceAll(/[^ -~]/g, ' ')
      .slice(0, 200)
      .trim();
    if (exitCode !== 0) throw refuse(`it is not xz: ${words || `xz ended with ${exitCode}`}`);
    throw broken;
  } finally {
    xz.kill();
    xz.close();
  }
}

interface RunningTar extends AsyncDisposable {
  readonly input: NodeJS.WritableStream;
  /** Waits for its end; throws what it complains of. */
  end(signal: AbortSignal): Promise<void>;
}

async function startTar(commands: TarballTools['commands'], rootfs: string): Promise<RunningTar> {
  const args = ['--extract', '--file=-', `--directory=${rootfs}`, '--numeric-owner', '--same-owner'];
  const more = ['--same-permissions', '--no-xattrs', '--no-acls', '--no-selinux'];
  const tar: StartedCommand = await commands.start('tar', [...args, ...more], {
    pipes: ['write', 'ignore', 'read'],
  });
  const stderr = collect(tar.readable(2));
  return {
    input: tar.writable(0),
    async end(signal) {
      const exitCode = await unlessAborted(tar.exitCode, signal);
      if (exitCode !== 0) throw tarError(await stderr, exitCode);
    },
    async [Symbol.asyncDispose]() {
      tar.kill();
      tar.close();
    },
  };
}

/** The first words that it says; it may say as much as it likes. Ends also with a pipe that we close. */
function collect(stream: Readable): Promise<string> {
  let text = '';
  stream.on('data', (chunk: Buffer) => {
    if (text.length < maxStderrBytes) text += chunk.toString('latin1');
  });
  return new Promise((resolve) => stream.once('close', () => resolve(text)));
}

/** GNU tar exits with 2 for everything; what is not the disk's fault is the archive's. Seen with tar 1.34. */
function tarError(stderr: string, exitCode: number): DroverError {
  if (/no space left|quota exceeded/i.test(stderr)) {
    return new DroverError('resource-exhausted', 'no room to unpack the image on this node');
  }
  const words = (stderr.split('\n').find((line) => !line.includes('Removing leading')) ?? '')
    .replaceAll(/[^ -~]/g, '?')
    .slice(0, 300);
  return new DroverError(
    'invalid-argument',
    `the image cannot be unpacked: ${words || `tar: exit ${exitCode}`}`,
    {
      reason: 'bad-image',
    },
  );
}

/** A backup or a unified image has the root one level down, beside files of another manager. */
async function checkShape(rootfs: string): Promise<void> {
  const inner = await lstat(path.join(rootfs, 'rootfs')).catch(() => undefined);
  const metadata = await lstat(path.join(rootfs, 'metadata.yaml')).catch(() => undefined);
  if (inner === undefined || metadata === undefined) return;
  throw new DroverError('invalid-argument', 'the tarball is a unified image: its root is in /rootfs', {
    reason: 'bad-image',
    nextStep: 'make a tarball of its rootfs directory alone: tar -C rootfs -cJf root.tar.xz .',
  });
}
