import { lstat, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { asDroverError } from '#shared/errors.ts';
import { systemRandom } from '#shared/random.ts';
import { escapingLayers, misleadingLinks, unusualNames } from '../../test/hostile-images.ts';
import { hostArchitecture } from '../../test/image-builder.ts';
import { makeTarball, xz } from '../../test/image-server.ts';
import { passableDirectory } from '../../test/passable-directory.ts';
import { type TarEntry, writeTar } from '../../test/tar.ts';
import { createHostCommands } from '../host/command.ts';
import type { ImageSource, PulledImage } from './image-source.ts';
import { createTemplateSource } from './lxc-template.ts';
import { defaultLimits, type ImageLimits } from './manifest.ts';

const { signal } = new AbortController();
const range = { base: 1_000_000, size: 65_536 };
const commands = createHostCommands({ clock: systemClock });

interface World extends AsyncDisposable {
  readonly directory: string;
  /** A directory of the host that tarballs aim at. */
  readonly target: string;
  readonly source: ImageSource;
  pull(bytes: Buffer): Promise<PulledImage>;
}

async function setUp(limits: ImageLimits = defaultLimits): Promise<World> {
  const home = await passableDirectory('hostile-tarballs');
  const target = path.join(home.path, 'target');
  await mkdir(target);
  await writeFile(path.join(target, 'canary'), 'alive\n', { mode: 0o644 });
  const file = path.join(home.path, 'hostile.tar');
  const source = createTemplateSource({
    directory: path.join(home.path, 'templates'),
    templateDirs: [home.path],
    imageServers: {},
    insecureServers: [],
    architecture: hostArchitecture,
    commands,
    clock: systemClock,
    random: systemRandom,
    limits,
  });
  return {
    directory: home.path,
    target,
    source,
    async pull(bytes) {
      await writeFile(file, bytes);
      const reference = `tar:${file}@${makeTarball(bytes).digest}`;
      return source.pull({ reference, credential: '', range }, signal);
    },
    async [Symbol.asyncDispose]() {
      await commands.run('rm', ['-rf', '--', home.path]);
    },
  };
}

async function expectConfined(world: World, outcome: string): Promise<void> {
  expect(await world.source.list(signal)).toHaveLength(outcome === 'unpacked' ? 1 : 0);
  expect(await readdir(world.target)).toEqual(['canary']);
  expect(await readFile(path.join(world.target, 'canary'), 'utf8')).toBe('alive\n');
  const canary = await stat(path.join(world.target, 'canary'));
  expect(canary).toMatchObject({ uid: 0, gid: 0, nlink: 1 });
  expect(canary.mode & 0o7777).toBe(0o644);
  expect(await readdir(path.join(world.directory, 'templates/staging'))).toEqual([]);
}

const kindOf = (pulling: Promise<PulledImage>): Promise<string> =>
  pulling.then(
    () => 'unpacked',
    (error: unknown) => asDroverError(error).kind,
  );

describe('hostile tarballs', () => {
  it.each(Object.keys(escapingLayers('/x')))('confines or refuses %s', async (name) => {
    await using world = await setUp();
    const entries = (escapingLayers(world.target)[name] ?? []).flat();
    const outcome = await kindOf(world.pull(writeTar(entries)));
    expect(['invalid-argument', 'unpacked']).toContain(outcome);
    await expectConfined(world, outcome);
  });

  it.each(misleadingLinks)('refuses /%s as a link', async (name) => {
    await using world = await setUp();
    const link: TarEntry = { name, type: 'symlink', target: world.target };
    const outcome = await kindOf(world.pull(writeTar([link])));
    expect(outcome).toBe('invalid-argument');
    await expectConfined(world, outcome);
  });

  it('keeps other links that lead out as links, and follows none', async () => {
    await using world = await setUp();
    const link = (name: string): TarEntry => ({ name, type: 'symlink', target: `${world.target}/canary` });
    const { rootfs } = await world.pull(
      writeTar([link('etc/resolv.conf'), link('sbin/init'), link('bin/sh')]),
    );
    expect((await lstat(path.join(rootfs, 'etc/resolv.conf'))).uid).toBe(range.base);
    await expectConfined(world, 'unpacked');
  });

  it.each(Object.entries(unusualNames))('refuses or unpacks %s', async (_, name) => {
    await using world = await setUp();
    const outcome = await kindOf(world.pull(writeTar([{ name, content: 'x' }])));
    expect(['invalid-argument', 'unpacked']).toContain(outcome);
    await expectConfined(world, outcome);
  });

  it('drops device nodes, keeps fifos, setuid and no file capability', async () => {
    await using world = await setUp();
    const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex').toString('latin1');
    const entries: TarEntry[] = [
      { name: 'disk', type: 'block', device: [8, 0], mode: 0o666 },
      { name: 'null', type: 'character', device: [1, 3], mode: 0o666 },
      { name: 'fifo', type: 'fifo' },
      { name: 'su', mode: 0o4755, content: '#!/bin/sh\n' },
      { name: 'ping', mode: 0o755, content: '', pax: { 'SCHILY.xattr.security.capability': capability } },
    ];
    const { rootfs } = await world.pull(writeTar(entries));
    expect((await readdir(rootfs)).toSorted()).toEqual(['fifo', 'ping', 'su']);
    const su = await lstat(path.join(rootfs, 'su'));
    expect([su.uid, su.mode & 0o7777]).toEqual([range.base, 0o4755]);
    const perl =
      '$n = "security.capability"; $v = "\\0" x 64; exit(syscall(191, $ARGV[0], $n, $v, 64) < 0 ? 0 : 9)';
    expect((await commands.run('perl', ['-e', perl, path.join(rootfs, 'ping')])).exitCode).toBe(0);
  });

  it.each([
    ['plain', (tar: Buffer) => tar],
    ['gzip', gzipSync],
    ['xz', xz],
    ['zstd', zstdCompressSync],
  ])('reads %s by its content, and refuses it when it is cut', async (_, compress) => {
    await using world = await setUp();
    const whole = compress(writeTar([{ name: 'f', content: Buffer.alloc(600_000, 'drover') }]));
    expect(await kindOf(world.pull(whole.subarray(0, Math.floor(whole.length / 2))))).toBe(
      'invalid-argument',
    );
    await expectConfined(world, 'refused');
    const { rootfs } = await world.pull(whole);
    expect((await stat(path.join(rootfs, 'f'))).size).toBe(600_000);
  });

  it.each([
    ['gzip', gzipSync],
    ['xz', xz],
    ['zstd', zstdCompressSync],
  ])('stops a %s bomb at the limit', async (_, compress) => {
    await using world = await setUp({ ...defaultLimits, maxBytes: 4_000_000 });
    const bomb = compress(writeTar([{ name: 'zeros', content: Buffer.alloc(64_000_000) }]));
    expect(bomb.length).toBeLessThan(100_000);
    expect(await kindOf(world.pull(bomb))).toBe('resource-exhausted');
    await expectConfined(world, 'refused');
  });

  it.each<[string, Buffer, string]>([
    ['nothing', Buffer.alloc(0), 'invalid-argument'],
    ['text', Buffer.from('hello\n'), 'invalid-argument'],
    ['a squashfs', Buffer.from(`hsqs${'\0'.repeat(600)}`), 'unimplemented'],
    [
      'a sparse file',
      writeTar([{ name: 's', pax: { 'GNU.sparse.realsize': String(2 ** 40) } }]),
      'invalid-argument',
    ],
    ['owners beyond the range', writeTar([{ name: 'f', uid: 1_000_000 }]), 'invalid-argument'],
    [
      'a unified image',
      writeTar([
        { name: 'metadata.yaml', content: 'a: b' },
        { name: 'rootfs/etc/', type: 'directory' },
      ]),
      'invalid-argument',
    ],
  ])('refuses %s', async (_, bytes, kind) => {
    await using world = await setUp();
    expect(await kindOf(world.pull(bytes))).toBe(kind);
    await expectConfined(world, 'refused');
  });

  it('leaves nothing behind for a caller who gave up in the middle', async () => {
    await using world = await setUp();
    const bytes = xz(writeTar([{ name: 'f', content: Buffer.alloc(50_000_000, 'drover') }]));
    const file = path.join(world.directory, 'large.tar.xz');
    await writeFile(file, bytes);
    const reference = `tar:${file}@${makeTarball(bytes).digest}`;
    const giving = new AbortController();
    const onProgress = ({ step }: { step: string }): void => {
      if (step === 'unpacking') giving.abort(new Error('the caller gave up'));
    };
    const pulling = world.source.pull({ reference, credential: '', range, onProgress }, giving.signal);
    await expect(pulling).rejects.toThrow(/gave up/);
    await world.source.pull({ reference, credential: '', range }, signal);
    await expectConfined(world, 'unpacked');
  });
});
