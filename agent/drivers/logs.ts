import { constants } from 'node:fs';
import { open, readdir, rename, rm, stat, writeFile, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import type { LogLine, LogOptions } from '#shared/streams.ts';

const chunkBytes = 64 * 1024;
const keptFiles = 3;
const pollMs = 100;

/**
 * `2026-11-23T11:18:07.524937485+00:00 stdout F text`, as conmon's k8s-file driver writes; undefined for
 * other lines.
 */
export function parseLogLine(line: Buffer): LogLine | undefined {
  const [timeEnd, streamEnd, tagEnd] = [0, 1, 2].reduce<number[]>(
    (ends) => [...ends, line.indexOf(0x20, (ends.at(-1) ?? -1) + 1)],
    [],
  );
  if (timeEnd === undefined || streamEnd === undefined || tagEnd === undefined || tagEnd < 0)
    return undefined;
  const atNs = parseTimeNs(line.toString('latin1', 0, timeEnd));
  const stream = line.toString('latin1', timeEnd + 1, streamEnd);
  const tag = line.toString('latin1', streamEnd + 1, tagEnd);
  if (atNs === undefined || (stream !== 'stdout' && stream !== 'stderr')) return undefined;
  if (tag !== 'F' && tag !== 'P') return undefined;
  return { atNs, stream, content: Uint8Array.from(line.subarray(tagEnd + 1)), partial: tag === 'P' };
}

function parseTimeNs(text: string): bigint | undefined {
  const [, seconds, fraction = '', zone] =
    /^([\dT:-]{19})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text) ?? [];
  const ms = Date.parse(`${seconds}${zone}`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}

/**
 * The lines of all files of one guest, oldest first. With follow it goes on until `isOver` says that no more
 * will come and all is read. What is rotated away while somebody reads slowly is skipped.
 */
export async function* readLog(
  file: string,
  options: LogOptions,
  deps: { readonly clock: Clock; readonly isOver: () => boolean; readonly signal: AbortSignal },
): AsyncIterable<LogLine> {
  const since = BigInt(Math.round(options.sinceMs)) * 1_000_000n;
  const wanted = (line: LogLine): boolean =>
    line.atNs >= since && (options.stream === undefined || line.stream === options.stream);
  const reader = await openReader(file);
  try {
    yield* firstLines(reader, wanted, options.tail);
    while (options.follow && !deps.signal.aborted) {
      const over = deps.isOver();
      const before = reader.count();
      yield* filtered(reader.lines(), wanted);
      const quiet = reader.count() === before;
      if (over && quiet) return;
      if (quiet) await deps.clock.sleep(pollMs, deps.signal).catch(() => undefined);
    }
  } finally {
    await reader.close();
  }
}

async function* filtered(lines: AsyncIterable<LogLine>, wanted: (line: LogLine) => boolean) {
  for await (const line of lines) if (wanted(line)) yield line;
}

async function* firstLines(reader: LogReader, wanted: (line: LogLine) => boolean, tail: number | undefined) {
  const kept: LogLine[] = [];
  for await (const line of reader.lines()) {
    if (!wanted(line)) continue;
    if (tail === undefined) yield line;
    else if (kept.push(line) > 2 * tail + 1000) kept.splice(0, kept.length - tail);
  }
  if (tail !== undefined) yield* kept.slice(Math.max(0, kept.length - tail));
}

interface LogReader {
  /** What is there now, and was not given before. */
  lines(): AsyncIterable<LogLine>;
  /** How many it gave so far. */
  count(): number;
  close(): Promise<void>;
}

/** Walks from the oldest file to the current one, and over to the next when the current one is rotated. */
async function openReader(current: string): Promise<LogReader> {
  let handle: FileHandle | undefined;
  let position = 0;
  let rest: Buffer = Buffer.alloc(0);
  let inode = 0;
  let given = 0;
  const older = (await filesOf(current)).slice(0, -1);

  async function* linesOfFile(): AsyncIterable<LogLine> {
    const chunk = Buffer.alloc(chunkBytes);
    for (;;) {
      const { bytesRead } = (await handle?.read(chunk, 0, chunkBytes, position)) ?? { bytesRead: 0 };
      if (bytesRead === 0) return;
      position += bytesRead;
      rest = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        const line = parseLogLine(rest.subarray(0, end));
        rest = rest.subarray(end + 1);
        if (line === undefined) continue;
        given += 1;
        yield line;
      }
    }
  }
  async function enter(file: string): Promise<boolean> {
    const next = await openIfThere(file);
    if (next === undefined) return false;
    await handle?.close();
    handle = next;
    position = 0;
    rest = Buffer.alloc(0);
    inode = (await next.stat()).ino;
    return true;
  }

  return {
    async *lines() {
      for (let file = older.shift(); file !== undefined; file = older.shift()) {
        if (await enter(file)) yield* linesOfFile();
      }
      for (;;) {
        yield* linesOfFile();
        const now = await stat(current).catch(() => undefined);
        const truncated = now !== undefined && now.ino === inode && now.size < position;
        if (truncated) position = 0;
        if (now === undefined || (now.ino === inode && !truncated)) return;
        // Once more: it may have been written to between the last read and its rotation.
        yield* linesOfFile();
        if (now.ino !== inode && !(await enter(current))) return;
      }
    },
    count: () => given,
    close: async () => handle?.close(),
  };
}

async function openIfThere(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Oldest first; the current one last. */
async function filesOf(current: string): Promise<string[]> {
  const name = path.basename(current);
  const names = await readdir(path.dirname(current)).catch(() => [] as string[]);
  const numbers = names
    .filter((other) => other.startsWith(`${name}.`) && /^\d+$/.test(other.slice(name.length + 1)))
    .map((other) => Number(other.slice(name.length + 1)));
  return [...numbers.sort((a, b) => b - a).map((number) => `${current}.${number}`), current];
}

/**
 * Moves a log that has grown too large aside and has the monitor open a new one; the monitor's own limit
 * would throw the old lines away. Answers whether it did.
 */
export async function rotateLog(file: string, control: string, maxBytes: number): Promise<boolean> {
  const size = (await stat(file).catch(() => undefined))?.size ?? 0;
  if (size < maxBytes) return false;
  await rm(`${file}.${keptFiles}`, { force: true });
  for (let number = keptFiles - 1; number >= 1; number -= 1) {
    await rename(`${file}.${number}`, `${file}.${number + 1}`).catch(() => undefined);
  }
  await rename(file, `${file}.1`);
  return tellMonitor(control, '2 0 0\n');
}

/** One line for a monitor's control pipe. False when nobody reads it any more. */
export async function tellMonitor(control: string, line: string): Promise<boolean> {
  try {
    await writeFile(control, line, { flag: constants.O_WRONLY | constants.O_NONBLOCK });
    return true;
  } catch (error) {
    if (['ENXIO', 'ENOENT', 'EPIPE'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}
