/** Clones of containers and virtual machines: full ones copy every disk, linked ones hang on a template's. */
import { parameterFailure, refusal } from './failure.ts';
import { bareKey, disksOf, type Disk } from './guest-disks.ts';
import type { Kind } from './guest-life.ts';
import { checkUnlocked, guestOf, lockFileOf, newMac } from './guest-life.ts';
import { formatParts, parseParts } from './guest-property.ts';
import { allocate, free, needStorage, pathOf, storageOf } from './guest-volumes.ts';
import { requireBridge, requireSpace } from './guest-rights.ts';
import { normaliseLxcValue } from './lxc-config.ts';
import { checkPool, fileSystemLines, refuseTaken } from './lxc-create.ts';
import { normaliseQemuNet } from './qemu-config.ts';
import { newCloudInit } from './qemu-disks.ts';
import { rsyncLines } from './rsync-lines.ts';
import { canSnapshot } from './snapshots.ts';
import type { Call, Routes } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, GuestConfig, World } from './world.ts';

const linkable = new Set(['zfspool', 'lvmthin', 'rbd']);
/** Storages whose snapshots of machines cannot be copied by themselves. */
const snapshotBound = new Set(['zfspool']);

/** Whether a disk of a template can be hung on, as its storage gives it. */
export function canLink(world: World, guest: Guest, disk: Disk): boolean {
  if (guest.config.template !== '1') return false;
  const type = world.storages.definitions.get(storageOf(disk.volid))?.type ?? '';
  return linkable.has(type) || (guest.kind === 'qemu' && disk.volume?.format === 'qcow2');
}

const isCloudInitDrive = ({ volid }: Disk): boolean => /vm-\d+-cloudinit/.test(volid);
const realDisks = (world: World, guest: Guest): Disk[] =>
  disksOf(world, guest).filter(
    ({ key, parts }) => !key.startsWith('unused') && parts.get('media') !== 'cdrom',
  );

function source(call: Call, kind: Kind): Guest {
  const { world, node, parameters } = call;
  const { vmid = '' } = parameters;
  if (kind === 'qemu' && world.guestOn(node, kind, vmid) === undefined) {
    throw refusal(`unable to find configuration file for VM ${vmid} on node '${node}'`);
  }
  return guestOf(call, kind);
}

function clone(call: Call, kind: Kind): string {
  const { world, parameters, node } = call;
  world.needQuorum();
  const { newid = '', storage, target, snapname } = parameters;
  checkPool(call);
  if (target !== undefined && !world.nodes.has(target)) throw refusal(`no such cluster node '${target}'`);
  const guest = source(call, kind);
  checkUnlocked(guest);
  if (storage !== undefined) needStorage(world, storage);
  if (snapname !== undefined && !guest.snapshots.has(snapname)) {
    throw refusal(`snapshot '${snapname}' does not exist`);
  }
  refuseNewId(world, kind, Number(newid));
  const full = parameters['full'] === undefined ? guest.config.template !== '1' : parameters['full'] === '1';
  const disks = realDisks(world, guest);
  requireSpace(
    call,
    disks.map(({ volid }) => volid),
  );
  for (const [key, value] of Object.entries(guest.config))
    if (/^net\d+$/.test(key)) requireBridge(call, value);
  if (storage !== undefined && kind === 'qemu') needImages(world, storage);
  if (full) checkFull(call, guest, disks);
  else checkLinked(call, guest, disks);
  if (target !== undefined && target !== node) checkTarget(call, guest, target);
  // A machine's has nothing but this until its first disk is there; a container's has all but its disks.
  const temporary = { lock: 'clone', description: 'qmclone temporary file\n' };
  const copy = world.newGuest({ kind, vmid: Number(newid), node, config: temporary });
  const work = { call, guest, copy, full, target: target ?? node };
  if (kind === 'qemu') return call.fork('qmclone', guest.vmid, (control) => copyGuest(work, control));
  const from = guest.snapshots.get(snapname ?? '')?.config ?? guest.config;
  copy.config = { ...cloneConfig(work, from), lock: 'create' };
  for (const { key } of disks) delete copy.config[key];
  world.guests.set(copy.vmid, copy);
  guest.config.lock = 'disk';
  return call.fork('vzclone', guest.vmid, async (control) => {
    try {
      await copyGuest(work, control);
    } finally {
      delete guest.config.lock;
    }
  });
}

