/** Images that try to get out of their root, to fill the node, or to lie. None needs a tool to be made. */
import {
  type Blob,
  type BuiltImage,
  buildImage,
  hostArchitecture,
  imageOf,
  makeBlob,
  mediaTypes,
} from './image-builder.ts';
import type { TarEntry } from './tar.ts';

export interface HostileImage {
  readonly name: string;
  readonly image: BuiltImage;
  /** The kinds that refuse it; undefined where it may also be unpacked, confined. */
  readonly refusedAs?: 'invalid-argument' | 'resource-exhausted';
}

const directory = (name: string): TarEntry => ({ name, type: 'directory' });
const link = (name: string, target: string): TarEntry => ({ name, type: 'symlink', target });
const hardLink = (name: string, target: string): TarEntry => ({ name, type: 'hardlink', target });
const file = (name: string, content = 'hostile\n'): TarEntry => ({ name, content });

/** Layers that aim at a directory of the host; it holds a file `canary`, and must stay as it is. */
export function escapingLayers(target: string): Readonly<Record<string, readonly (readonly TarEntry[])[]>> {
  const up = `${'../'.repeat(20)}${target.slice(1)}`;
  return {
    'a name that climbs': [[file(`${up}/new`), file(`${up}/canary`)]],
    'an absolute name': [[file(`${target}/new`), file(`${target}/canary`)]],
    'a file through a link': [[link('lnk', target), file('lnk/new'), file('lnk/canary')]],
    'a file through a link of the layer before': [[link('lnk', target)], [file('lnk/new')]],
    'a file through a relative link of the layer before': [[link('lnk', up)], [file('lnk/new')]],
    'a file that replaces a link to a file': [[link('f', `${target}/canary`)], [file('f')]],
    'a directory over a link': [[link('d', target)], [directory('d/'), file('d/new')]],
    'a hard link to the host': [[hardLink('h', `${target}/canary`)], [file('h')]],
    'a hard link that climbs': [[hardLink('h', `${up}/canary`)], [file('h')]],
    'a hard link through a link': [[link('lnk', target), hardLink('h', 'lnk/canary')], [file('h')]],
    'a whiteout through a link': [[link('lnk', target)], [file('lnk/.wh.canary', '')]],
    'a whiteout that climbs': [[file(`${up}/.wh.canary`, '')]],
    'an opaque directory through a link': [[link('lnk', target)], [file('lnk/.wh..wh..opq', '')]],
    'a whiteout without a name': [[file('.wh.', '')]],
    'a whiteout of its parent': [[directory('a/'), file('a/.wh..', '')]],
    'a root that is a link': [[link('./', target)], [file('new')]],
    'a device through a link': [
      [link('lnk', target)],
      [{ name: 'lnk/new', type: 'character', device: [1, 3] }],
    ],
    'a mode through a link': [[link('lnk', `${target}/canary`), { ...link('lnk', target), mode: 0o4777 }]],
  };
}

export const escapingImages = (target: string): HostileImage[] =>
  Object.entries(escapingLayers(target)).map(([name, layers]) => ({ name, image: buildImage({ layers }) }));

/** Places of a runtime's own mounts that a link would lead elsewhere. */
export const misleadingLinks: readonly string[] = ['dev', 'proc', 'sys', 'dev/console', 'dev/null'];

export const unusualNames: Readonly<Record<string, string>> = {
  'a name of 300 bytes': 'n'.repeat(300),
  'a directory 3000 deep': `${'d/'.repeat(3000)}f`,
  'a newline in a name': 'a\nb',
  'a name that begins with a hyphen': '--checkpoint-action=exec=sh',
};

/** Roots that would lead a runtime's own mounts to the host: CVE-2026-88264 and its like. */
export function misleadingImages(target: string): HostileImage[] {
  return misleadingLinks.map((name) => ({
    name: `/${name} as a link`,
    image: buildImage({ layers: [[...(name.includes('/') ? [directory('dev/')] : []), link(name, target)]] }),
    refusedAs: 'invalid-argument' as const,
  }));
}

/** What is too much, and what is not what it says. */
export function lyingImages(): HostileImage[] {
  const plain = [[file('a')]];
  const withConfig = (config: object): BuiltImage => buildImage({ layers: plain, config });
  const layerOf = (bytes: Buffer): Blob => makeBlob(mediaTypes.layer, bytes);
  const platform = { os: 'linux', architecture: hostArchitecture };
  const config = makeBlob(mediaTypes.config, Buffer.from(JSON.stringify(platform)));
  return [
    ...Object.entries(unusualNames).map(([name, each]) => ({
      name,
      image: buildImage({ layers: [[file(each)]] }),
    })),
    { name: 'a layer that is no archive', image: imageOf(config, [layerOf(Buffer.from('hello'))]) },
    { name: 'a config with a NUL', image: withConfig({ Env: ['A=\0'] }) },
    { name: 'a user of three parts', image: withConfig({ User: 'root:x:y' }) },
    { name: 'a relative directory', image: withConfig({ WorkingDir: '../' }) },
    {
      name: 'a sparse file of one terabyte',
      image: buildImage({ layers: [[{ ...file('s'), pax: { 'GNU.sparse.realsize': String(2 ** 40) } }]] }),
    },
  ].map((each) => ({ ...each, ...(/name of|newline|hyphen/.test(each.name) ? {} : refused) }));
}

const refused = { refusedAs: 'invalid-argument' as const };
