import { describe, expect, it } from 'vitest';
import { mergeLive, mergeSorted } from './merge-streams.ts';

async function* stream(...items: readonly number[]): AsyncGenerator<number> {
  yield* items;
}

async function* broken(): AsyncGenerator<number> {
  yield 1;
  throw new Error('cut');
}

describe('mergeSorted', () => {
  it('keeps the order over all streams', async () => {
    const sources = [
      { name: 'a', items: stream(1, 4, 5) },
      { name: 'b', items: stream(2, 3, 9) },
      { name: 'c', items: stream() },
    ];
    const merged = await Array.fromAsync(mergeSorted(sources, (item) => BigInt(item)));
    expect(merged.map(({ name, item }) => `${name}${item}`)).toEqual(['a1', 'b2', 'b3', 'a4', 'a5', 'b9']);
  });

  it('fails with the stream that fails', async () => {
    const sources = [
      { name: 'a', items: stream(1, 4) },
      { name: 'b', items: broken() },
    ];
    await expect(Array.fromAsync(mergeSorted(sources, (item) => BigInt(item)))).rejects.toThrow('cut');
  });
});

describe('mergeLive', () => {
  it('joins streams that are found later, each once', async () => {
    const sources = [{ name: 'a', items: stream(1, 2) }];
    let looks = 0;
    const changed = async (): Promise<boolean> => {
      looks += 1;
      if (looks === 1) sources.push({ name: 'b', items: stream(3) });
      return looks < 3;
    };
    const merged = await Array.fromAsync(mergeLive(() => sources, changed));
    expect(merged.map(({ name, item }) => `${name}${item}`).toSorted()).toEqual(['a1', 'a2', 'b3']);
  });

  it('fails with the stream that fails', async () => {
    const never = new Promise<boolean>(() => undefined);
    const live = mergeLive(
      () => [{ name: 'a', items: broken() }],
      () => never,
    );
    await expect(Array.fromAsync(live)).rejects.toThrow('cut');
  });
});
