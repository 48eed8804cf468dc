import { describe, expect, it } from 'vitest';
import { createSeededRandom } from '../../../test/fakes/random.ts';
import { type Limits, type WorkPlace, createLimits } from './limits.ts';

const { signal } = new AbortController();
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Work that ends when it is told to. */
function workshop(limits: Limits) {
  const started: string[] = [];
  const ends = new Map<string, (error?: Error) => void>();
  return {
    started,
    begin: (name: string, place: WorkPlace, own = signal): Promise<string> =>
      limits.run(place, own, () => {
        started.push(name);
        return new Promise((resolve, reject) => {
          ends.set(name, (error) => (error === undefined ? resolve(name) : reject(error)));
        });
      }),
    async end(name: string, error?: Error): Promise<void> {
      ends.get(name)?.(error);
      ends.delete(name);
      await turn();
    },
  };
}

describe('limits', () => {
  it('let as many at once as a node may have, the others in the order in which they came', async () => {
    const { begin, end, started } = workshop(createLimits({ perNode: 2, perStorage: 9, filesPerStorage: 2 }));
    const all = ['a', 'b', 'c', 'd'].map((name) => begin(name, { node: 'pve1' }));
    await turn();
    expect(started).toEqual(['a', 'b']);
    await end('b');
    expect(started).toEqual(['a', 'b', 'c']);
    await end('a');
    await end('c');
    await end('d');
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c', 'd']);
  });

  it('hold nobody back elsewhere', async () => {
    const { begin, started } = workshop(createLimits({ perNode: 1, perStorage: 1, filesPerStorage: 2 }));
    void begin('a', { node: 'pve1', storages: ['local@pve1'] });
    void begin('b', { node: 'pve1', storages: ['local@pve1'] });
    void begin('c', { node: 'pve2', storages: ['local@pve2'] });
    void begin('d', { node: 'pve3' });
    await turn();
    expect(started).toEqual(['a', 'c', 'd']);
  });

  it('count files that are brought for themselves: they keep no guest waiting', async () => {
    const { begin, end, started } = workshop(createLimits({ perNode: 1, perStorage: 1, filesPerStorage: 2 }));
    for (const name of ['a', 'b', 'c']) void begin(name, { filesOf: 'shared' });
    void begin('d', { filesOf: 'pve1/local' });
    void begin('e', { node: 'pve1', storages: ['shared'] });
    await turn();
    expect(started).toEqual(['a', 'b', 'd', 'e']);
    await end('a');
    expect(started).toEqual(['a', 'b', 'd', 'e', 'c']);
  });

  it('count a shared storage over all its nodes', async () => {
    const { begin, end, started } = workshop(createLimits({ perNode: 5, perStorage: 1, filesPerStorage: 2 }));
    void begin('a', { node: 'pve1', storages: ['shared'] });
    void begin('b', { node: 'pve2', storages: ['shared'] });
    void begin('c', { node: 'pve2' });
    await turn();
    expect(started).toEqual(['a']);
    await end('a');
    expect(started).toEqual(['a', 'b', 'c']);
  });

  it('let nobody overtake whoever waits for two things', async () => {
    const { begin, end, started } = workshop(createLimits({ perNode: 1, perStorage: 1, filesPerStorage: 2 }));
    void begin('node', { node: 'pve1' });
    void begin('both', { node: 'pve1', storages: ['shared'] });
    void begin('storage', { node: 'pve2', storages: ['shared'] });
    await turn();
    expect(started).toEqual(['node']);
    await end('node');
    expect(started).toEqual(['node', 'both']);
    await end('both');
    expect(started).toEqual(['node', 'both', 'storage']);
  });

  it('make room again when work fails', async () => {
    const { begin, end, started } = workshop(createLimits({ perNode: 1, perStorage: 1, filesPerStorage: 2 }));
    const first = begin('a', { node: 'pve1' });
    const second = begin('b', { node: 'pve1' });
    await turn();
    const failure = first.catch(String);
    await end('a', new Error('broken'));
    expect(await failure).toBe('Error: broken');
    expect(started).toEqual(['a', 'b']);
    await end('b');
    await second;
  });

  it('let whoever gives up go, and those behind it on', async () => {
    const { begin, end, started } = workshop(createLimits({ perNode: 1, perStorage: 1, filesPerStorage: 2 }));
    const giveUp = new AbortController();
    void begin('a', { node: 'pve1', storages: ['x'] });
    const given = begin('b', { node: 'pve1', storages: ['y'] }, giveUp.signal);
    void begin('c', { node: 'pve2', storages: ['y'] });
    await turn();
    expect(started).toEqual(['a']);
    const refusal = given.catch(String);
    giveUp.abort(new Error('enough'));
    expect(await refusal).toBe('Error: enough');
    expect(started).toEqual(['a', 'c']);
    await end('a');
    expect(started).toEqual(['a', 'c']);
    await expect(begin('d', { node: 'pve9' }, giveUp.signal)).rejects.toThrow('enough');
  });

  it('count what moves data on several storages on each of them', async () => {
    const { begin, end, started } = workshop(createLimits({ perNode: 9, perStorage: 1, filesPerStorage: 1 }));
    void begin('a', { node: 'pve1', storages: ['x', 'y'] });
    void begin('b', { node: 'pve1', storages: ['y', 'z'] });
    void begin('c', { node: 'pve1', storages: ['z'] });
    void begin('d', { node: 'pve2', storages: [] });
    await turn();
    // Whoever waits keeps its place on all of them.
    expect(started).toEqual(['a', 'd']);
    await end('a');
    expect(started).toEqual(['a', 'd', 'b']);
    await end('b');
    expect(started).toEqual(['a', 'd', 'b', 'c']);
  });

  it('are kept, and all is done, whatever the order', async () => {
    const random = createSeededRandom(7);
    const limits = createLimits({ perNode: 3, perStorage: 2, filesPerStorage: 2 });
    const now = new Map<string, number>();
    let most = 0;
    const pick = (count: number): number => Math.floor(random.fraction() * count);
    const all = Array.from({ length: 400 }, () => {
      const storage = `s${pick(3)}`;
      const place = { node: `pve${pick(4)}`, storages: [storage] };
      return limits.run(place, signal, async () => {
        const keys = [place.node, storage];
        for (const key of keys) now.set(key, (now.get(key) ?? 0) + 1);
        expect(now.get(place.node)).toBeLessThanOrEqual(3);
        expect(now.get(storage)).toBeLessThanOrEqual(2);
        most = Math.max(most, [...now.values()].reduce((sum, value) => sum + value, 0) / 2);
        for (let turns = pick(4); turns >= 0; turns -= 1) await turn();
        for (const key of keys) now.set(key, (now.get(key) ?? 0) - 1);
      });
    });
    await Promise.all(all);
    expect(most).toBe(6);
  });
});
