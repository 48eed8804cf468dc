import { execFileSync } from 'node:child_process';
import { appendFile, mkdtemp, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock, type Clock } from '#shared/clock.ts';
import type { LogLine, LogOptions } from '#shared/streams.ts';
import { everything } from '../../test/conformance/runtime-driver-world.ts';
import { until } from '../../test/until.ts';
import { createLxcOutput } from './lxc-output.ts';

/** A directory of outputs, and a clock that says what a test wants. */
async function newOutput() {
  const directory = await mkdtemp(path.join(tmpdir(), 'drover-output-'));
  const time = { nowMs: 1000 };
  const clock: Clock = { ...systemClock, nowMs: () => time.nowMs };
  const output = createLxcOutput(directory, clock);
  const file = output.fileOf('g');
  const read = (changes: Partial<LogOptions> = {}, isOver = () => true, signal = never) =>
    output.read('g', { ...everything, ...changes }, { isOver, signal });
  const grow = async (text: string | Uint8Array, nowMs: number): Promise<void> => {
    await appendFile(file, text);
    time.nowMs = nowMs;
    output.stamp('g');
  };
  return {
    clock,
    directory,
    file,
    output,
    read,
    grow,
    async [Symbol.asyncDispose]() {
      output.close();
      await rm(directory, { recursive: true });
    },
  };
}

const never = new AbortController().signal;
const show = ({ atNs, content, partial }: LogLine): string =>
  `${atNs / 1_000_000n} ${Buffer.from(content).toString('latin1')}${partial ? ' …' : ''}`;
const all = async (lines: AsyncIterable<LogLine>): Promise<string[]> =>
  (await Array.fromAsync(lines)).map(show);

describe('output of LXC guests', () => {
  it('is there when the disk is full, with the time of its last change', async () => {
    const directory = await mkdtemp(path.join(tmpdir(), 'drover-output-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', directory]);
    const output = createLxcOutput(directory, systemClock);
    try {
      await writeFile(output.fileOf('g'), 'one\r\n');
      await utimes(output.fileOf('g'), 5, 5);
      await writeFile(path.join(directory, 'fill'), new Uint8Array(64 * 1024)).catch(() => undefined);
      output.begin();
      // What is told of changes has nobody who would catch what it throws.
      await appendFile(output.fileOf('g'), 'two\r\n');
      await utimes(output.fileOf('g'), 5, 5);
      const lines = output.read('g', everything, { isOver: () => true, signal: never });
      expect(await all(lines)).toEqual(['5000 one', '5000 two']);
    } finally {
      output.close();
      execFileSync('umount', ['-l', directory]);
      await rm(directory, { recursive: true });
    }
  });

  it('has the time at which it was seen', async () => {
    await using world = await newOutput();
    await world.grow('one\r\ntwo\r\n', 2000);
    await world.grow('three\r\n', 3000);
    expect(await all(world.read())).toEqual(['2000 one', '2000 two', '3000 three']);
    expect(await all(world.read({ sinceMs: 2500 }))).toEqual(['3000 three']);
    expect(await all(world.read({ tail: 2 }))).toEqual(['2000 two', '3000 three']);
    expect(await all(world.read({ tail: 0 }))).toEqual([]);
    expect(await all(world.read({ stream: 'stderr' }))).toEqual([]);
  });

  it('keeps its times for another agent, and what grew between has the time of its last change', async () => {
    await using world = await newOutput();
    await world.grow('one\r\n', 2000);
    await appendFile(world.file, 'while none looked\r\n');
    await utimes(world.file, 5, 5);
    const next = createLxcOutput(world.directory, world.clock);
    next.begin();
    next.close();
    expect(await all(world.read())).toEqual(['2000 one', '5000 while none looked']);
  });

  it('is stamped by itself while an agent runs', async () => {
    await using world = await newOutput();
    world.output.begin();
    await writeFile(world.file, 'one\r\n');
    const index = world.file.replace(/log$/, 'index');
    await until(async () => (await readFile(index, 'utf8').catch(() => '')).endsWith(' 5 1000\n'), {
      what: 'it was stamped',
    });
  });

  it('keeps bytes as they are, and takes one carriage return', async () => {
    await using world = await newOutput();
    const bytes = Buffer.from([0, 27, 91, 255, 13, 65, 13, 13, 10, 9, 10]);
    await world.grow(bytes, 2000);
    const lines = await Array.fromAsync(world.read());
    expect(lines.map(({ content }) => [...content])).toEqual([[0, 27, 91, 255, 13, 65, 13], [9]]);
  });

  it('gives a line without an end when no more will come, and a long one in pieces', async () => {
    await using world = await newOutput();
    await world.grow('one\r\nlogin: ', 2000);
    expect(await all(world.read())).toEqual(['2000 one', '2000 login:  …']);
    await world.grow('x'.repeat(200_000), 3000);
    const lines = await Array.fromAsync(world.read());
    expect(
      lines
        .slice(1)
        .map(({ content }) => content.length)
        .reduce((a, b) => a + b, 0),
    ).toBe(200_007);
    expect(lines.length).toBe(3);
  });

  it('reads on over a rotation, the times of each file its own', async () => {
    await using world = await newOutput();
    await world.grow('one\r\n', 2000);
    let isOver = false;
    const heard: string[] = [];
    const following = (async () => {
      for await (const line of world.read({ follow: true }, () => isOver)) heard.push(show(line));
    })();
    await until(() => heard.length === 1, { what: 'the first line' });
    await world.grow('two\r\n', 3000);
    await rename(world.file, `${world.file}.1`);
    await world.grow('three\r\n', 4000);
    await until(() => heard.length === 3, { what: 'all lines' });
    isOver = true;
    await following;
    expect(heard).toEqual(['2000 one', '3000 two', '4000 three']);
    expect(await all(world.read())).toEqual(heard);
  });

  it('bounds what it notes', async () => {
    await using world = await newOutput();
    for (let number = 0; number < 20_000; number += 1) await world.grow('x\r\n', 2000 + number);
    const { size } = await stat(world.file.replace(/log$/, 'index'));
    expect(size).toBeLessThanOrEqual(600_000);
    const lines = await all(world.read());
    expect(lines.length).toBe(20_000);
    expect(lines.at(-1)).toBe('21999 x');
  });

  it('goes without a trace', async () => {
    await using world = await newOutput();
    await world.grow('one\r\n', 2000);
    world.output.remove('g');
    expect(await all(world.read())).toEqual([]);
    expect(() => world.output.fileOf('../x')).toThrow(expect.objectContaining({ kind: 'invalid-argument' }));
  });
});
