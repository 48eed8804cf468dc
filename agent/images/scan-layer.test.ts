import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { passableDirectory } from '../../test/passable-directory.ts';
import { type TarEntry, writeTar } from '../../test/tar.ts';
import { scanLayer } from './scan-layer.ts';

const { signal } = new AbortController();
const limits = { maxBytes: 20 * 1024 ** 2, maxFiles: 50 };

async function scan(bytes: Buffer, gzip = true) {
  await using home = await passableDirectory('scan');
  const file = path.join(home.path, 'layer');
  await writeFile(file, bytes);
  return await scanLayer({ file, gzip }, limits, signal);
}

const tar = (...entries: TarEntry[]): Buffer => gzipSync(writeTar(entries));
const file: TarEntry = { name: 'a', content: 'x'.repeat(1000) };

/** A header whose size field says more than comes. */
function claiming(bytes: number): Buffer {
  const whole = writeTar([{ name: 'a' }]);
  whole.write(`${bytes.toString(8).padStart(11, '0')}\0`, 124, 'latin1');
  whole.fill(' ', 148, 156);
  const sum = whole.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  whole.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return whole;
}

describe('scanLayer', () => {
  it('counts files and bytes, compressed or not', async () => {
    const directory: TarEntry = { name: 'd/', type: 'directory' };
    const long: TarEntry = { name: `d/${'n'.repeat(150)}`, content: '' };
    const plain = writeTar([directory, file, long, { name: 'l', type: 'symlink', target: 'a' }]);
    expect(await scan(plain, false)).toEqual({ files: 4, bytes: plain.length });
    expect(await scan(gzipSync(plain))).toEqual({ files: 4, bytes: plain.length });
  });

  it.each([
    ['a gzip bomb', gzipSync(Buffer.alloc(64 * 1024 ** 2)), 'resource-exhausted'],
    ['a file of one terabyte', gzipSync(claiming(2 ** 32)), 'resource-exhausted'],
    ['too many files', tar(...Array.from({ length: 51 }, () => file)), 'resource-exhausted'],
    ['a sparse file', tar({ ...file, pax: { 'GNU.sparse.realsize': '1099511627776' } }), 'invalid-argument'],
    ['a size that pax makes huge', tar({ ...file, pax: { size: '1099511627776' } }), 'resource-exhausted'],
    ['a size that is none', tar({ ...file, pax: { size: '-1' } }), 'invalid-argument'],
    ['a file that ends early', gzipSync(claiming(100_000)), 'invalid-argument'],
    ['no archive', gzipSync(Buffer.alloc(2048, 'x')), 'invalid-argument'],
    ['no gzip', Buffer.from('not gzip'), 'invalid-argument'],
    ['gzip that breaks off', tar(file).subarray(0, 40), 'invalid-argument'],
  ])('refuses %s', async (_, bytes, kind) => {
    await expect(scan(bytes)).rejects.toMatchObject({ kind });
  });
});
