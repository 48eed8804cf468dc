import {
  appendFileSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
  type BigIntStats,
  type FSWatcher,
} from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import type { LogLine, LogOptions } from '#shared/streams.ts';
import { namesIn, readTextIfThere } from './guest-files.ts';
import { checkGuestId } from './guest-id.ts';

/**
 * The output of guests, as LXC writes it from their terminals: bytes, without times. Each growth is stamped
 * beside them as it is seen, "FILE SIZE TIME", so that times outlive the agent; what grew while none ran has
 * the time of the file's last change. LXC rotates by itself and keeps one older file.
 */
export interface LxcOutput {
  fileOf(id: string): string;
  /** Begins to stamp; may be repeated. */
  begin(): void;
  close(): void;
  /** Notes how far the output has come. */
  stamp(id: string): void;
  remove(id: string): void;
  read(
    id: string,
    options: LogOptions,
    deps: { readonly isOver: () => boolean; readonly signal: AbortSignal },
  ): AsyncIterable<LogLine>;
}

const pollMs = 100;
const chunkBytes = 64 * 1024;
const maxIndexBytes = 512 * 1024;
/** Closer ones are one. */
const stampEveryMs = 20;

interface Stamp {
  readonly file: string;
  readonly size: number;
  readonly atMs: number;
}

export function createLxcOutput(directory: string, clock: Clock): LxcOutput {
  let watcher: FSWatcher | undefined;
  const waiting = new Set<string>();
  const lasts = new Map<string, Stamp>();
  const fileOf = (id: string): string => {
    checkGuestId(id);
    return path.join(directory, `${id}.log`);
  };
  const indexOf = (id: string): string => `${fileOf(id).slice(0, -4)}.index`;

  function stamp(id: string, atMs = clock.nowMs()): void {
    try {
      write(id, atMs);
    } catch (error) {
      // It is there all the same, with the time of its file's last change. Who fills the disk ends no agent.
      if (!hasNoRoom(error)) throw error;
    }
  }
  function write(id: string, atMs: number): void {
    const now = statIfThere(fileOf(id));
    if (now === undefined || now.size === 0n) return;
    const file = nameOf(now);
    const size = Number(now.size);
    const last = lasts.get(id) ?? readStamps(indexOf(id)).findLast((each) => each.file === file);
    const isKnown = last?.file === file && last.size === size;
    if (!isKnown) appendFileSync(indexOf(id), `${file} ${size} ${Math.round(atMs)}\n`, { mode: 0o600 });
    lasts.set(id, { file, size, atMs });
    if (isKnown) return;
    if ((statIfThere(indexOf(id))?.size ?? 0n) > maxIndexBytes) thin(id, readStamps(indexOf(id)));
  }
  /** Keeps what speaks of the two files that are there, and of the older half every eighth. */
  function thin(id: string, stamps: readonly Stamp[]): void {
    const there = [fileOf(id), `${fileOf(id)}.1`].map((file) => statIfThere(file)).filter((each) => !!each);
    const names = new Set(there.map(nameOf));
    const useful = stamps.filter(({ file }) => names.has(file));
    const kept = useful.filter((_, place) => place > useful.length / 2 || place % 8 === 0);
    const text = kept.map(({ file, size, atMs }) => `${file} ${size} ${atMs}\n`).join('');
    writeFileSync(`${indexOf(id)}.new`, text, { mode: 0o600 });
    renameSync(`${indexOf(id)}.new`, indexOf(id));
  }
  function stampSoon(name: string | null): void {
    const id = name?.endsWith('.log') === true ? name.slice(0, -4) : '';
    if (id === '' || waiting.has(id)) return;
    waiting.add(id);
    const later = clock.sleep(stampEveryMs).finally(() => waiting.delete(id));
    stamp(id);
    void later.then(() => stamp(id)).catch(() => undefined);
  }

  return {
    fileOf,
    stamp,
    begin() {
      if (watcher !== undefined) return;
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      watcher = watch(directory, { persistent: false }, (_, name) => stampSoon(name));
      for (const name of namesIn(directory).filter((each) => each.endsWith('.log'))) {
        const changedAtNs = statIfThere(path.join(directory, name))?.mtimeMs;
        stamp(name.slice(0, -4), Number(changedAtNs ?? 0));
      }
    },
    close() {
      watcher?.close();
      watcher = undefined;
    },
    remove(id) {
      lasts.delete(id);
      const file = fileOf(id);
      for (const each of [file, `${file}.1`, indexOf(id)]) rmSync(each, { force: true });
    },
    async *read(id, options, { isOver, signal }) {
      stamp(id);
      const wanted = (line: LogLine): boolean =>
        line.atNs >= BigInt(Math.round(options.sinceMs)) * 1_000_000n && options.stream !== 'stderr';
      const reader = createReader(fileOf(id), indexOf(id));
      try {
        yield* limited(reader.lines(!options.follow), wanted, options.tail);
        while (options.follow && !signal.aborted) {
          const over = isOver();
          stamp(id);
          const before = reader.count();
          yield* limited(reader.lines(over), wanted, undefined);
          const quiet = reader.count() === before;
          if (over && quiet) return;
          if (quiet) await clock.sleep(pollMs, signal).catch(() => undefined);
        }
      } finally {
        await reader.close();
      }
    },
  };
}

