import { describe, expect, it } from 'vitest';
import { formatProperties, mergeProperties, parseProperties } from './properties.ts';

describe('a property string', () => {
  it.each([
    ['local:101/vm-101-disk-0.raw,size=1G', 'volume'],
    ['name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01', ''],
    ['', 'volume'],
  ])('%j is written as it was read', (text, defaultKey) => {
    expect(formatProperties(parseProperties(text, defaultKey), defaultKey)).toBe(text);
  });

  it('keeps what nobody changes, and lets go of what is undefined', () => {
    const before = parseProperties('local:1,size=1G,backup=0', 'volume');
    const merged = mergeProperties(before, { size: '2G', backup: undefined, ro: true });
    expect(formatProperties(merged, 'volume')).toBe('local:1,size=2G,ro=1');
  });

  it.each([
    ['a comma', { name: 'eth0,bridge=vmbr9' }],
    ['a line end', { name: 'eth0\nlxc.hook=x' }],
    ['"=" where no name stands in front', { volume: 'size=9999G' }],
  ])('refuses %s in a value', (_, patch) => {
    const hostile = () => formatProperties(mergeProperties(new Map(), patch), 'volume');
    expect(hostile).toThrow(expect.objectContaining({ kind: 'invalid-argument' }) as Error);
  });
});
