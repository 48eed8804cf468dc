import { describe, expect, it } from 'vitest';
import type { Condition } from '#shared/model.ts';
import { changedConditions, withSkew } from './conditions.ts';

const condition = (type: string, holds = true): Condition => ({
  type,
  holds,
  reason: '',
  message: '',
  sinceMs: 1,
});

describe('the clock condition', () => {
  it.each([
    [0, undefined],
    [30_000, undefined],
    [-30_000, undefined],
    [31_000, "its clock is 31 s ahead of the control plane's"],
    [-45_000, "its clock is 45 s behind the control plane's"],
  ])('a skew of %i ms says %s', (skewMs, message) => {
    const now = withSkew([condition('DiskPressure')], skewMs, [], 5);
    expect(now.find(({ type }) => type === 'ClockSkew')?.message).toBe(message);
    expect(now[0]?.type).toBe('DiskPressure');
  });

  it('holds since it began', () => {
    const first = withSkew([], 40_000, [], 5);
    expect(withSkew([], 41_000, first, 9)[0]?.sinceMs).toBe(5);
  });
});

describe('changed conditions', () => {
  it.each<[string, Condition[], Condition[], [string, boolean][]]>([
    ['one that began', [], [condition('A')], [['A', true]]],
    ['one that ended by not being told', [condition('A')], [], [['A', false]]],
    ['one that ended in words', [condition('A')], [condition('A', false)], [['A', false]]],
    ['nothing for one that goes on', [condition('A')], [condition('A')], []],
    ['nothing for one that never held', [], [condition('A', false)], []],
  ])('tell %s', (_, before, now, expected) => {
    expect(changedConditions(before, now).map(({ type, holds }) => [type, holds])).toEqual(expected);
  });
});
