/** Disks of virtual machines: made, imported, attached, detached. */
import { firstFree } from './guest-life.ts';
import { formatSize, parseParts, type Parts } from './guest-property.ts';
import { checkDriveText } from './machine-rights.ts';
import { allocate, free, parseVolume, pathOf, storageOf } from './guest-volumes.ts';
import { formatDrive, isDrive } from './qemu-config.ts';
import type { Volume } from './storage-model.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, World } from './world.ts';

export interface DiskWork {
  readonly world: World;
  readonly guest: Guest;
  readonly control?: Pick<TaskControl, 'log' | 'passes'>;
  /** What was made so far, to take it back. */
  readonly made: string[];
}

const gibibyte = 1024 ** 3;

/** The refusals that come before any task: unknown storages, names that are none. */
export function checkDrive(world: World, key: string, value: string): void {
  const parts = parseParts(value, 'file');
  checkDriveText(key, parts);
  const file = parts.get('file') ?? '';
  if (file !== 'none' && file !== 'cdrom' && file !== '') parseVolume(world, file);
}

/** Makes what a drive's text asks for, and gives the text that stands in the configuration then. */
export async function makeDrive(work: DiskWork, key: string, value: string): Promise<string> {
  const { world, guest } = work;
  const parts = parseParts(value, 'file');
  const file = parts.get('file') ?? '';
  if (file === 'none' || file === 'cdrom') return value;
  const wish = parseVolume(world, file);
  if (wish.kind === 'cloudinit') return cloudInitDrive(work, key, wish.storage);
  if (wish.kind === 'existing') return attach(work, key, parts, file);
  const source = parts.get('import-from');
  const image = source === undefined ? undefined : world.storages.find(source, guest.node);
  if (source !== undefined && image === undefined) throw new Error(`volume '${source}' does not exist`);
  const bytes =
    fixedSize(key) ?? image?.virtualBytes ?? image?.sizeBytes ?? Math.round(wish.gibibytes * gibibyte);
  const type = world.storages.definitions.get(wish.storage)?.type ?? 'dir';
  const format = /^(dir|nfs|cifs|btrfs)$/.test(type) ? (parts.get('format') ?? 'raw') : 'raw';
  const about = {
    node: guest.node,
    storage: wish.storage,
    vmid: guest.vmid,
    bytes,
    format,
    content: 'images',
  } as const;
  const volume = allocate(world, about);
  work.made.push(volume.volid);
  work.control?.log(formatLine(world, volume));
  if (image !== undefined) await importInto(work, image);
  for (const gone of ['format', 'import-from']) parts.delete(gone);
  parts.set('file', volume.volid);
  parts.set('size', formatSize(volume.sizeBytes));
  const text = formatDrive(parts);
  work.control?.log(`${key}: successfully created disk '${text}'`);
  return text;
}

/** Firmware variables and TPM state have sizes of their own. */
function fixedSize(key: string): number | undefined {
  if (key.startsWith('efidisk')) return 528 * 1024;
  return key.startsWith('tpmstate') ? 4 * 1024 ** 2 : undefined;
}

function formatLine(world: World, volume: Volume): string {
  const file = pathOf(world, volume.volid);
  const size = `size=${volume.sizeBytes}`;
  if (volume.format !== 'qcow2') return `Formatting '${file}', fmt=raw ${size} preallocation=off`;
  const options = 'cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib';
  return `Formatting '${file}', fmt=qcow2 ${options} ${size} lazy_refcounts=off refcount_bits=16`;
}

/** An image that is imported has a system on it, which listens to shutdowns and has a guest agent. */
async function importInto({ guest, control }: DiskWork, image: Volume): Promise<void> {
  const size = `${((image.virtualBytes ?? image.sizeBytes) / gibibyte).toFixed(1)} GiB`;
  control?.log(`transferred 0.0 B of ${size} (0.00%)`, `transferred ${size} of ${size} (100.00%)`);
  await control?.passes(800);
  guest.inside.agent = true;
  guest.inside.shutdownMs = 1500;
}

function attach({ world, guest }: DiskWork, key: string, parts: Parts, volid: string): string {
  const volume = world.storages.find(volid, guest.node);
  if (volume === undefined) throw new Error(`volume '${volid}' does not exist`);
  for (const unused of Object.keys(guest.config).filter((name) => name.startsWith('unused'))) {
    if (guest.config[unused] === volid) delete guest.config[unused];
  }
  if (!key.startsWith('unused')) parts.set('size', formatSize(volume.sizeBytes));
  return formatDrive(parts);
}

/** The drive that cloud-init reads, empty: each machine has one of its own. */
export function newCloudInit(world: World, { vmid, node }: Guest, storage: string): Volume {
  const file = world.storages.definitions.get(storage)?.path === undefined ? '' : `${vmid}/`;
  const [name, format] =
    file === '' ? [`vm-${vmid}-cloudinit`, 'raw'] : [`vm-${vmid}-cloudinit.qcow2`, 'qcow2'];
  const volid = `${storage}:${file}${name}`;
  const volume: Volume = { volid, content: 'images', format, sizeBytes: 4_194_304, vmid };
  world.storages.volumes(storage, node).set(volid, volume);
  return volume;
}

function cloudInitDrive(work: DiskWork, key: string, storage: string): string {
  const { world, guest, control, made } = work;
  const other = Object.keys(guest.config).find(
    (each) => each !== key && isDrive(each) && /[:-]cloudinit/.test(guest.config[each] ?? ''),
  );
  if (other !== undefined) throw new Error(`${key} - cloud-init drive is already attached at '${other}'`);
  const volume = newCloudInit(world, guest, storage);
  const { volid } = volume;
  made.push(volid);
  const text = `${volid},media=cdrom`;
  control?.log(
    formatLine(world, volume),
    `${key}: successfully created disk '${text}'`,
    'generating cloud-init ISO',
  );
  return text;
}

/** Takes a drive out: what it held stays as an unused disk, or goes where it was one already. */
export function detach(world: World, guest: Guest, key: string): void {
  const parts = parseParts(guest.config[key] ?? '', 'file');
  const volid = parts.get('file') ?? '';
  delete guest.config[key];
  if (!volid.includes(':')) return;
  const own = world.storages.find(volid, guest.node)?.vmid === guest.vmid;
  if (key.startsWith('unused') || volid.includes('cloudinit')) {
    if (own) free(world, guest.node, volid);
  } else if (parts.get('media') !== 'cdrom') {
    guest.config[firstFree('unused', guest.config)] = volid;
  }
}

/** Linked clones hang on it: it cannot go before they do. */
export function checkNoClones(world: World, guest: Guest, volid: string): void {
  for (const volume of world.storages.volumes(storageOf(volid), guest.node).values()) {
    if (volume.parent === volid) throw new Error(`base volume '${volid}' is still in use by linked cloned`);
  }
}
