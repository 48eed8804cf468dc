import { createHash } from 'node:crypto';
import { DroverError } from '#shared/errors.ts';
import type { SnapshotId } from '#shared/model.ts';
import { isSnapshotId } from './volume-id.ts';
import type { IdRange, SnapshotNote } from './volume-driver.ts';

/** What a stream holds, told before its body. */
export interface StreamHeader {
  /** How the body is written, and so which drivers read it: "tar", "zfs". */
  readonly format: string;
  readonly kind: 'root' | 'data';
  readonly snapshot: SnapshotId;
  /** Undefined: the whole. */
  readonly since: SnapshotId | undefined;
  readonly note: SnapshotNote;
  readonly createdAtMs: number;
  readonly range: IdRange;
  readonly diskMib: number;
  /** The image that a root stands on; empty for data. */
  readonly image: string;
}

const magic = Buffer.from('drover volume 1\n');
const maxFrameBytes = 1024 * 1024;
const maxHeaderBytes = 8 * 1024;
const digestBytes = 32;

/**
 * A volume as it travels: the magic line, then frames of a length (four bytes, big endian) and as many bytes.
 * The first is the header as JSON, an empty one the last, and behind it is the SHA-256 of all before.
 */
export async function* writeVolumeStream(
  header: StreamHeader,
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  const hashed = (bytes: Buffer): Buffer => {
    hash.update(bytes);
    return bytes;
  };
  yield hashed(Buffer.concat([magic, frame(Buffer.from(JSON.stringify(header)))]));
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; at += maxFrameBytes)
      yield hashed(frame(chunk.subarray(at, at + maxFrameBytes)));
  }
  yield hashed(frame(new Uint8Array()));
  yield hash.digest();
}

function frame(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

/**
 * Reads what writeVolumeStream wrote. The body gives its last frame only when the digest was right, so that
 * who reads a damaged or cut stream never has the whole. data-loss; failed-precondition: another version.
 */
export async function readVolumeStream(
  stream: AsyncIterable<Uint8Array>,
): Promise<{ readonly header: StreamHeader; readonly body: AsyncGenerator<Uint8Array> }> {
  const hash = createHash('sha256');
  const reader = createReader(stream);
  const take = async (count: number): Promise<Buffer> => {
    const bytes = await reader.take(count);
    hash.update(bytes);
    return bytes;
  };
  const takeFrame = async (maxBytes: number): Promise<Buffer> => {
    const length = (await take(4)).readUInt32BE();
    if (length > maxBytes) throw damaged(`a frame of ${length} bytes`);
    return take(length);
  };
  if (!(await take(magic.length)).equals(magic)) throw damaged('it does not begin as one of a volume');
  const header = parseHeader(await takeFrame(maxHeaderBytes));
  async function* read(): AsyncGenerator<Uint8Array> {
    try {
      let held: Buffer | undefined;
      for (
        let next = await takeFrame(maxFrameBytes);
        next.length > 0;
        next = await takeFrame(maxFrameBytes)
      ) {
        if (held !== undefined) yield held;
        held = next;
      }
      const wanted = hash.digest();
      if (!(await reader.take(digestBytes)).equals(wanted)) throw damaged('its digest is wrong');
      if (!(await reader.isAtEnd())) throw damaged('something follows its end');
      if (held !== undefined) yield held;
    } finally {
      await reader.close();
    }
  }
  return { header, body: read() };
}

function createReader(stream: AsyncIterable<Uint8Array>) {
  const source = stream[Symbol.asyncIterator]();
  let chunks: Uint8Array[] = [];
  let held = 0;
  const fill = async (): Promise<boolean> => {
    const next = await source.next();
    if (next.done) return false;
    if (next.value.length > 0) chunks.push(next.value);
    held += next.value.length;
    return true;
  };
  return {
    async take(count: number): Promise<Buffer> {
      while (held < count) if (!(await fill())) throw damaged('it is cut');
      const all = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
      chunks = held > count ? [all.subarray(count)] : [];
      held -= count;
      return Buffer.from(all.buffer, all.byteOffset, count);
    },
    async isAtEnd(): Promise<boolean> {
      while (held === 0) if (!(await fill())) return true;
      return false;
    },
    close: async (): Promise<void> => void (await source.return?.()),
  };
}

const damaged = (why: string): DroverError =>
  new DroverError('data-loss', `the stream of a volume is damaged: ${why}`, {
    nextStep: 'send the snapshot again',
  });

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Written by another node: nothing of it is believed unseen. */
function parseHeader(bytes: Buffer): StreamHeader {
  let value: Partial<StreamHeader> | null;
  try {
    value = JSON.parse(bytes.toString()) as Partial<StreamHeader> | null;
  } catch {
    throw damaged('its header is no JSON');
  }
  const { format, kind, snapshot, since, note, createdAtMs, range, diskMib, image } = value ?? {};
  const isGood =
    typeof format === 'string' &&
    (kind === 'root' || kind === 'data') &&
    isSnapshotId(String(snapshot)) &&
    (since === undefined || isSnapshotId(String(since))) &&
    typeof note === 'string' &&
    Buffer.byteLength(note) <= 900 &&
    isCount(createdAtMs) &&
    isCount(diskMib) &&
    isRange(range) &&
    typeof image === 'string' &&
    /^(sha256:[0-9a-f]{64})?$/.test(image);
  if (!isGood) throw damaged('its header says things that cannot be');
  const { base, size } = range;
  const checked = { format, kind, note, createdAtMs, diskMib, image, range: { base, size }, since };
  return { ...checked, snapshot: snapshot as SnapshotId };
}

const isRange = (value: unknown): value is IdRange => {
  const { base, size } = (value ?? {}) as Partial<IdRange>;
  return isCount(base) && isCount(size) && base + size <= 2 ** 32 - 1;
};

/** failed-precondition. */
export function checkFormat(header: StreamHeader, format: string): void {
  if (header.format === format) return;
  throw new DroverError(
    'failed-precondition',
    `this pool reads streams of ${format}, found one of ${JSON.stringify(header.format.slice(0, 40))}`,
    { nextStep: 'move the volume between pools of one driver' },
  );
}
