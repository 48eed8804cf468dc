/** Disks of guests: allocation by "storage:GiB", names by the kind of storage, and their removal. */
import { refusal } from './failure.ts';
import { formatSize } from './guest-property.ts';
import type { Volume } from './storage-model.ts';
import type { World } from './world.ts';

const gibibyte = 1024 ** 3;
const onFiles = new Set(['dir', 'nfs', 'cifs', 'cephfs', 'glusterfs', 'btrfs']);

export const storageOf = (volid: string): string => volid.slice(0, volid.indexOf(':'));

export function needStorage(world: World, id: string): void {
  if (!world.storages.definitions.has(id)) throw refusal(`storage '${id}' does not exist`);
}

/** Perl tells the line, which moves with the version. */
export function pathRefusal(world: World): Error {
  const line = world.major === 8 ? 581 : 651;
  return refusal(
    `Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line ${line}.`,
  );
}

export type VolumeWish =
  | { readonly kind: 'new'; readonly storage: string; readonly gibibytes: number }
  | { readonly kind: 'cloudinit'; readonly storage: string }
  | { readonly kind: 'existing'; readonly volid: string };

/** What a volume text asks for; the refusals that come before any task. */
export function parseVolume(world: World, text: string): VolumeWish {
  const match = /^([A-Za-z][A-Za-z0-9\-_.]*):(.+)$/.exec(text);
  if (match === null) throw pathRefusal(world);
  const [, storage = '', name = ''] = match;
  needStorage(world, storage);
  if (/^\d+(\.\d+)?$/.test(name)) return { kind: 'new', storage, gibibytes: Number(name) };
  if (name === 'cloudinit') return { kind: 'cloudinit', storage };
  const type = world.storages.definitions.get(storage)?.type ?? 'dir';
  if (onFiles.has(type) && !name.includes('/'))
    throw refusal(`unable to parse directory volume name '${name}'`);
  return { kind: 'existing', volid: text };
}

export interface DiskWish {
  readonly node: string;
  readonly storage: string;
  readonly vmid: number;
  readonly bytes: number;
  /** "subvol", "raw" or "qcow2". */
  readonly format: string;
  readonly content: 'rootdir' | 'images';
  /** "vm", "base", "subvol"; else by the format. */
  readonly prefix?: string;
  readonly parent?: string;
}

/** The next free name on a storage, and the volume under it. */
export function allocate(world: World, wish: DiskWish): Volume {
  const { node, storage, vmid, format } = wish;
  const volumes = world.storages.volumes(storage, node);
  const type = world.storages.definitions.get(storage)?.type ?? 'dir';
  const prefix = wish.prefix ?? (format === 'subvol' ? 'subvol' : 'vm');
  // Numbers are given over all names of a guest: a subvolume's 0 makes the next disk 1.
  const taken = [...volumes.keys()].map((volid) => diskNumber(volid, vmid));
  let index = 0;
  while (taken.includes(index)) index += 1;
  const name = `${prefix}-${vmid}-disk-${index}`;
  const file = onFiles.has(type) ? `${vmid}/${name}.${format}` : name;
  const volid = `${storage}:${wish.parent === undefined ? '' : `${localName(wish.parent)}/`}${file}`;
  const volume: Volume = {
    volid,
    content: wish.content,
    format,
    sizeBytes: wish.bytes,
    usedBytes: Math.min(wish.bytes, 36_540_416),
    vmid,
    createdAt: world.now(),
    ...(wish.parent === undefined ? {} : { parent: wish.parent }),
  };
  volumes.set(volid, volume);
  return volume;
}

const localName = (volid: string): string => volid.slice(volid.indexOf(':') + 1);

function diskNumber(volid: string, vmid: number): number {
  const match = /(?:vm|subvol|base)-(\d+)-disk-(\d+)(?:\.[a-z0-9]+)?$/.exec(volid);
  return match?.[1] === String(vmid) ? Number(match[2]) : -1;
}

/** A container's disk: a subvolume where no size is asked for or the storage has only those, else an image. */
export function lxcFormat(world: World, storage: string, gibibytes: number): string {
  const type = world.storages.definitions.get(storage)?.type ?? 'dir';
  return gibibytes === 0 || type === 'zfspool' ? 'subvol' : 'raw';
}

export function checkSize(world: World, storage: string, vmid: number, gibibytes: number): void {
  const definition = world.storages.definitions.get(storage);
  if (definition === undefined || gibibytes * gibibyte <= 16 * 1024 * gibibyte) return;
  const file = `${definition.path ?? '/var/lib/vz'}/images/${vmid}/vm-${vmid}-disk-0.raw`;
  throw new Error(
    `unable to create image: qemu-img: ${file}: The image size is too large for file format 'raw'`,
  );
}

export const sizePart = (volume: Volume): string => formatSize(volume.sizeBytes);

export function free(world: World, node: string, volid: string): void {
  world.storages.volumes(storageOf(volid), node).delete(volid);
}

/** Where a file-based volume lies, for logs. */
export function pathOf(world: World, volid: string): string {
  const path = world.storages.definitions.get(storageOf(volid))?.path ?? '/var/lib/vz';
  return `${path}/images/${localName(volid)}`;
}
