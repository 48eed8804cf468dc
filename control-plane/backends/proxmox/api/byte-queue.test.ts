import { describe, expect, it } from 'vitest';
import { createByteQueue } from './byte-queue.ts';

const byte = (value: number): Uint8Array => Uint8Array.of(value);
const valuesOf = async (bytes: AsyncIterable<Uint8Array>): Promise<number[]> =>
  (await Array.fromAsync(bytes)).map(([first = -1]) => first);

describe('a queue of bytes', () => {
  it('gives what waits, then what comes, until the end', async () => {
    const queue = createByteQueue();
    queue.put(byte(1));
    const reading = valuesOf(queue.read());
    await Promise.resolve();
    queue.put(byte(2));
    queue.put(byte(3));
    queue.end();
    expect(await reading).toEqual([1, 2, 3]);
  });

  it('loses the oldest of a reader that is slow, and never grows without end', async () => {
    const queue = createByteQueue();
    for (let value = 0; value < 3000; value += 1) queue.put(byte(value % 251));
    queue.end();
    const read = await valuesOf(queue.read());
    expect(read).toHaveLength(1024);
    expect(read.at(-1)).toBe(2999 % 251);
    expect(read[0]).toBe((3000 - 1024) % 251);
  });

  it('ends at once where nothing came', async () => {
    const queue = createByteQueue();
    const reading = valuesOf(queue.read());
    queue.end();
    expect(await reading).toEqual([]);
  });
});
