import { describe, expect, it } from 'vitest';
import { createBroadcast, overflow } from '#shared/broadcast.ts';

async function take<T>(items: AsyncIterable<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  for await (const item of items) if (taken.push(item) === count) break;
  return taken;
}

describe('a broadcast', () => {
  it('misses nothing that is published after the subscription', async () => {
    const broadcast = createBroadcast<number>({ capacity: 10 });
    const reader = broadcast.subscribe(new AbortController().signal);
    for (const item of [1, 2, 3]) broadcast.publish(item);
    expect(await take(reader, 3)).toEqual([1, 2, 3]);
    expect(broadcast.readers).toBe(0);
  });

  it('tells a slow reader once that it lost something, and goes on', async () => {
    const broadcast = createBroadcast<number>({ capacity: 3 });
    const slow = broadcast.subscribe(new AbortController().signal);
    const quick = take(broadcast.subscribe(new AbortController().signal), 1);
    for (let item = 0; item < 5; item += 1) broadcast.publish(item);
    expect(await take(slow, 3)).toEqual([overflow, 3, 4]);
    expect(await quick).toHaveLength(1);
  });

  it('ends with the signal and with close', async () => {
    const broadcast = createBroadcast<number>({ capacity: 3 });
    const abort = new AbortController();
    const one = take(broadcast.subscribe(abort.signal), 9);
    const other = take(broadcast.subscribe(new AbortController().signal), 9);
    abort.abort();
    expect(await one).toEqual([]);
    broadcast.close();
    expect(await other).toEqual([]);
  });
});