function needImages({ storages }: World, id: string): void {
  if (storages.definitions.get(id)?.content.includes('images') === true) return;
  throw parameterFailure({ storage: `storage '${id}' does not support vm images` });
}

function refuseNewId(world: World, kind: Kind, newid: number): void {
  if (kind === 'lxc') refuseTaken(world, newid);
  if (world.guests.has(newid)) throw refusal(`unable to create VM ${newid}: config file already exists`);
}

function checkFull({ world, parameters }: Call, guest: Guest, disks: readonly Disk[]): void {
  const { snapname } = parameters;
  if (guest.kind === 'qemu') {
    if (guest.status === 'running' && snapname === undefined && guest.config['tpmstate0'] !== undefined)
      throw refusal('cannot clone TPM state while VM is running');
    const bound = disks.find(({ volid }) =>
      snapshotBound.has(world.storages.definitions.get(storageOf(volid))?.type ?? ''),
    );
    if (snapname !== undefined && bound !== undefined)
      throw refusal(`Full clone feature is not supported for a snapshot of '${bound.volid}' (${bound.key})`);
  } else {
    const bind = disks.find(({ volid }) => volid.startsWith('/'));
    if (bind !== undefined) throw refusal(`unable to clone mountpoint '${bind.key}' (type bind)`);
  }
  if (guest.kind === 'qemu' || guest.status === 'stopped' || parameters['snapname'] !== undefined) return;
  throw refusal(
    world.major === 8
      ? 'Cannot do full clones on a running container without snapshots'
      : 'Full clone of a running container is only possible from a snapshot',
  );
}

function checkLinked({ world, parameters }: Call, guest: Guest, disks: readonly Disk[]): void {
  if (parameters['storage'] !== undefined) throw refusal("parameter 'storage' not allowed for linked clones");
  for (const disk of disks) {
    if (canLink(world, guest, disk)) continue;
    throw refusal(
      guest.kind === 'lxc'
        ? `Linked clone feature for '${disk.volid}' is not available`
        : `Linked clone feature is not supported for '${disk.volid}' (${disk.key})`,
    );
  }
}

/** Discs count as well, though nobody copies them. */
function checkTarget(call: Call, guest: Guest, target: string): void {
  const { definitions } = call.world.storages;
  const { storage } = call.parameters;
  if (storage !== undefined && definitions.get(storage)?.shared === false) {
    throw refusal(`can't clone to non-shared storage '${storage}'`);
  }
  if (disksOf(call.world, guest).every(({ volid }) => definitions.get(storageOf(volid))?.shared)) return;
  const name = guest.kind === 'lxc' ? 'CT' : 'VM';
  throw refusal(`can't clone ${name} to node '${target}' (${name} uses local storage)`);
}

interface Copying {
  readonly call: Call;
  readonly guest: Guest;
  readonly copy: Guest;
  readonly full: boolean;
  readonly target: string;
}

