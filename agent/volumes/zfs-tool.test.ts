import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { InstanceId, SnapshotId } from '#shared/model.ts';
import { kindOfWords, zfsError } from './zfs-error.ts';
import { cloneArgs, createArgs, parseFeatures, receiveArgs, sendArgs, snapshotArgs } from './zfs-features.ts';
import { formatRange, noteMarks, noteOf, parseRange, snapshotMarks, volumeMarks } from './zfs-marks.ts';
import { isDatasetName } from './zfs-name.ts';
import { parseProperties } from './zfs-tool.ts';
import { readSnapshots } from './zfs-snapshots.ts';

const golden = path.resolve(import.meta.dirname, '../../test/golden/zfs-fuse-0.7.0');
const read = (name: string): string => readFileSync(path.join(golden, name), 'utf8');

interface Recorded {
  readonly kind: string;
  readonly args: readonly string[];
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}
const recorded = JSON.parse(read('errors.json')) as readonly Recorded[];

describe('what zfs says', () => {
  it.each(recorded.map((each) => [each.args.join(' '), each.kind, each] as const))(
    '"%s" is %s',
    (_args, kind, result) => {
      expect(zfsError(result)).toMatchObject({ kind, message: expect.stringMatching(/^zfs: \S/) });
      expect(zfsError(result).message.length).toBeLessThan(900);
    },
  );

  it.each([
    ['cannot receive: checksum mismatch or incomplete stream', 'data-loss'],
    ['cannot open pool: pool I/O is currently suspended', 'unavailable'],
    ["The ZFS modules cannot be auto-loaded.\nTry running 'modprobe zfs' as root", 'unavailable'],
    ["cannot destroy 't@a': snapshot is held", 'failed-precondition'],
    ["cannot open 't': no such pool 't'", 'not-found'],
    ['something new', 'internal'],
  ])('of OpenZFS: "%s" is %s', (words, kind) => {
    expect(kindOfWords(words)).toBe(kind);
  });
});

describe('what zfs tells of properties', () => {
  const all = parseProperties(read('get.txt'));

  it('counts as a mark only where it is set itself', () => {
    expect([...all.keys()]).toEqual(['tank/a', 'tank/a@s', 'tank/a@t', 'tank/a/child', 'tank/b']);
    expect(all.get('tank/a')?.local('drover:kind')).toBe('data');
    expect(all.get('tank/a/child')?.local('drover:kind')).toBeUndefined();
    expect(all.get('tank/a/child')?.value('drover:kind')).toBe('data');
    expect(all.get('tank/b')?.value('origin')).toBe('tank/a@s');
  });

  it('leaves lines out that are none', () => {
    expect(parseProperties('').size).toBe(0);
    expect(parseProperties('garbage\n\ta\n').size).toBe(0);
  });
});

describe('marks', () => {
  it.each(['', 'x', 'é\n\t"', 'x'.repeat(900), '\u{1f600}'.repeat(225)])('carry the note %j', (note) => {
    const lines = noteMarks(note).map((pair) => pair.replace('=', '\t'));
    for (const line of lines) expect(line.length).toBeLessThan(1000);
    const dataset = parseProperties(
      ['x\ttype\tsnapshot\t-', ...lines.map((line) => `x\t${line}\tlocal`)].join('\n'),
    );
    const found = dataset.get('x');
    expect(found && noteOf(found)).toBe(note);
  });

  it('carry ranges, also of a walk that is not done', () => {
    const [range, from] = [
      { base: 1_000_000, size: 65_536 },
      { base: 0, size: 65_536 },
    ];
    expect(parseRange(formatRange(range))).toEqual({ range, from: undefined });
    expect(parseRange(formatRange(range, from))).toEqual({ range, from });
    for (const wrong of [undefined, '-', '1', '1-2-3', '1-2-from-3', 'x-1'])
      expect(parseRange(wrong)).toBeUndefined();
  });

  it('tell snapshots of ours from those that inherit', () => {
    const id = '01a208b5-203c-78c1-a8c9-6ceeb2e84d4c';
    const one = (at: string, source: string) =>
      [`${at}\tdrover:snapshot\t${id}\t${source}`, `${at}\tdrover:range\t1-2\tlocal`].join('\n');
    const text = [one(`t/${id}@${id}`, 'local'), one(`t/x@${id}`, 'inherited from t'), one('t/y@z', 'local')];
    expect(readSnapshots(parseProperties(text.join('\n'))).map((each) => each.name)).toEqual([
      `t/${id}@${id}`,
    ]);
  });
});

describe('calls', () => {
  const fuse = parseFeatures({ stdout: '' });
  const open = parseFeatures({ stdout: 'zfs-2.1.11-1+deb12u1\nzfs-kmod-2.1.11-1+deb12u1\n' });
  const id = '01a208b5-203c-78c1-a8c9-6ceeb2e84d4c' as InstanceId;

  it('know which ZFS it is', () => {
    expect([fuse.flavour, fuse.version]).toEqual(['zfs-fuse', '']);
    expect([open.flavour, open.version]).toEqual(['openzfs', 'zfs-2.1.11-1+deb12u1']);
    expect([fuse.takesAtomicSnapshots, open.takesAtomicSnapshots]).toEqual([false, true]);
    expect(open.groupProperties).toContain('compression=lz4');
    expect(fuse.groupProperties).not.toContain('compression=lz4');
  });

  it('are the same but for streams', () => {
    expect(sendArgs(fuse, 'tank/a@t', 'tank/a@s')).toEqual(['send', '-i', 'tank/a@s', 'tank/a@t']);
    expect(sendArgs(open, 'tank/a@t', undefined)).toEqual(['send', '-L', '-e', '-c', 'tank/a@t']);
    expect(receiveArgs(fuse, 'tank/r')).toEqual(['recv', 'tank/r']);
    expect(receiveArgs(open, 'tank/r')).toEqual(['recv', '-u', 'tank/r']);
  });

  it('set marks as they make what is marked', () => {
    const marks = volumeMarks({ kind: 'root', id, range: '1-2', image: 'sha256:aa' });
    expect(cloneArgs('t/i@ready', 't/r', ['canmount=noauto', ...marks]).join(' ')).toBe(
      `clone -o canmount=noauto -o drover:kind=root -o drover:id=${id} -o drover:range=1-2 ` +
        '-o drover:image=sha256:aa t/i@ready t/r',
    );
    expect(createArgs('t/d', [])).toEqual(['create', 't/d']);
    expect(
      snapshotArgs(['t/a@s', 't/b@s'], snapshotMarks(id as string as SnapshotId, '', '1-2')).join(' '),
    ).toBe(`snapshot -o drover:range=1-2 -o drover:snapshot=${id} t/a@s t/b@s`);
  });

  it.each([
    ['tank', true],
    ['tank/drover', true],
    ['tank/a.b_c-d', true],
    ['', false],
    ['-r', false],
    ['tank/-r', false],
    ['tank/../x', false],
    ['tank/.', false],
    ['tank//x', false],
    ['tank/', false],
    ['tank@x', false],
    ['tank/a b', false],
    ['tank/a\nb', false],
    ['x'.repeat(121), false],
  ])('take %j for a dataset: %s', (text, good) => {
    expect(isDatasetName(text)).toBe(good);
  });
});