async function* limited(
  lines: AsyncIterable<LogLine>,
  wanted: (line: LogLine) => boolean,
  tail: number | undefined,
): AsyncIterable<LogLine> {
  const kept: LogLine[] = [];
  for await (const line of lines) {
    if (!wanted(line)) continue;
    if (tail === undefined) yield line;
    else if (kept.push(line) > 2 * tail + 1000) kept.splice(0, kept.length - tail);
  }
  if (tail !== undefined) yield* kept.slice(Math.max(0, kept.length - tail));
}

const hasNoRoom = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', 'EROFS', 'EIO'].includes((error as NodeJS.ErrnoException).code ?? '');

const statIfThere = (file: string): BigIntStats | undefined =>
  statSync(file, { bigint: true, throwIfNoEntry: false });

/** Of a file, whatever it is called by now; a number alone is given again. */
const nameOf = ({ ino, birthtimeNs }: BigIntStats): string => `${ino}-${birthtimeNs}`;

function readStamps(index: string): Stamp[] {
  return (readTextIfThere(index) ?? '')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, size, atMs]) => /^\d+$/.test(size ?? '') && /^\d+$/.test(atMs ?? ''))
    .map(([file = '', size, atMs]) => ({ file, size: Number(size), atMs: Number(atMs) }));
}

interface OutputReader {
  /** What is there now, and was not given before; with `all` also a last line without its end. */
  lines(all: boolean): AsyncIterable<LogLine>;
  /** How many it gave so far. */
  count(): number;
  close(): Promise<void>;
}

/** Walks from the older file to the current one, and over to the next when that is rotated. */
function createReader(current: string, index: string): OutputReader {
  let handle: FileHandle | undefined;
  let name = '';
  let changedAtMs = 0;
  let given = 0;
  let position = 0;
  let rest: Buffer = Buffer.alloc(0);

  async function enter(file: string): Promise<boolean> {
    const next = await open(file, 'r').catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    });
    if (next === undefined) return false;
    await handle?.close();
    handle = next;
    name = nameOf(await next.stat({ bigint: true }));
    position = 0;
    rest = Buffer.alloc(0);
    return true;
  }
  function timesOf(): (place: number) => number {
    const stamps = readStamps(index).filter(({ file }) => file === name);
    let next = 0;
    // Asked from the beginning to the end.
    return (place) => {
      while ((stamps[next]?.size ?? Infinity) <= place) next += 1;
      return stamps[next]?.atMs ?? changedAtMs;
    };
  }
  async function* linesOfFile(all: boolean): AsyncIterable<LogLine> {
    if (handle === undefined) return;
    changedAtMs = (await handle.stat()).mtimeMs;
    const timeOf = timesOf();
    const chunk = Buffer.alloc(chunkBytes);
    const line = (content: Buffer, partial: boolean): LogLine => {
      given += 1;
      const atNs = BigInt(Math.round(timeOf(position - rest.length))) * 1_000_000n;
      return { atNs, stream: 'stdout', content: Uint8Array.from(content), partial };
    };
    for (;;) {
      const { bytesRead } = await handle.read(chunk, 0, chunkBytes, position);
      if (bytesRead === 0) break;
      position += bytesRead;
      rest = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        // The terminal puts a carriage return before every line feed.
        yield line(rest.subarray(0, rest[end - 1] === 13 ? end - 1 : end), false);
        rest = rest.subarray(end + 1);
      }
      if (rest.length > chunkBytes) {
        yield line(rest, true);
        rest = Buffer.alloc(0);
      }
    }
    if (!all || rest.length === 0) return;
    yield line(rest, true);
    rest = Buffer.alloc(0);
  }

  return {
    async *lines(all) {
      if (handle === undefined && (await enter(`${current}.1`))) yield* linesOfFile(true);
      for (;;) {
        const now = statIfThere(current);
        const isRotated = now !== undefined && nameOf(now) !== name;
        // Once more, after it was rotated: it may have been written to meanwhile.
        yield* linesOfFile(all || isRotated);
        if (!isRotated || !(await enter(current))) return;
      }
    },
    count: () => given,
    close: async () => handle?.close(),
  };
}
