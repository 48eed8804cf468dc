import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { Digest } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { type ImageSourceWorld, imageSourceConformance } from '../../test/conformance/image-source.ts';
import { createFakeImageSource, createFakeImageStore } from '../../test/fakes/image-source.ts';
import { startRegistry } from '../../test/fakes/registry.ts';
import {
  buildBusybox,
  buildIndex,
  hostArchitecture,
  pushImage,
  writeLayout,
} from '../../test/image-builder.ts';
import { passableDirectory } from '../../test/passable-directory.ts';
import { createHostCommands } from '../host/command.ts';
import { createOciSource } from './oci.ts';

async function setUpFake(): Promise<ImageSourceWorld> {
  const home = await passableDirectory('images-fake');
  const store = createFakeImageStore();
  const platform = `linux/${hostArchitecture}`;
  const open = () => createFakeImageSource({ directory: home.path, store, platform });
  const reference = 'registry.test/web:1';
  const digest = store.publish(reference);
  const foreign = store.publish('registry.test/foreign:1', { platforms: ['linux/s390x'] });
  return {
    source: open(),
    reference,
    digest,
    missing: 'registry.test/missing:1',
    foreign: `registry.test/foreign@${foreign}`,
    reopen: open,
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

const files = [{ name: 'etc/hostname', content: 'web\n' }];
const platformOf = (architecture: string) => ({ os: 'linux', architecture });

async function images() {
  const image = await buildBusybox({}, { extra: files });
  const other = await buildBusybox({}, { architecture: 's390x' });
  const index = buildIndex([
    { image: other, platform: platformOf('s390x') },
    { image, platform: platformOf(hostArchitecture) },
  ]);
  return { image, index, foreign: buildIndex([{ image: other, platform: platformOf('s390x') }]) };
}

function open(directory: string, layoutDirs: readonly string[]) {
  return createOciSource({
    directory: path.join(directory, 'images'),
    credentialsDir: path.join(directory, 'credentials'),
    insecureRegistries: ['127.0.0.1'],
    layoutDirs,
    architecture: hostArchitecture,
    run: createHostCommands({ clock: systemClock }).run,
    clock: systemClock,
    random: systemRandom,
  });
}

async function setUpRegistry(kind: 'image' | 'index'): Promise<ImageSourceWorld> {
  const home = await passableDirectory('images');
  const registry = await startRegistry();
  const built = await images();
  const push = (repository: string, which: keyof typeof built) =>
    pushImage({ url: registry.url, repository, tag: '1' }, built[which]);
  const digest = (await push('web', kind)) as Digest;
  const foreign = await push('foreign', 'foreign');
  return {
    source: open(home.path, []),
    reference: `${registry.address}/web:1`,
    digest,
    missing: `${registry.address}/missing:1`,
    foreign: `${registry.address}/foreign@${foreign}`,
    reopen: () => open(home.path, []),
    async [Symbol.asyncDispose]() {
      await registry.stop();
      await home[Symbol.asyncDispose]();
    },
  };
}

async function setUpLayout(): Promise<ImageSourceWorld> {
  const home = await passableDirectory('images');
  const layouts = path.join(home.path, 'layouts');
  const { index, foreign } = await images();
  await writeLayout(path.join(layouts, 'web'), index, '1');
  await writeLayout(path.join(layouts, 'foreign'), foreign, '1');
  return {
    source: open(home.path, [layouts]),
    reference: `oci:${layouts}/web:1`,
    digest: index.root.digest as Digest,
    missing: `oci:${layouts}/missing:1`,
    foreign: `oci:${layouts}/foreign:1@${foreign.root.digest}`,
    reopen: () => open(home.path, [layouts]),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

imageSourceConformance('fake', setUpFake);
imageSourceConformance('oci, an image in a registry', () => setUpRegistry('image'));
imageSourceConformance('oci, an index in a registry', () => setUpRegistry('index'));
imageSourceConformance('oci, a layout on the node', setUpLayout);

describe('an image of an index', () => {
  it('takes what is known of the index with it when it goes', async () => {
    await using world = await setUpRegistry('index');
    const request = { reference: `${world.reference}@${world.digest}`, credential: '' };
    const { signal } = new AbortController();
    const range = { base: 1_000_000, size: 65_536 };
    const { digest, rootfs } = await world.source.pull({ ...request, range }, signal);
    expect(digest).not.toBe(world.digest);
    const indexes = path.join(rootfs, '../../../indexes');
    expect(await readdir(indexes)).toHaveLength(1);
    await world.source.remove(digest, signal);
    expect(await readdir(indexes)).toEqual([]);
  });
});
