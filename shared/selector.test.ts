import { describe, expect, it } from 'vitest';
import { matches, parseSelector } from '#shared/selector.ts';

describe('label selectors', () => {
  it.each([
    ['zone in (a, b)', { zone: 'a' }, true],
    ['zone in (a, b)', { zone: 'c' }, false],
    ['zone in (a, b)', {}, false],
    ['zone notin (a)', {}, true],
    ['zone notin (a)', { zone: 'a' }, false],
    ['disk = ssd', { disk: 'ssd' }, true],
    ['disk == ssd', { disk: 'hdd' }, false],
    ['disk != ssd', {}, true],
    ['gpu', { gpu: '' }, true],
    ['gpu', {}, false],
    ['!spot', {}, true],
    ['!spot', { spot: 'yes' }, false],
    ['example.com/rack=r1', { 'example.com/rack': 'r1' }, true],
    ['constructor', {}, false],
  ])('%s on %j is %s', (text, labels, holds) => {
    expect(matches(parseSelector(text), labels as Record<string, string>)).toBe(holds);
  });
  it.each([
    '',
    '=',
    'zone in ()',
    'zone in a',
    'a b',
    'zone in (a',
    '(a)',
    'zone=a,b',
    'a\nb',
    'x'.repeat(2000),
  ])('refuses %j', (text) => expect(() => parseSelector(text)).toThrow(/is not a selector/));
});
