import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { DroverError, isKind } from '#shared/errors.ts';
import { refuse } from './manifest.ts';

const blockSize = 512;
const maxPaxBytes = 1024 ** 2;
/** Links, devices, directories and fifos have no content whatever their size field says. */
const headerOnly = '123456';

export interface LayerSize {
  /** Uncompressed. */
  readonly bytes: number;
  readonly files: number;
}

/**
 * Counts what a layer would unpack to, before anything of it is on disk: neither a small archive that holds
 * much nor a sparse file that claims much can fill a node. resource-exhausted above the limits; invalid-
 * argument for a broken archive, and for sparse entries, which no image tool writes.
 */
export async function scanLayer(
  layer: { readonly file: string; readonly gzip: boolean },
  limits: { readonly maxBytes: number; readonly maxFiles: number },
  signal: AbortSignal,
): Promise<LayerSize> {
  const scanner = createTarScanner(limits);
  const count = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) scanner.push(chunk);
  };
  const source = createReadStream(layer.file, { highWaterMark: 256 * 1024 });
  try {
    await (layer.gzip
      ? pipeline(source, createGunzip({ chunkSize: 256 * 1024 }), count, { signal })
      : pipeline(source, count, { signal }));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? '';
    if (!code.startsWith('Z_') || isKind(cause, 'invalid-argument')) throw cause;
    throw new DroverError('invalid-argument', 'the image is refused: a layer is not gzip', { cause });
  }
  return scanner.end();
}

/** Takes a tar archive piece by piece, uncompressed; throws as scanLayer does. */
export interface TarScanner {
  push(chunk: Buffer): void;
  end(): LayerSize;
}

/** Walks tar headers: POSIX.1-2001 pax and GNU, as far as sizes go. */
export function createTarScanner(limits: {
  readonly maxBytes: number;
  readonly maxFiles: number;
}): TarScanner {
  let bytes = 0;
  let files = 0;
  let skip = 0;
  let zeroBlocks = 0;
  let paxSize: number | undefined;
  let pax: { wanted: number; parts: Buffer[]; isGlobal: boolean } | undefined;
  let rest = Buffer.alloc(0);

  function readHeader(block: Buffer): void {
    if (block.every((byte) => byte === 0)) {
      zeroBlocks += 1;
      return;
    }
    if (zeroBlocks > 0) throw refuse('a layer with content after its end');
    checkSum(block);
    const flag = String.fromCharCode(block[156] ?? 0);
    const size = headerOnly.includes(flag) ? 0 : (paxSize ?? readNumber(block.subarray(124, 136)));
    if (flag === 'S') throw refuse('a layer with a sparse file');
    if ('xgLK'.includes(flag)) {
      if (size > maxPaxBytes) throw refuse(`a layer with a header of ${size} bytes`);
      if (flag === 'x' || flag === 'g') pax = { wanted: size, parts: [], isGlobal: flag === 'g' };
      else skip = roundUp(size);
      if (pax?.wanted === 0) pax = undefined;
      return;
    }
    paxSize = undefined;
    files += 1;
    if (files > limits.maxFiles) {
      throw new DroverError('resource-exhausted', `more than ${limits.maxFiles} files in the image`);
    }
    if (size > limits.maxBytes) throw tooLarge(limits.maxBytes);
    skip = roundUp(size);
  }

  function readPax(block: Buffer): void {
    if (pax === undefined) return;
    pax.parts.push(block);
    if (pax.parts.length * blockSize < pax.wanted) return;
    const content = Buffer.concat(pax.parts).subarray(0, pax.wanted);
    const size = sizeInPax(content);
    if (size !== undefined && pax.isGlobal) throw refuse('a layer with one size for all files');
    paxSize = size ?? paxSize;
    pax = undefined;
  }

  function push(chunk: Buffer): void {
    bytes += chunk.length;
    if (bytes > limits.maxBytes) throw tooLarge(limits.maxBytes);
    let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (data.length > 0 && zeroBlocks < 2) {
      const passed = Math.min(skip, data.length);
      skip -= passed;
      data = data.subarray(passed);
      if (data.length < blockSize) break;
      const block = data.subarray(0, blockSize);
      data = data.subarray(blockSize);
      if (pax === undefined) readHeader(block);
      else readPax(Buffer.from(block));
    }
    rest = Buffer.from(data);
    if (zeroBlocks >= 2) rest = Buffer.alloc(0);
  }

  return {
    push,
    end() {
      if (skip > 0 || pax !== undefined) throw refuse('a layer that ends in the middle of a file');
      return { bytes, files };
    },
  };
}

const roundUp = (size: number): number => Math.ceil(size / blockSize) * blockSize;

const tooLarge = (maxBytes: number): DroverError =>
  new DroverError('resource-exhausted', `the image unpacks to more than ${maxBytes} bytes`);

function checkSum(block: Buffer): void {
  const wanted = readNumber(block.subarray(148, 156));
  let sum = 8 * 32;
  for (let index = 0; index < blockSize; index += 1) {
    if (index < 148 || index >= 156) sum += block[index] ?? 0;
  }
  if (sum !== wanted) throw refuse('a layer that is no tar archive');
}

/** Octal text, or GNU's binary form for large numbers. */
function readNumber(field: Buffer): number {
  const first = field[0] ?? 0;
  const value =
    first & 0x80
      ? field.subarray(1).reduce((sum, byte) => sum * 256 + byte, first & 0x7f)
      : Number.parseInt(field.toString('latin1').replace(/\0.*$/s, '').trim() || '0', 8);
  if (!Number.isSafeInteger(value) || value < 0) throw refuse('a layer with an impossible size');
  return value;
}

/** The size that the records give to the next file. */
function sizeInPax(content: Buffer): number | undefined {
  let size: number | undefined;
  let offset = 0;
  while (offset < content.length) {
    const space = content.indexOf(0x20, offset);
    const length = Number(content.subarray(offset, Math.max(space, offset)).toString('latin1'));
    if (!Number.isInteger(length) || length < 5 || offset + length > content.length) {
      throw refuse('a layer with a broken pax header');
    }
    const record = content.subarray(space + 1, offset + length - 1).toString('utf8');
    if (record.startsWith('GNU.sparse.')) throw refuse('a layer with a sparse file');
    if (record.startsWith('size=')) size = Number(record.slice(5));
    offset += length;
  }
  if (size !== undefined && !(Number.isSafeInteger(size) && size >= 0)) {
    throw refuse('a layer with an impossible size');
  }
  return size;
}
