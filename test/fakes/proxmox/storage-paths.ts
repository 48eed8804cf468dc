/** Where files lie on a storage, and by what names. */
import { refusal } from './failure.ts';
import type { StorageDefinition } from './storage-model.ts';
import type { World } from './world.ts';

/** By the first part of a volume's name. */
export const contentFolders: Readonly<Record<string, string>> = {
  vztmpl: 'template/cache',
  iso: 'template/iso',
  import: 'import',
  snippets: 'snippets',
  backup: 'dump',
};

/** 500 "storage 'nope' does not exist", or that the node has it not. */
export function needStorage(world: World, id: string, node: string): StorageDefinition {
  const definition = world.storages.definitions.get(id);
  if (definition === undefined) throw refusal(`storage '${id}' does not exist`);
  if (!definition.enabled) throw refusal(`storage '${id}' is disabled`);
  if (!world.storages.isOn(definition, node)) {
    throw refusal(`storage '${id}' is not available on node '${node}'`);
  }
  return definition;
}

const endings: Readonly<Record<string, RegExp>> = {
  vztmpl: /\.tar\.(?:gz|xz|zst|bz2)$/i,
  iso: /\.(?:iso|img)$/i,
  import: /^[a-zA-Z0-9.+=_-]+\.(?:ova|qcow2|raw|vmdk)$/,
};

/** Of what is brought to a storage. Archives of registries, which are not compressed, are known from 9 on. */
export const hasFittingName = (content: string, name: string, major: number): boolean =>
  (endings[content]?.test(name) ?? false) || (content === 'vztmpl' && major > 8 && /\.tar$/i.test(name));

/** Everything but plain letters, digits and a few signs becomes "_". */
export const plainName = (name: string): string =>
  (name.split(/[/\\]/).at(-1) ?? '').replace(/[^A-Za-z0-9_.-]/g, '_');

export function formatOf(content: string, name: string): string {
  const ending = name.split('.').at(-1) ?? '';
  if (content === 'vztmpl') return `t${ending}`;
  return content === 'iso' ? 'iso' : ending;
}

/** The path on the node: "/var/lib/vz/template/cache/alpine.tar.gz". */
export const filePath = (definition: StorageDefinition, content: string, name: string): string =>
  `${definition.path ?? '/mnt'}/${contentFolders[content] ?? content}/${name}`;

/** Puts a file there as if it had been uploaded before the test began. */
export function placeFile(
  world: World,
  node: string,
  storage: string,
  file: {
    readonly content: string;
    readonly name: string;
    readonly sizeBytes: number;
    readonly sha256?: string;
  },
): string {
  const volid = `${storage}:${file.content}/${file.name}`;
  world.storages.volumes(storage, node).set(volid, {
    volid,
    content: file.content,
    format: formatOf(file.content, file.name),
    sizeBytes: file.sizeBytes,
    usedBytes: file.sizeBytes,
    createdAt: world.now(),
    ...(file.sha256 === undefined ? {} : { sha256: file.sha256 }),
  });
  return volid;
}
