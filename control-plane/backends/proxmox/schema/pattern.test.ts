import { describe, expect, it } from 'vitest';
import { factsFor, type ValueFacts } from './facts.ts';
import { fits } from './pattern.ts';

const all = ['8.4', '9.2'].flatMap((version) => {
  const { formats, methods } = factsFor(version);
  const sets = [...Object.values(formats), ...Object.values(methods).map((method) => method.parameters)];
  return sets
    .flatMap((set) => Object.values(set) as readonly ValueFacts[])
    .flatMap((value) => value.pattern ?? []);
});

describe('patterns of the schema', () => {
  it('can all be used', () => {
    const patterns = new Set(all);
    expect(patterns.size).toBeGreaterThan(40);
    for (const pattern of patterns) expect(typeof fits(pattern, 'x')).toBe('boolean');
  });

  it.each([
    ['\\+?\\d+(\\.\\d+)?[KMGT]?', '+1.5G', true],
    ['\\+?\\d+(\\.\\d+)?[KMGT]?', '1G\n', false],
    ['/dev/parport\\d+|/dev/usb/lp\\d+', 'x/dev/usb/lp0', false],
    ['(?^:\\d+(?:;\\d+)*)', '1;2', true],
    ['(?:(?^i:[a-z]);)*(?^i:[a-z])', 'A;b', true],
    ['[A-Za-z]{,8}', 'abcdefghi', false],
    ['[A-Za-z]{,8}', '', true],
    ['\\w+=x(?:\\0\\w+=x)*', 'a=x\0b=x', true],
    ['[0-9a-zA-Z!=]{0,4096}', 'a!'.repeat(2000), true],
  ])('%j on %j is %j', (pattern, text, fitting) => expect(fits(pattern, text)).toBe(fitting));

  it('takes no longer than the text is long', () => {
    const reference = all.find((pattern) => pattern.includes('__|[-]*'));
    expect(fits(reference ?? '', `${'a'.repeat(5000)}!`)).toBe(false);
  });
});
