import { describe, expect, it } from 'vitest';
import type { Digest } from '#shared/model.ts';
import { chooseBuild, parseStreamIndex, parseStreamProducts } from './simplestreams.ts';

const sha256 = 'a'.repeat(64);
const older = 'b'.repeat(64);
const file = (ftype: string, changes: object = {}) => ({
  ftype,
  sha256,
  size: 5,
  path: `images/debian/12/${ftype}`,
  ...changes,
});
const product = (changes: object = {}) => ({
  aliases: 'debian/bookworm/default, debian/bookworm,debian/12/default,debian/12',
  arch: 'amd64',
  os: 'Debian',
  release: 'bookworm',
  variant: 'default',
  versions: {
    '20260301_05:24': { items: { 'root.tar.xz': file('root.tar.xz'), 'lxd.tar.xz': file('lxd.tar.xz') } },
  },
  ...changes,
});
const list = (...products: object[]): string =>
  JSON.stringify({
    format: 'products:1.0',
    datatype: 'image-downloads',
    products: Object.fromEntries(products.entries()),
  });
const refused = { kind: 'invalid-argument', reason: 'bad-image' };
const thrown = (work: () => unknown): unknown => {
  try {
    return { threw: false, value: work() };
  } catch (error) {
    return error;
  }
};

describe('an index of lists', () => {
  const index = (entries: object, format = 'index:1.0') => JSON.stringify({ format, index: entries });
  it('names the lists of images among others', () => {
    const images = { datatype: 'image-downloads', path: 'streams/v1/images.json', format: 'products:1.0' };
    const other = { datatype: 'image-ids', path: 'streams/v1/cloud.json', format: 'products:1.0' };
    expect(parseStreamIndex(index({ images, other }))).toEqual(['streams/v1/images.json']);
  });

  it.each([
    ['text', 'hello'],
    ['another format', index({}, 'index:2.0')],
    ['no lists', JSON.stringify({ format: 'index:1.0' })],
    ['a path that climbs', index({ a: { datatype: 'image-downloads', path: '../../etc/shadow' } })],
    ['an absolute path', index({ a: { datatype: 'image-downloads', path: '/etc/shadow' } })],
    ['a path on another server', index({ a: { datatype: 'image-downloads', path: 'http://other/x' } })],
  ])('is refused for %s', (_, raw) => {
    expect(thrown(() => parseStreamIndex(raw))).toMatchObject({ kind: 'invalid-argument' });
  });
});

describe('a list of images', () => {
  it.each(['debian/12', 'debian/bookworm/default', 'debian/bookworm', 'debian/12/default'])(
    'has a build of %s',
    (alias) => {
      const [build] = parseStreamProducts(list(product()), alias);
      expect(build).toMatchObject({ architecture: 'amd64', version: '20260301_05:24' });
      expect(build?.tarball).toEqual({
        path: 'images/debian/12/root.tar.xz',
        digest: `sha256:${sha256}`,
        sizeBytes: 5,
      });
    },
  );

  it('tells a variant from the default', () => {
    const raw = list(product(), product({ variant: 'cloud', aliases: 'debian/12/cloud' }));
    expect(parseStreamProducts(raw, 'debian/bookworm/cloud')).toHaveLength(1);
    expect(parseStreamProducts(raw, 'debian/bookworm')).toHaveLength(1);
    expect(parseStreamProducts(raw, 'debian/13')).toEqual([]);
  });

  it.each([
    ['x86_64', 'amd64'],
    ['aarch64', 'arm64'],
    ['riscv64', 'riscv64'],
  ])('calls %s %s', (arch, architecture) => {
    expect(parseStreamProducts(list(product({ arch })), 'debian/12')[0]).toMatchObject({ architecture });
  });

  const withFile = (changes: object) =>
    list(product({ versions: { 1: { items: { a: file('root.tar.xz', changes) } } } }));
  it.each([
    ['another format', JSON.stringify({ format: 'products:2.0', products: {} })],
    ['a file without a digest', withFile({ sha256: 'x' })],
    ['a file without a size', withFile({ size: '5' })],
    ['a negative size', withFile({ size: -1 })],
    ['a path that climbs', withFile({ path: 'images/../../x' })],
    ['a path that is a flag', withFile({ path: '--x' })],
    ['a path with a query', withFile({ path: 'x?y' })],
  ])('is refused for %s', (_, raw) => {
    expect(thrown(() => parseStreamProducts(raw, 'debian/12'))).toMatchObject(refused);
  });

  it('is taken for its other images where one is broken', () => {
    const broken = product({
      aliases: 'broken',
      os: 'b',
      versions: { 1: { items: { a: file('root.tar.xz', { size: -1 }) } } },
    });
    expect(parseStreamProducts(list(broken, product()), 'debian/12')).toHaveLength(1);
  });
});

describe('the choice of a build', () => {
  const versions = {
    '20260301_05:24': { items: { a: file('root.tar.xz') } },
    '20260215_05:24': { items: { a: file('root.tar.xz', { sha256: older }) } },
    '20260302_05:24': { items: { a: file('squashfs') } },
  };
  const builds = parseStreamProducts(list(product({ versions })), 'debian/12');
  const wanted = { alias: 'debian/12', architecture: 'amd64', digest: undefined };

  it('is the newest that has a tarball', () => {
    expect(chooseBuild(builds, wanted)).toMatchObject({ version: '20260301_05:24' });
  });

  it('is the one with the digest', () => {
    const pinned = { ...wanted, digest: `sha256:${older}` as Digest };
    expect(chooseBuild(builds, pinned)).toMatchObject({ version: '20260215_05:24' });
  });

  it.each([
    ['an alias that is not listed', [], wanted, /no image debian\/12/],
    ['a build that is gone', builds, { ...wanted, digest: `sha256:${'c'.repeat(64)}` as Digest }, /no build/],
    [
      'another processor',
      builds,
      { ...wanted, architecture: 's390x' },
      /wanted linux\/s390x, found linux\/amd64/,
    ],
  ])('says not-found for %s', (_, from, what, message) => {
    expect(thrown(() => chooseBuild(from, what))).toMatchObject({
      kind: 'not-found',
      message: expect.stringMatching(message) as string,
    });
  });

  it('says what to do where there is no tarball', () => {
    const squashed = list(
      product({ versions: { 1: { items: { a: file('squashfs'), b: file('incus_combined.tar.gz') } } } }),
    );
    expect(thrown(() => chooseBuild(parseStreamProducts(squashed, 'debian/12'), wanted))).toMatchObject({
      kind: 'unimplemented',
      message: expect.stringMatching(/squashfs, incus_combined\.tar\.gz only/) as string,
      nextStep: expect.stringMatching(/unsquashfs/) as string,
    });
  });
});
