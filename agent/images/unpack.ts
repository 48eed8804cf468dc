import { statfs } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { HostCommands } from '../host/command.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import { blobPath } from './layout-origin.ts';
import { type ImageLimits, isGzip, type Manifest } from './manifest.ts';
import { type LayerSize, scanLayer } from './scan-layer.ts';
import { scanRoot } from './scan-root.ts';

const unpackMs = 30 * 60_000;
/** Left free for everything else on the node's disk. */
const reserveBytes = 64 * 1024 ** 2;

export interface UnpackRequest {
  readonly layout: string;
  readonly manifest: Manifest;
  /** Must not exist. */
  readonly rootfs: string;
  readonly range: IdRange;
  readonly limits: ImageLimits;
}

/**
 * Unpacks a layout's image for the range, hostile layers included: what they would do outside of the root
 * does not happen, or the image is refused. Leaves half a root where it throws. invalid-argument, resource-
 * exhausted, deadline-exceeded.
 */
export async function unpack(
  run: HostCommands['run'],
  request: UnpackRequest,
  signal: AbortSignal,
): Promise<LayerSize> {
  const size = await measure(request, signal);
  await checkRoom(path.dirname(request.rootfs), size.bytes);
  const { base, size: count } = request.range;
  const map = `0:${base}:${count}`;
  const args = ['raw', 'unpack', '--uid-map', map, '--gid-map', map, '--image', `${request.layout}:image`];
  const result = await run('umoci', [...args, request.rootfs], { signal, timeoutMs: unpackMs });
  if (result.exitCode !== 0) throw umociError(result.stderr);
  await scanRoot(request.rootfs, signal);
  return size;
}

async function measure(request: UnpackRequest, signal: AbortSignal): Promise<LayerSize> {
  let total: LayerSize = { bytes: 0, files: 0 };
  for (const layer of request.manifest.layers) {
    const { maxBytes, maxFiles } = request.limits;
    const left = { maxBytes: maxBytes - total.bytes, maxFiles: maxFiles - total.files };
    const file = blobPath(request.layout, layer.digest);
    const { bytes, files } = await scanLayer({ file, gzip: isGzip(layer) }, left, signal);
    total = { bytes: total.bytes + bytes, files: total.files + files };
  }
  return total;
}

/** resource-exhausted where the directory's disk cannot take so many bytes. */
export async function checkRoom(directory: string, wantedBytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const freeBytes = bavail * bsize - reserveBytes;
  if (wantedBytes <= freeBytes) return;
  const mib = (bytes: number): string => `${Math.max(0, Math.ceil(bytes / 1024 ** 2))} MiB`;
  throw new DroverError(
    'resource-exhausted',
    `needs ${mib(wantedBytes)}, ${mib(freeBytes)} free in ${directory}`,
  );
}

/** For a catch: a full disk by its name. */
export function noRoom(error: unknown): never {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
  throw new DroverError('resource-exhausted', 'no room for the image on this node', { cause: error });
}

/** umoci exits 1 for everything; what is not the disk's fault is the image's. Recorded from umoci 0.4.7. */
function umociError(stderr: string): DroverError {
  const last = stderr.trim().split('\n').at(-1) ?? '';
  const words = last.replaceAll(/[^ -~]/g, '?').slice(0, 500);
  if (/no space left|disk quota exceeded/i.test(stderr)) {
    return new DroverError('resource-exhausted', `umoci: ${words}`);
  }
  return new DroverError('invalid-argument', `the image cannot be unpacked: ${words}`, {
    reason: 'bad-image',
  });
}
