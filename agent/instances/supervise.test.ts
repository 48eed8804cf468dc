import { describe, expect, it } from 'vitest';
import { afterExit, backoffMs, goodRunMs, nextAction, type Situation } from './supervise.ts';

const running: Situation = {
  intent: 'run',
  run: 'started',
  final: false,
  guest: 'running',
  limitsDue: false,
  rollback: false,
  waiting: false,
};

describe('the next action', () => {
  it.each<[string, Partial<Situation>, string]>([
    ['rests while it runs', {}, 'rest'],
    ['sets new limits while it runs', { limitsDue: true }, 'set-limits'],
    ['notes an exit before new limits', { limitsDue: true, guest: 'stopped' }, 'note-exit'],
    ['stops whatever limits it should have', { limitsDue: true, intent: 'stop' }, 'stop'],
    ['sets its volumes back before anything else', { rollback: true, run: 'pending' }, 'roll-back'],
    [
      'sets them back of one that is stopped',
      { rollback: true, intent: 'stop', guest: 'stopped' },
      'roll-back',
    ],
    ['looks before it sets them back', { rollback: true, guest: 'unknown' }, 'look-again'],
    ['removes what was to be set back', { rollback: true, intent: 'remove' }, 'remove'],
    ['makes what is new', { run: 'pending', guest: 'absent' }, 'make'],
    ['makes anew what is left of an older generation', { run: 'pending', guest: 'running' }, 'make'],
    ['starts what was marked and not started', { guest: 'created' }, 'start'],
    ['notes an exit', { guest: 'stopped' }, 'note-exit'],
    ['notes an exit when the guest is gone', { guest: 'absent' }, 'note-exit'],
    ['waits out a back-off', { run: 'ended', guest: 'stopped', waiting: true }, 'wait'],
    ['starts again after it', { run: 'ended', guest: 'stopped' }, 'make'],
    ['leaves a final exit', { run: 'ended', guest: 'stopped', final: true }, 'rest'],
    ['adopts what runs although it was seen to end', { run: 'ended', final: true }, 'adopt'],
    ['looks again at what does not answer', { guest: 'unknown' }, 'look-again'],
    ['makes nothing while the host does not answer', { run: 'pending', guest: 'unknown' }, 'look-again'],
    ['stops', { intent: 'stop' }, 'stop'],
    ['stops what does not answer', { intent: 'stop', guest: 'unknown' }, 'stop'],
    ['notes an ordered end', { intent: 'stop', guest: 'stopped' }, 'note-stop'],
    ['notes a stop before the first start', { intent: 'stop', run: 'pending', guest: 'absent' }, 'note-stop'],
    ['rests once stopped', { intent: 'stop', run: 'ended', guest: 'stopped' }, 'rest'],
    ['removes', { intent: 'remove' }, 'remove'],
    ['removes what is nowhere', { intent: 'remove', guest: 'absent' }, 'remove'],
    ['waits before it tries a removal again', { intent: 'remove', waiting: true }, 'wait'],
  ])('%s', (_name, part, wanted) => {
    expect(nextAction({ ...running, ...part })).toBe(wanted);
  });
});

describe('the restart policy', () => {
  const exit = (code: number, unknown = false) => ({ code, unknown, outOfMemory: false, atMs: 0 });
  it.each<[string, 'never' | 'on-failure' | 'always', number, number | 'unknown', number, boolean]>([
    ['never: an exit is final', 'never', 0, 1, 0, true],
    ['on-failure: zero is final', 'on-failure', 0, 0, 0, true],
    ['on-failure: a code starts again', 'on-failure', 0, 1, 0, false],
    ['on-failure: a signal starts again', 'on-failure', 0, 137, 0, false],
    ['on-failure: a lost code starts again', 'on-failure', 0, 'unknown', 0, false],
    ['always: zero starts again', 'always', 0, 0, 7, false],
    ['gives up after the limit', 'always', 3, 1, 3, true],
    ['goes on below the limit', 'always', 3, 1, 2, false],
  ])('%s', (_name, policy, maxAttempts, code, attempts, final) => {
    const end = { exit: code === 'unknown' ? exit(0, true) : exit(code), ranMs: 100, rebooted: false };
    expect(afterExit({ policy, maxAttempts }, end, attempts, 0.5).final).toBe(final);
  });

  it('forgets the past after a long run', () => {
    const end = { exit: exit(1), ranMs: goodRunMs, rebooted: false };
    const decision = afterExit({ policy: 'always', maxAttempts: 3 }, end, 3, 0.5);
    expect(decision).toEqual({ final: false, delayMs: 1000, attempts: 0 });
  });

  it('starts at once after a reboot', () => {
    const end = { exit: exit(0, true), ranMs: 0, rebooted: true };
    expect(afterExit({ policy: 'on-failure', maxAttempts: 0 }, end, 4, 0.5).delayMs).toBe(0);
  });

  it.each([
    [0, 1000],
    [1, 2000],
    [4, 16_000],
    [40, 300_000],
  ])('waits after %i attempts about %i ms', (attempts, middleMs) => {
    expect(backoffMs(attempts, 0.5)).toBe(middleMs);
    expect(backoffMs(attempts, 0)).toBe(0.8 * middleMs);
    expect(backoffMs(attempts, 1)).toBe(1.2 * middleMs);
  });
});
