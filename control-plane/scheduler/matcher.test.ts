import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Matcher } from '#shared/model.ts';
import { covers, matcherFault, matchesText, overlap } from './matcher.ts';

const exact = (text: string): Matcher => ({ kind: 'exact', text });
const glob = (text: string): Matcher => ({ kind: 'glob', text });
const regex = (text: string): Matcher => ({ kind: 'regex', text });

describe('matcher', () => {
  it.each<[Matcher, string, boolean]>([
    [exact('web'), 'web', true],
    [exact('web'), 'web2', false],
    [exact('w*b'), 'web', false],
    [glob('web*'), 'web', true],
    [glob('web*'), 'my-web', false],
    [glob('*/debian:?'), 'registry.example/debian:9', true],
    [glob('*/debian:?'), 'registry.example/debian:12', false],
    [glob('a.b'), 'axb', false],
    [glob('a(b)+[c]$'), 'a(b)+[c]$', true],
    [glob('*'), 'with\nnewline', true],
    [regex('web-[0-9]+'), 'web-12', true],
    [regex('web-[0-9]+'), 'a web-12', false],
    [regex('web|db'), 'db', true],
    [regex('web|db'), 'dbx', false],
  ])('%o against "%s": %s', (matcher, text, expected) => {
    expect(matchesText(matcher, text)).toBe(expected);
  });

  it('takes linear time, whatever the pattern', () => {
    expect(matchesText(regex('(a+)+$'), `${'a'.repeat(40_000)}b`)).toBe(false);
    expect(matchesText(glob('*a*a*a*a*a*a*a*b'), 'a'.repeat(20_000))).toBe(false);
  });

  it.each<[Matcher, RegExp | '']>([
    [regex('web'), ''],
    [regex('(web'), /RE2/],
    [regex('(?=x)'), /RE2/],
    [glob(''), /empty/],
    [regex('a'.repeat(501)), /501 characters/],
  ])('says what is wrong with %o', (matcher, fault) => {
    if (fault === '') expect(matcherFault(matcher)).toBe('');
    else expect(matcherFault(matcher)).toMatch(fault);
  });

  it.each<[Matcher | undefined, Matcher | undefined, boolean]>([
    [undefined, exact('a'), true],
    [glob('*'), undefined, true],
    [exact('a'), undefined, false],
    [glob('a*'), exact('ab'), true],
    [glob('a*'), glob('ab*'), true],
    [glob('ab*'), glob('a*'), false],
    [glob('*a*'), glob('*ba*'), true],
    [glob('a?*'), glob('a*b'), true],
    [glob('??'), glob('ab'), true],
    [glob('?'), glob('??'), false],
    [regex('a.*'), exact('abc'), true],
    [regex('a.*'), glob('a*'), false],
    [regex('a.*'), regex('a.*'), true],
    [regex('.*'), regex('a'), true],
  ])('%o covers %o: %s', (outer, inner, expected) => {
    expect(covers(outer, inner)).toBe(expected);
  });

  it.each<[Matcher | undefined, Matcher | undefined, 'yes' | 'no' | 'unknown']>([
    [undefined, regex('a'), 'yes'],
    [exact('a'), exact('b'), 'no'],
    [glob('a*'), glob('*b'), 'yes'],
    [glob('a*'), glob('b*'), 'no'],
    [glob('*a'), glob('*b'), 'no'],
    [glob('a?'), glob('?b'), 'yes'],
    [regex('a+'), exact('aa'), 'yes'],
    [regex('a+'), glob('b*'), 'unknown'],
  ])('%o and %o overlap: %s', (one, other, expected) => {
    expect(overlap(one, other)).toBe(expected);
    expect(overlap(other, one)).toBe(expected);
  });

  it('tells the truth of all globs', () => {
    const letters = (...of: string[]) => fc.array(fc.constantFrom(...of), { maxLength: 5 });
    const anyGlob = letters('a', 'b', '*', '?').map((parts) => glob(parts.join('')));
    const texts = ['', 'a', 'b', 'aa', 'ab', 'ba', 'bb', 'aba', 'abab', 'bbab', 'aabb', 'babab'];
    fc.assert(
      fc.property(anyGlob, anyGlob, (one, other) => {
        const both = texts.some((text) => matchesText(one, text) && matchesText(other, text));
        if (both) expect(overlap(one, other)).toBe('yes');
        if (!covers(one, other)) return;
        for (const text of texts) if (matchesText(other, text)) expect(matchesText(one, text)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('gives up where it would take too long to tell', () => {
    const [one, other] = [glob(`${'*a*b'.repeat(120)}x`), glob(`${'*b*a'.repeat(120)}y`)];
    expect(overlap(one, other, { left: 1000 })).toBe('unknown');
    expect(covers(one, other, { left: 1000 })).toBe(false);
    expect(overlap(regex('a+'), exact('aaaaaa'), { left: 1 })).toBe('unknown');
  });
});
