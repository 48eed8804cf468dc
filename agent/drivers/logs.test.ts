import { appendFile, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { LogLine } from '#shared/streams.ts';
import { until } from '../../test/until.ts';
import { parseLogLine, readLog, rotateLog } from './logs.ts';

const anySignal = new AbortController().signal;
const everything = { tail: undefined, sinceMs: 0, follow: false, stream: undefined } as const;
const line = (text: string): string => `2026-11-23T11:18:07.524937485+00:00 stdout F ${text}\n`;
const textOf = ({ content }: LogLine): string => Buffer.from(content).toString();

async function newLog(): Promise<{ file: string } & AsyncDisposable> {
  const directory = await mkdtemp(path.join(tmpdir(), 'drover-logs-'));
  return {
    file: path.join(directory, 'current.log'),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true }),
  };
}

describe('a line of the k8s-file driver', () => {
  const rows: readonly (readonly [string, object | undefined])[] = [
    [
      '2026-11-23T11:18:07.524937485+00:00 stdout F hi there',
      { stream: 'stdout', text: 'hi there', partial: false },
    ],
    ['2026-11-23T11:18:07.524937485+00:00 stderr P half', { stream: 'stderr', text: 'half', partial: true }],
    ['2026-11-23T13:18:07.524937485+02:00 stdout F ', { stream: 'stdout', text: '', partial: false }],
    ['2026-11-23T11:18:07.524937485+00:00 stdin F x', undefined],
    ['2026-11-23T11:18:07.524937485+00:00 stdout X x', undefined],
    ['garbage', undefined],
    ['', undefined],
    ['not-a-time stdout F x', undefined],
  ];
  it.each(rows)('reads %j', (text, wanted) => {
    const parsed = parseLogLine(Buffer.from(text));
    const { stream, partial, atNs } = parsed ?? {};
    const found = parsed && { stream, text: textOf(parsed), partial };
    expect(found).toEqual(wanted);
    expect(atNs).toBe(wanted && 1_795_432_687_524_937_485n);
  });
});

describe('a log that is rotated', () => {
  it('is read across its files, oldest first, and keeps three of them', async () => {
    await using log = await newLog();
    for (let round = 1; round <= 6; round += 1) {
      await appendFile(log.file, line(`round ${round}`));
      await rotateLog(log.file, '/nowhere/ctl', 10);
    }
    await appendFile(log.file, line('now'));
    expect((await readdir(path.dirname(log.file))).length).toBe(4);
    const lines = await Array.fromAsync(
      readLog(
        log.file,
        everything,
        reading(() => true),
      ),
    );
    expect(lines.map(textOf)).toEqual(['round 4', 'round 5', 'round 6', 'now']);
  });

  it('is followed into the new file, and nothing is read twice or missed', async () => {
    await using log = await newLog();
    await writeFile(log.file, line('0'));
    let over = false;
    const seen: string[] = [];
    const following = (async () => {
      const options = { ...everything, follow: true };
      for await (const each of readLog(
        log.file,
        options,
        reading(() => over),
      ))
        seen.push(textOf(each));
    })();
    await until(() => seen.includes('0'), { what: 'its first line' });
    for (let round = 1; round <= 5; round += 1) {
      await appendFile(log.file, line(`${round}a`));
      await rename(log.file, `${log.file}.1`);
      await appendFile(`${log.file}.1`, line(`${round}b`)); // Before the monitor has opened the new one.
      await writeFile(log.file, line(`${round}c`));
      await until(() => seen.includes(`${round}c`), { what: `round ${round}` });
    }
    over = true;
    await following;
    const rounds = [1, 2, 3, 4, 5].flatMap((round) => [`${round}a`, `${round}b`, `${round}c`]);
    expect(seen).toEqual(['0', ...rounds]);
  });

  it('is left alone while it is small, or not there', async () => {
    await using log = await newLog();
    expect(await rotateLog(log.file, '/nowhere/ctl', 10)).toBe(false);
    await writeFile(log.file, line('x'));
    expect(await rotateLog(log.file, '/nowhere/ctl', 1000)).toBe(false);
    expect(await readdir(path.dirname(log.file))).toEqual(['current.log']);
  });
});

const reading = (isOver: () => boolean) => ({ clock: systemClock, isOver, signal: anySignal });
