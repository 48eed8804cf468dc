import { appendFile, chmod, lstat, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { asDroverError } from '#shared/errors.ts';
import { systemRandom } from '#shared/random.ts';
import { type Registry, startRegistry } from '../../test/fakes/registry.ts';
import {
  escapingImages,
  type HostileImage,
  lyingImages,
  misleadingImages,
} from '../../test/hostile-images.ts';
import {
  type BuiltImage,
  buildBusybox,
  buildImage,
  hostArchitecture,
  pushImage,
  writeLayout,
} from '../../test/image-builder.ts';
import { passableDirectory } from '../../test/passable-directory.ts';
import { createHostCommands } from '../host/command.ts';
import type { ImageSource, PulledImage } from './image-source.ts';
import { defaultLimits, type ImageLimits } from './manifest.ts';
import { createOciSource } from './oci.ts';

const { signal } = new AbortController();
const range = { base: 1_000_000, size: 65_536 };
const { run } = createHostCommands({ clock: systemClock });

interface World extends AsyncDisposable {
  readonly directory: string;
  /** A directory of the host that images aim at. */
  readonly target: string;
  readonly source: ImageSource;
  pull(image: BuiltImage): Promise<PulledImage>;
}

/** Layouts on disk, so that nothing between the image and the unpacker checks anything. */
async function setUp(limits: ImageLimits = defaultLimits): Promise<World> {
  const home = await passableDirectory('hostile');
  const target = path.join(home.path, 'target');
  await mkdir(target);
  await writeFile(path.join(target, 'canary'), 'alive\n', { mode: 0o644 });
  const layouts = path.join(home.path, 'layouts');
  const source = open(home.path, { layoutDirs: [layouts], limits });
  return {
    directory: home.path,
    target,
    source,
    async pull(image) {
      const name = image.root.digest.slice(7, 20);
      await writeLayout(path.join(layouts, name), image, '1');
      const reference = `oci:${layouts}/${name}@${image.root.digest}`;
      return source.pull({ reference, credential: '', range }, signal);
    },
    async [Symbol.asyncDispose]() {
      await run('rm', ['-rf', '--', home.path]);
    },
  };
}

function open(
  directory: string,
  options: { layoutDirs?: string[]; limits?: ImageLimits; insecureRegistries?: string[] },
): ImageSource {
  return createOciSource({
    directory: path.join(directory, 'images'),
    credentialsDir: path.join(directory, 'credentials'),
    insecureRegistries: ['127.0.0.1'],
    layoutDirs: [],
    architecture: hostArchitecture,
    clock: systemClock,
    random: systemRandom,
    run,
    ...options,
  });
}

async function expectUntouched(world: World): Promise<void> {
  expect(await readdir(world.target)).toEqual(['canary']);
  expect(await readFile(path.join(world.target, 'canary'), 'utf8')).toBe('alive\n');
  const canary = await stat(path.join(world.target, 'canary'));
  expect(canary).toMatchObject({ uid: 0, nlink: 1 });
  expect(canary.mode & 0o7777).toBe(0o644);
}

async function expectNoLeftovers(world: World): Promise<void> {
  expect(await readdir(path.join(world.directory, 'images/staging'))).toEqual([]);
}

/** Pulls, and holds it to: refused as it should be, or confined. */
async function expectConfined(world: World, hostile: HostileImage): Promise<void> {
  const outcome = await world.pull(hostile.image).then(
    () => 'unpacked',
    (error: unknown) => asDroverError(error).kind,
  );
  const { refusedAs } = hostile;
  expect(refusedAs === undefined ? ['invalid-argument', 'unpacked'] : [refusedAs]).toContain(outcome);
  expect(await world.source.list(signal)).toHaveLength(outcome === 'unpacked' ? 1 : 0);
  await expectUntouched(world);
  await expectNoLeftovers(world);
}

describe('hostile images', () => {
  const names = (images: readonly HostileImage[]) => images.map(({ name }) => name);
  const escaping = (target: string) => [...escapingImages(target), ...misleadingImages(target)];

  it.each(names(escaping('/x')))('confines or refuses %s', async (name) => {
    await using world = await setUp();
    const hostile = escaping(world.target).find((each) => each.name === name);
    expect(hostile).toBeDefined();
    if (hostile !== undefined) await expectConfined(world, hostile);
  });

  it.each(names(lyingImages()))('confines or refuses %s', async (name) => {
    await using world = await setUp();
    const hostile = lyingImages().find((each) => each.name === name);
    expect(hostile).toBeDefined();
    if (hostile !== undefined) await expectConfined(world, hostile);
  });

  it('drops device nodes, keeps fifos, and setuid for shifted ids only', async () => {
    await using world = await setUp();
    const entries = [
      { name: 'disk', type: 'block', device: [8, 0], mode: 0o666 },
      { name: 'null', type: 'character', device: [1, 3], mode: 0o666 },
      { name: 'fifo', type: 'fifo' },
      { name: 'su', mode: 0o4755, content: '#!/bin/sh\n' },
    ] as const;
    const { rootfs } = await world.pull(buildImage({ layers: [entries] }));
    expect((await readdir(rootfs)).sort()).toEqual(['fifo', 'su']);
    expect(await lstat(path.join(rootfs, 'su'))).toMatchObject({ uid: range.base, gid: range.base });
  });

  it('refuses owners beyond the range, or shifts them', async () => {
    await using world = await setUp();
    const entries = [{ name: 'f', uid: 33, gid: 33 }];
    const { rootfs } = await world.pull(buildImage({ layers: [entries] }));
    expect(await lstat(path.join(rootfs, 'f'))).toMatchObject({ uid: range.base + 33 });
    const beyond = world.pull(buildImage({ layers: [[{ name: 'f', uid: 1_000_000 }]] }));
    await expect(beyond).rejects.toMatchObject({ kind: 'invalid-argument' });
  });

  it.each([
    ['more files than allowed', { maxFiles: 3 }],
    ['more bytes than allowed', { maxBytes: 100_000 }],
    ['more layers than allowed', { maxLayers: 1 }],
  ])('refuses %s, before they are on disk', async (_, limit) => {
    await using world = await setUp({ ...defaultLimits, ...limit });
    const files = Array.from({ length: 4 }, (_none, index) => ({ name: `f${index}` }));
    const image = buildImage({ layers: [files, [{ name: 'zeros', content: Buffer.alloc(1_000_000) }]] });
    await expect(world.pull(image)).rejects.toMatchObject({ kind: 'resource-exhausted' });
    await expectNoLeftovers(world);
  });

  it('refuses layouts that no directory allows, by whatever way', async () => {
    await using world = await setUp();
    const outside = path.join(world.directory, 'outside');
    await writeLayout(outside, await buildBusybox(), '1');
    await mkdir(path.join(world.directory, 'layouts'), { recursive: true });
    await run('ln', ['-s', outside, path.join(world.directory, 'layouts/lnk')]);
    for (const place of [outside, path.join(world.directory, 'layouts/lnk'), '/nowhere']) {
      const resolving = world.source.resolve(`oci:${place}:1`, '', signal);
      await expect(resolving).rejects.toMatchObject({ kind: 'permission-denied' });
    }
  });

  it('says data-loss for a blob that was changed on disk', async () => {
    await using world = await setUp();
    const image = buildImage({ layers: [[{ name: 'f' }]] });
    await writeLayout(path.join(world.directory, 'layouts/x'), image, '1');
    const layer = image.blobs[0]?.digest.slice(7) ?? '';
    await appendFile(path.join(world.directory, 'layouts/x/blobs/sha256', layer), 'x');
    const reference = `oci:${world.directory}/layouts/x@${image.root.digest}`;
    const pulling = world.source.pull({ reference, credential: '', range }, signal);
    await expect(pulling).rejects.toMatchObject({ kind: 'data-loss' });
    await expectNoLeftovers(world);
  });
});

describe('registries', () => {
  /** bcrypt of "secret". */
  const htpasswd = 'drover:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n';
  const authorization = `Basic ${Buffer.from('drover:secret').toString('base64')}`;
  let image: BuiltImage;
  beforeAll(async () => {
    image = await buildBusybox();
  });

  const push = (registry: Registry): Promise<string> =>
    pushImage({ url: registry.url, repository: 'web', tag: '1', authorization }, image);

  it('says data-loss for a layer that was changed in the registry', async () => {
    await using home = await passableDirectory('registry');
    await using registry = await startRegistry();
    const digest = await push(registry);
    const hex = image.blobs[0]?.digest.slice(7) ?? '';
    const blobs = path.join(registry.dataDirectory, 'docker/registry/v2/blobs/sha256');
    const data = path.join(blobs, hex.slice(0, 2), hex, 'data');
    const bytes = await readFile(data);
    bytes[1000] = (bytes[1000] ?? 0) ^ 1;
    await writeFile(data, bytes);
    const source = open(home.path, {});
    const reference = `${registry.address}/web@${digest}`;
    const pulling = source.pull({ reference, credential: '', range }, signal);
    await expect(pulling).rejects.toMatchObject({ kind: 'data-loss' });
    expect(await source.list(signal)).toEqual([]);
  });

  it('says unavailable where nobody answers, and where TLS is wanted and not spoken', async () => {
    await using home = await passableDirectory('registry');
    const registry = await startRegistry();
    const reference = `${registry.address}/web:1`;
    try {
      const strict = open(home.path, { insecureRegistries: [] });
      const resolving = strict.resolve(reference, '', signal);
      await expect(resolving).rejects.toMatchObject({
        kind: 'unavailable',
        nextStep: expect.stringMatching(/insecure/) as string,
      });
    } finally {
      await registry.stop();
    }
    const resolving = open(home.path, {}).resolve(reference, '', signal);
    await expect(resolving).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it('uses a credential by its name, and only one that nobody else can read', async () => {
    await using home = await passableDirectory('registry');
    await using registry = await startRegistry({ htpasswd });
    const digest = await push(registry);
    const source = open(home.path, {});
    const resolve = (credential: string) => source.resolve(`${registry.address}/web:1`, credential, signal);
    await expect(resolve('')).rejects.toMatchObject({ kind: 'permission-denied' });
    await expect(resolve('team')).rejects.toMatchObject({
      kind: 'permission-denied',
      nextStep: expect.stringMatching(/0600/) as string,
    });
    await expect(resolve('../team')).rejects.toMatchObject({ kind: 'invalid-argument' });

    const file = path.join(home.path, 'credentials/team.json');
    await mkdir(path.dirname(file));
    const auth = Buffer.from('drover:secret').toString('base64');
    await writeFile(file, JSON.stringify({ auths: { [registry.address]: { auth } } }), { mode: 0o644 });
    await expect(resolve('team')).rejects.toMatchObject({ nextStep: `chmod 600 ${file}` });
    await chmod(file, 0o600);
    expect(await resolve('team')).toMatchObject({ digest });
  });
});
