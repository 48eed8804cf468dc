import { chmod, lstat, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { Digest } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { type ImageSourceWorld, imageSourceConformance } from '../../test/conformance/image-source.ts';
import { hostArchitecture } from '../../test/image-builder.ts';
import {
  elfHeader,
  type ImageServer,
  makeTarball,
  shellTarball,
  startImageServer,
  systemTarball,
  type Tarball,
} from '../../test/image-server.ts';
import { passableDirectory } from '../../test/passable-directory.ts';
import { type TarEntry, writeTar } from '../../test/tar.ts';
import { createHostCommands } from '../host/command.ts';
import type { ImageSource } from './image-source.ts';
import { createTemplateSource, type TemplateSourceOptions } from './lxc-template.ts';

const commands = createHostCommands({ clock: systemClock });
const { signal } = new AbortController();
const range = { base: 1_000_000, size: 65_536 };
const systemZ = 22;

function open(home: string, options: Partial<TemplateSourceOptions> = {}): ImageSource {
  return createTemplateSource({
    directory: path.join(home, 'templates'),
    templateDirs: [path.join(home, 'tarballs')],
    imageServers: {},
    insecureServers: [],
    architecture: hostArchitecture,
    commands,
    clock: systemClock,
    random: systemRandom,
    ...options,
  });
}

async function setUpFiles(): Promise<ImageSourceWorld> {
  const home = await passableDirectory('templates');
  const tarballs = path.join(home.path, 'tarballs');
  await mkdir(tarballs);
  const { bytes, digest } = await shellTarball();
  const foreign = makeTarball(writeTar([{ name: 'bin/sh', content: elfHeader(systemZ), mode: 0o755 }]));
  await writeFile(path.join(tarballs, 'web.tar.xz'), bytes);
  await writeFile(path.join(tarballs, 'foreign.tar'), foreign.bytes);
  return {
    source: open(home.path),
    reference: `tar:${tarballs}/web.tar.xz`,
    digest: digest as Digest,
    missing: `tar:${tarballs}/missing.tar.xz`,
    foreign: `tar:${tarballs}/foreign.tar@${foreign.digest}`,
    statesPlatforms: false,
    reopen: () => open(home.path),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

async function setUpServer(): Promise<ImageSourceWorld> {
  const home = await passableDirectory('templates');
  const server = await startImageServer();
  const [tarball, older] = [await shellTarball(), await shellTarball([{ name: 'old', content: 'old' }])];
  const common = { architecture: hostArchitecture, alias: 'busybox/1.35' };
  server.list([
    { ...common, version: '20260301_05:24', tarball },
    { ...common, version: '20260201_05:24', tarball: older },
    { alias: 'foreign/1', architecture: 's390x', version: '20260301_05:24', tarball },
  ]);
  const reopen = (): ImageSource =>
    open(home.path, { imageServers: { lab: { url: `${server.url}/`, insecure: true } } });
  return {
    source: reopen(),
    reference: 'lxc:lab/busybox/1.35',
    digest: tarball.digest as Digest,
    missing: 'lxc:lab/busybox/9',
    foreign: `lxc:lab/foreign/1@${tarball.digest}`,
    reopen,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await home[Symbol.asyncDispose]();
    },
  };
}

imageSourceConformance('lxc-template, a tarball on the node', setUpFiles);
imageSourceConformance('lxc-template, a server that lists its images', setUpServer);

interface World extends AsyncDisposable {
  readonly home: string;
  readonly server: ImageServer;
  readonly source: ImageSource;
  /** Serves it as /web.tar.xz; gives the reference. */
  serve(tarball: Tarball): string;
}

async function setUp(options: Partial<TemplateSourceOptions> = {}): Promise<World> {
  const home = await passableDirectory('templates');
  const server = await startImageServer();
  const insecureServers = ['127.0.0.1'];
  return {
    home: home.path,
    server,
    source: open(home.path, { insecureServers, ...options }),
    serve({ bytes, digest }) {
      server.files.set('web.tar.xz', bytes);
      return `${server.url}/web.tar.xz@${digest}`;
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await commands.run('rm', ['-rf', '--', home.path]);
    },
  };
}

const pull = (world: World, reference: string) =>
  world.source.pull({ reference, credential: '', range }, signal);
const staged = (world: World) => readdir(path.join(world.home, 'templates/staging'));

describe('tarballs on a web server', () => {
  it('are fetched, unpacked for the range, and started by their init', async () => {
    await using world = await setUp();
    const entries: TarEntry[] = [
      { name: 'web', content: 'web', uid: 33, gid: 33, mode: 0o600 },
      { name: 'linked', type: 'hardlink', target: 'web' },
      { name: 'su', content: 'su', mode: 0o6755 },
    ];
    const reference = world.serve(await systemTarball(entries));
    const { rootfs, config } = await pull(world, reference);
    expect(config).toMatchObject({ entrypoint: ['/sbin/init'], command: [], stopSignal: 12, user: '' });
    expect(config.env).toMatchObject({ container: 'lxc' });
    const found = await lstat(path.join(rootfs, 'linked'));
    expect(found).toMatchObject({ uid: range.base + 33, gid: range.base + 33, nlink: 2 });
    const su = await lstat(path.join(rootfs, 'su'));
    expect([su.uid, su.mode & 0o7777]).toEqual([range.base, 0o6755]);
    expect((await lstat(rootfs)).uid).toBe(range.base);
    expect((await world.source.list(signal))[0]?.references).toEqual([reference]);
    expect(await staged(world)).toEqual([]);
  });

  it('keep their own ids for a range that begins at 0', async () => {
    await using world = await setUp();
    const reference = world.serve(await systemTarball([{ name: 'web', uid: 33, gid: 34 }]));
    const own = { base: 0, size: 65_536 };
    const { rootfs } = await world.source.pull({ reference, credential: '', range: own }, signal);
    expect(await lstat(path.join(rootfs, 'web'))).toMatchObject({ uid: 33, gid: 34 });
    expect((await stat(path.dirname(rootfs))).mode & 0o777).toBe(0o700);
  });

  it('are taken up again where the connection broke', async () => {
    await using world = await setUp();
    const reference = world.serve(await systemTarball());
    world.server.faults.set('web.tar.xz', [
      { kind: 'cut', afterBytes: 100_000 },
      { kind: 'cut', afterBytes: 100_000 },
    ]);
    await pull(world, reference);
    const [first, ...more] = world.server.requests.map((request) => Number(request.split(' from ')[1] ?? 0));
    expect([first, more.length]).toEqual([0, 2]);
    expect(more[0]).toBeGreaterThan(0);
    expect(more[1]).toBeGreaterThan(more[0] ?? 0);
  });

  it('are given up when nothing comes any more, and leave nothing', async () => {
    await using world = await setUp({ stallMs: 600 });
    const reference = world.serve(await systemTarball());
    world.server.faults.set('web.tar.xz', [{ kind: 'stall', afterBytes: 100_000 }]);
    await expect(pull(world, reference)).rejects.toMatchObject({
      kind: 'deadline-exceeded',
      message: expect.stringMatching(/after 100000 bytes/) as string,
    });
    expect(await staged(world)).toEqual([]);
    await pull(world, reference);
  });

  it('are refused when the server changed them', async () => {
    await using world = await setUp();
    const tarball = await systemTarball();
    const reference = world.serve(tarball);
    const changed = Buffer.from(tarball.bytes);
    changed[1000] = (changed[1000] ?? 0) ^ 1;
    world.server.files.set('web.tar.xz', changed);
    await expect(pull(world, reference)).rejects.toMatchObject({ kind: 'data-loss' });
    expect(await world.source.list(signal)).toEqual([]);
    expect(await staged(world)).toEqual([]);
  });

  it('follow redirects, and neither to a host that must have TLS nor without end', async () => {
    await using world = await setUp();
    const reference = world.serve(await systemTarball());
    const to = (location: string) => ({ kind: 'status', status: 302, location }) as const;
    world.server.faults.set('web.tar.xz', [to('http://192.0.2.1/web.tar.xz')]);
    await expect(pull(world, reference)).rejects.toMatchObject({ kind: 'permission-denied' });
    world.server.faults.set('web.tar.xz', Array(20).fill(to('/web.tar.xz')));
    await expect(pull(world, reference)).rejects.toMatchObject({ kind: 'unavailable' });
    world.server.faults.set('web.tar.xz', [to('/web.tar.xz')]);
    await pull(world, reference);
  });

  it.each([
    [404, 'not-found'],
    [403, 'permission-denied'],
    [503, 'unavailable'],
  ])('answer %i means %s', async (status, kind) => {
    await using world = await setUp();
    const reference = world.serve(await systemTarball());
    world.server.faults.set('web.tar.xz', [{ kind: 'status', status }]);
    await expect(pull(world, reference)).rejects.toMatchObject({ kind });
  });

  it('are refused without TLS, but from hosts that are named', async () => {
    await using world = await setUp({ insecureServers: [] });
    const reference = world.serve(await systemTarball());
    await expect(pull(world, reference)).rejects.toMatchObject({
      kind: 'permission-denied',
      nextStep: expect.stringMatching(/insecureImageServers/) as string,
    });
    expect(world.server.requests).toEqual([]);
  });

  it('are refused from a server whose certificate nobody vouches for', async () => {
    await using world = await setUp();
    const names = ['key.pem', 'cert.pem'].map((name) => path.join(world.home, name));
    const [key = '', cert = ''] = names;
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    const subject = ['-keyout', key, '-out', cert, '-days', '1', '-subj', '/CN=127.0.0.1'];
    expect((await commands.run('openssl', [...request, ...subject])).exitCode).toBe(0);
    const [keyText = '', certText = ''] = await Promise.all(names.map((name) => readFile(name, 'utf8')));
    await using server = await startImageServer({ key: keyText, cert: certText });
    const tarball = await systemTarball();
    server.files.set('web.tar.xz', tarball.bytes);
    const pulling = pull(world, `${server.url}/web.tar.xz@${tarball.digest}`);
    await expect(pulling).rejects.toMatchObject({
      kind: 'unavailable',
      nextStep: expect.stringMatching(/NODE_EXTRA_CA_CERTS/) as string,
    });
    expect(server.requests).toEqual([]);
  });

  it.each([
    ['a tarball larger than allowed', { maxBytes: 1000 }],
    ['more files than allowed', { maxFiles: 3 }],
  ])('refuse %s', async (_, limit) => {
    await using world = await setUp({
      limits: { maxLayers: 1, maxBytes: 2 ** 30, maxFiles: 1000, ...limit },
    });
    const reference = world.serve(await systemTarball());
    await expect(pull(world, reference)).rejects.toMatchObject({ kind: 'resource-exhausted' });
    expect(await staged(world)).toEqual([]);
  });
});

describe('tarballs on the node', () => {
  it('are refused outside of the directories that are allowed, by whatever way', async () => {
    await using world = await setUp();
    await mkdir(path.join(world.home, 'tarballs'));
    const outside = path.join(world.home, 'outside.tar');
    await writeFile(outside, writeTar([]));
    await commands.run('ln', ['-s', outside, path.join(world.home, 'tarballs/lnk.tar')]);
    for (const place of [outside, path.join(world.home, 'tarballs/lnk.tar'), '/etc/shadow']) {
      const resolving = world.source.resolve(`tar:${place}`, '', signal);
      await expect(resolving).rejects.toMatchObject({ kind: 'permission-denied' });
    }
  });

  it('say data-loss when they are not what the digest says', async () => {
    await using world = await setUp();
    await mkdir(path.join(world.home, 'tarballs'));
    const file = path.join(world.home, 'tarballs/web.tar.xz');
    await writeFile(file, (await systemTarball()).bytes);
    const { digest } = await world.source.resolve(`tar:${file}`, '', signal);
    await writeFile(file, (await shellTarball()).bytes);
    await expect(pull(world, `tar:${file}@${digest}`)).rejects.toMatchObject({ kind: 'data-loss' });
  });
});

describe('an image that is removed', () => {
  it('is gone for all ranges, gives its bytes, and can be pulled again', async () => {
    await using world = await setUp();
    const reference = world.serve(await systemTarball());
    const { digest, sizeBytes } = await pull(world, reference);
    await world.source.pull({ reference, credential: '', range: { ...range, base: 2_000_000 } }, signal);
    expect(await world.source.remove(digest, signal)).toBe(2 * sizeBytes);
    expect(await world.source.find(reference, range)).toBeUndefined();
    expect(await world.source.list(signal)).toEqual([]);
    expect(await readdir(path.join(world.home, 'templates/roots'))).toEqual([]);
    expect(await world.source.remove(digest, signal)).toBe(0);
    await pull(world, reference);
  });

  it('stays when it turns out to be used, also after a crash before that was known', async () => {
    await using world = await setUp();
    const reference = world.serve(await systemTarball());
    const { digest } = await pull(world, reference);
    const removing = world.source.remove(digest, signal, () => true);
    await expect(removing).rejects.toMatchObject({ kind: 'failed-precondition' });
    expect(await world.source.find(reference, range)).toBeDefined();
    const [root = ''] = await readdir(path.join(world.home, 'templates/roots'));
    const at = (name: string) => path.join(world.home, 'templates/roots', root, name);
    await commands.run('mv', ['--', at('ready'), at('leaving')]);
    const again = open(world.home, { insecureServers: ['127.0.0.1'] });
    await again.pull({ reference, credential: '', range }, signal);
    expect(world.server.requests).toHaveLength(1);
  });
});

describe('the init of a tarball', () => {
  const script: TarEntry = { name: 'sbin/init', content: '#!/bin/sh\n', mode: 0o755 };
  const elf = (name: string): TarEntry => ({
    name,
    content: elfHeader(hostArchitecture === 'arm64' ? 183 : 62),
  });
  it.each<[string, number, TarEntry[]]>([
    [
      'systemd by an absolute link',
      37,
      [
        { name: 'sbin/init', type: 'symlink', target: '/lib/systemd/systemd' },
        { name: 'lib', type: 'symlink', target: 'usr/lib' },
        elf('usr/lib/systemd/systemd'),
      ],
    ],
    ['System V', 30, [script]],
    [
      'busybox below a linked /sbin',
      12,
      [
        { name: 'sbin', type: 'symlink', target: 'usr/sbin' },
        { name: 'usr/sbin/init', type: 'symlink', target: '../../bin/busybox' },
        elf('bin/busybox'),
      ],
    ],
  ])('%s ends with signal %i', async (_, stopSignal, entries) => {
    await using world = await setUp();
    const { config } = await pull(world, world.serve(makeTarball(writeTar(entries))));
    expect(config).toMatchObject({ entrypoint: ['/sbin/init'], stopSignal });
  });

  it('that leads out of the root is none', async () => {
    await using world = await setUp();
    const out: TarEntry = {
      name: 'sbin/init',
      type: 'symlink',
      target: `${'../'.repeat(9)}${process.execPath.slice(1)}`,
    };
    const { config } = await pull(world, world.serve(makeTarball(writeTar([out]))));
    expect(config).toMatchObject({ entrypoint: [], command: [], stopSignal: 15 });
    await chmod(world.home, 0o711);
  });
});
