import { describe, expect, it } from 'vitest';
import { unlessAborted } from './unless-aborted.ts';

describe('a promise, unless a signal comes first', () => {
  it('gives what comes of it', async () => {
    const { signal } = new AbortController();
    await expect(unlessAborted(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(unlessAborted(Promise.reject(new Error('no')), signal)).rejects.toThrow('no');
  });

  it.each(['before', 'meanwhile'])('gives the reason of the signal that aborts %s', async (when) => {
    const controller = new AbortController();
    const { promise, reject } = Promise.withResolvers<never>();
    if (when === 'before') controller.abort(new Error('enough'));
    const outcome = unlessAborted(promise, controller.signal);
    controller.abort(new Error('enough'));
    await expect(outcome).rejects.toThrow('enough');
    // Nobody hears of that any more: it ends no process.
    const unheard: unknown[] = [];
    const note = (error: unknown): void => void unheard.push(error);
    process.on('unhandledRejection', note);
    reject(new Error('too late'));
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', note);
    expect(unheard).toEqual([]);
  });
});
