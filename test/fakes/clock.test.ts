import { describe, expect, it } from 'vitest';
import { createFakeClock } from './clock.ts';

describe('the fake clock', () => {
  it('fires timers in the order of their moments, each at its own', async () => {
    const clock = createFakeClock(0);
    const seen: [string, number][] = [];
    const note = (name: string) => () => void seen.push([name, clock.nowMs()]);
    clock.after(20, note('second'));
    clock.after(10, note('first'));
    clock.after(10, note('after first'));
    const end = clock.every(8, note('tick'));
    await clock.advance(20);
    end();
    await clock.advance(100);
    expect(seen).toEqual([
      ['tick', 8],
      ['first', 10],
      ['after first', 10],
      ['tick', 16],
      ['second', 20],
    ]);
    expect(clock.nowMs()).toBe(120);
    expect(clock.waiting()).toBe(0);
  });

  it('lets the work of one timer end before the next one fires', async () => {
    const clock = createFakeClock(0);
    const moments: number[] = [];
    const chain = (async () => {
      for (let count = 0; count < 3; count += 1) {
        await clock.sleep(10);
        await clock.turn();
        moments.push(clock.monotonicMs());
      }
    })();
    await clock.advance(100);
    await chain;
    expect(moments).toEqual([10, 20, 30]);
  });

  it('jumps its wall alone', async () => {
    const clock = createFakeClock(1000);
    clock.jump(-500);
    expect([clock.nowMs(), clock.monotonicMs()]).toEqual([500, 0]);
  });

  it('ends a sleep with the reason of its signal, and a timeout by itself or by its parent', async () => {
    const clock = createFakeClock();
    const parent = new AbortController();
    const sleep = clock.sleep(100, parent.signal);
    const early = clock.timeout(10, parent.signal);
    const late = clock.timeout(1000, parent.signal);
    await clock.advance(10);
    expect(early.reason).toMatchObject({ name: 'TimeoutError' });
    expect(late.aborted).toBe(false);
    const reason = new Error('enough');
    parent.abort(reason);
    expect(late.reason).toBe(reason);
    await expect(sleep).rejects.toBe(reason);
    expect(clock.waiting()).toBe(0);
  });
});