async function copyGuest(work: Copying, control: TaskControl): Promise<void> {
  const { call, guest, copy } = work;
  const { world, parameters } = call;
  const made: string[] = [];
  let isBegun = guest.kind === 'lxc';
  try {
    await lockedWhile(work, control, async () => {
      if (guest.kind === 'qemu') refuseNewId(world, 'qemu', copy.vmid);
      world.guests.set(copy.vmid, copy);
      isBegun = true;
      const name = guest.kind === 'lxc' ? 'container' : 'VM';
      if (world.major > 8) control.log(`creating a clone of ${name} ${guest.vmid} with ID ${copy.vmid}`);
      const snapshot = guest.snapshots.get(parameters['snapname'] ?? '');
      const config = cloneConfig(work, snapshot?.config ?? guest.config);
      for (const disk of realDisks(world, guest))
        config[disk.key] = await copyDisk(work, disk, control, made);
      for (const { key, volid } of disksOf(world, guest).filter(isCloudInitDrive)) {
        const volume = newCloudInit(world, copy, parameters['storage'] ?? storageOf(volid));
        made.push(volume.volid);
        config[key] = `${volume.volid},media=cdrom`;
      }
      world.writeConfig(copy, control.pid);
      copy.config = config;
    });
  } catch (error) {
    if (!isBegun) throw error;
    for (const volid of made) free(world, guest.node, volid);
    world.guests.delete(copy.vmid);
    throw new Error(`clone failed: ${error instanceof Error ? error.message : ''}`);
  }
  copy.node = work.target;
  copy.inside.hostname = copy.config.hostname ?? copy.config.name ?? '';
  copy.inside.agent = guest.inside.agent;
  copy.inside.shutdownMs = guest.inside.shutdownMs;
  if (parameters['pool'] !== undefined) world.pools.get(parameters['pool'])?.guests.add(copy.vmid);
}

/**
 * A container's own lock is enough: nobody waits for it, and is refused instead. A machine that runs is copied
 * alone, and waited for a second; others share it.
 */
function lockedWhile({ guest }: Copying, control: TaskControl, act: () => Promise<void>): Promise<void> {
  if (guest.kind === 'lxc') return act();
  const how = guest.status === 'running' ? { withinMs: 1000 } : { isShared: true };
  return control.locked(lockFileOf(guest), act, how);
}

const notCopied = new Set(['template', 'parent', 'lock', 'snaptime', 'vmstate', 'digest']);

function cloneConfig({ call, guest, copy }: Copying, from: GuestConfig): GuestConfig {
  const { world, parameters } = call;
  const config: GuestConfig = {};
  for (const [key, value] of Object.entries(from)) {
    if (notCopied.has(key) || key.startsWith('unused')) continue;
    config[key] = /^net\d+$/.test(key) ? freshNet(world, guest, value) : value;
  }
  if (guest.kind === 'qemu') {
    config.name = parameters['name'] ?? `Copy-of-VM-${guest.config.name ?? copy.vmid}`;
    config['smbios1'] = `uuid=${world.random.uuidV4()}`;
    config['vmgenid'] = world.random.uuidV4();
  } else if (parameters['hostname'] !== undefined) {
    config.hostname = parameters['hostname'];
  }
  if (parameters['description'] !== undefined) config.description = parameters['description'];
  return config;
}

function freshNet(world: World, { kind }: Guest, value: string): string {
  const fresh = (): string => newMac(world);
  if (kind === 'lxc') {
    const parts = parseParts(value, 'name');
    parts.delete('hwaddr');
    return normaliseLxcValue('net0', formatParts(parts, '', ['name']), fresh);
  }
  const [first = '', ...rest] = value.split(',');
  return normaliseQemuNet([first.split('=')[0], ...rest].join(','), fresh);
}

async function copyDisk(work: Copying, disk: Disk, control: TaskControl, made: string[]): Promise<string> {
  const { call, guest, copy, full } = work;
  const { world, parameters } = call;
  const bytes = disk.volume?.sizeBytes ?? 0;
  const what = guest.kind === 'lxc' ? 'mountpoint' : 'drive';
  control.log(`create ${full ? 'full' : 'linked'} clone of ${what} ${disk.key} (${disk.volid})`);
  if (parameters['snapname'] !== undefined) refuseSnapshotCopy(work, control);
  const volume = allocate(world, {
    node: guest.node,
    storage: parameters['storage'] ?? storageOf(disk.volid),
    vmid: copy.vmid,
    bytes,
    format: parameters['format'] ?? disk.volume?.format ?? 'raw',
    content: guest.kind === 'lxc' ? 'rootdir' : 'images',
    ...(full ? {} : { parent: disk.volid }),
  });
  made.push(volume.volid);
  control.log(...copyLines(work, disk, volume.volid));
  await control.passes(full ? 600 : 250);
  if (full && guest.kind === 'qemu') control.log(...transferLines(bytes));
  disk.parts.set(bareKey(guest), volume.volid);
  return formatParts(disk.parts, bareKey(guest), guest.kind === 'lxc' ? ['mp'] : []);
}

