import { describe, expect, it } from 'vitest';
import {
  formatBytes,
  formatCpu,
  formatDuration,
  formatMib,
  parseCpuMillicores,
  parseDurationMs,
  parseSizeMib,
} from '#shared/units.ts';

describe('durations', () => {
  it.each([
    ['0', 0],
    ['250ms', 250],
    ['10s', 10_000],
    ['1.5s', 1500],
    ['1h30m', 5_400_000],
    ['2d', 172_800_000],
  ])('reads %s', (text, ms) => expect(parseDurationMs(text)).toBe(ms));
  it.each(['', '10', 's', '-1s', '1 s', '1s\n', '10y', 'constructor', '1e3s', '0.0001s', '99999999d'])(
    'refuses %j',
    (text) => expect(() => parseDurationMs(text)).toThrow(/is not a duration/),
  );
  it('writes what it reads', () => expect(formatDuration(5_400_000)).toBe('1h30m'));
});

describe('sizes', () => {
  it.each([
    ['0', 0],
    ['256MiB', 256],
    ['2GiB', 2048],
    ['2Gi', 2048],
    ['512M', 489],
    ['1TiB', 1_048_576],
    ['1KiB', 1],
  ])('reads %s', (text, mib) => expect(parseSizeMib(text)).toBe(mib));
  it.each([
    ['4 GB', 'did you mean "4GiB"?'],
    ['4g', 'did you mean "4GiB"?'],
    ['256', 'did you mean "256MiB"?'],
    ['much', 'wanted such as'],
    ['-1MiB', 'wanted such as'],
    ['__proto__', 'wanted such as'],
  ])('refuses %j and helps', (text, hint) => expect(() => parseSizeMib(text)).toThrow(hint));
  it('writes what it reads', () => expect([formatMib(2048), formatMib(300)]).toEqual(['2GiB', '300MiB']));
});

describe('measured amounts', () => {
  it.each([
    [0n, '0KiB'],
    [1n, '1KiB'],
    [1024 ** 2 - 1, '1MiB'],
    [3n * 1024n ** 2n + 1n, '4MiB'],
    [2 * 1024 ** 3, '2GiB'],
  ])('writes %s as %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});

describe('shares of cores', () => {
  it.each([
    ['500m', 500],
    ['2', 2000],
    ['0.5', 500],
    ['0', 0],
  ])('reads %s', (text, millicores) => expect(parseCpuMillicores(text)).toBe(millicores));
  it.each(['', 'm', '-1', '1.5m', '0.0001', '1e9', ' 1'])('refuses %j', (text) =>
    expect(() => parseCpuMillicores(text)).toThrow(/is not a share of cores/),
  );
  it('writes what it reads', () => expect([formatCpu(2000), formatCpu(250)]).toEqual(['2', '250m']));
});