/** Snapshots on btrfs cannot be mounted to be copied. */
function refuseSnapshotCopy({ call, guest, copy }: Copying, control: TaskControl): void {
  if (guest.kind === 'qemu' || !canSnapshot(call.world, guest)) return;
  const type = call.world.storages.definitions.get(storageOf(guest.config.rootfs ?? ''))?.type;
  if (type !== 'btrfs') return;
  control.log(`Specified filename /var/lib/lxc/${copy.vmid}/.copy-volume-1 does not exist.`);
  throw new Error("cannot mount subvol snapshots for storage type 'btrfs'");
}

function copyLines(work: Copying, disk: Disk, volid: string): string[] {
  const { call, guest, full } = work;
  const file = pathOf(call.world, volid);
  const bytes = disk.volume?.sizeBytes ?? 0;
  if (guest.kind === 'lxc') {
    const image =
      disk.volume?.format === 'subvol'
        ? []
        : [`Formatting '${file}', fmt=raw size=${bytes} preallocation=off`];
    return [...image, ...(image.length === 0 ? [''] : fileSystemLines(bytes)), ...rsyncLines];
  }
  if (full) {
    const allocated = call.world.major === 8 ? [] : [`allocated target volume '${volid}'`];
    return [...qcowLines(file, bytes, disk), ...allocated];
  }
  return linkedLines(work, disk, volid);
}

function qcowLines(file: string, bytes: number, disk: Disk): string[] {
  if (disk.volume?.format !== 'qcow2')
    return [`Formatting '${file}', fmt=raw size=${bytes} preallocation=off`];
  const options = 'cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib';
  return [`Formatting '${file}', fmt=qcow2 ${options} size=${bytes} lazy_refcounts=off refcount_bits=16`];
}

function linkedLines({ call, copy }: Copying, disk: Disk, volid: string): string[] {
  const base = disk.volid.slice(disk.volid.indexOf(':') + 1);
  const name = volid.slice(volid.lastIndexOf('/') + 1);
  const storage = call.world.storages.definitions.get(storageOf(volid))?.path ?? '';
  const options =
    call.world.major === 8
      ? 'cluster_size=65536 extended_l2=off compression_type=zlib'
      : 'cluster_size=131072 extended_l2=on preallocation=metadata compression_type=zlib';
  const size = `size=${disk.volume?.sizeBytes ?? 0} backing_file=../${base} backing_fmt=qcow2`;
  return [
    `clone ${base}: images, ${name}, ${copy.vmid} to ${name} (base=../${base})`,
    `Formatting '${storage}/images/${copy.vmid}/${name}', fmt=qcow2 ${options} ${size} lazy_refcounts=off refcount_bits=16`,
  ];
}

const gib = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
const transferLines = (bytes: number): string[] => [
  `transferred 0.0 B of ${gib(bytes)} (0.00%)`,
  `transferred ${gib(bytes)} of ${gib(bytes)} (100.00%)`,
];

function feature(call: Call, kind: Kind): unknown {
  const { world, parameters } = call;
  const guest = guestOf(call, kind);
  const disks = realDisks(world, guest);
  const able =
    parameters['feature'] === 'snapshot'
      ? canSnapshot(world, guest)
      : parameters['feature'] === 'copy' || disks.every((disk) => canLink(world, guest, disk));
  const hasFeature = able ? 1 : 0;
  if (kind === 'lxc') return { hasFeature };
  const shared = disks.every(({ volid }) => world.storages.definitions.get(storageOf(volid))?.shared);
  return { hasFeature, nodes: shared ? [...world.nodes.keys()] : [guest.node] };
}

export const cloneRoutes = (kind: Kind): Routes => ({
  [`POST /nodes/{node}/${kind}/{vmid}/clone`]: (call) => clone(call, kind),
  [`GET /nodes/{node}/${kind}/{vmid}/feature`]: (call) => feature(call, kind),
});
