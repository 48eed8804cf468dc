/** PUT config of containers, resize, move_volume, template, destroy. */
import { disksOf, dropDisks, needDisks } from './guest-disks.ts';
import { ApiFailure, refusal } from './failure.ts';
import {
  type ConfigChange,
  checkDigest,
  checkUnlocked,
  configAnswer,
  firstFree,
  guestOf,
  halt,
  lockFileOf,
  managedByHa,
  newMac,
  parseChange,
  pendingAnswer,
  sidOf,
  underLock,
} from './guest-life.ts';
import { formatSize, parseParts, parseSize } from './guest-property.ts';
import { free, parseVolume, pathOf, storageOf, allocate } from './guest-volumes.ts';
import { requireForContainer } from './guest-rights.ts';
import { formatMountPoint, isLxcVolume, normaliseLxcValue, waitsForStart } from './lxc-config.ts';
import { makeDisk } from './lxc-create.ts';
import { checkPrivileges } from './lxc-privileges.ts';
import { checkNoClones } from './qemu-disks.ts';
import type { Call, Routes } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest } from './world.ts';

const knownKeys = new Set([
  'arch',
  'cmode',
  'console',
  'cores',
  'cpulimit',
  'cpuunits',
  'debug',
  'description',
]);
for (const key of ['features', 'hookscript', 'hostname', 'lock', 'memory', 'nameserver', 'onboot', 'ostype'])
  knownKeys.add(key);
for (const key of ['protection', 'rootfs', 'searchdomain', 'startup', 'swap', 'tags', 'template'])
  knownKeys.add(key);
for (const key of ['timezone', 'tty', 'unprivileged', 'entrypoint', 'env']) knownKeys.add(key);
const knows = (key: string): boolean => knownKeys.has(key) || /^(net|mp|unused|dev)\d+$/.test(key);

async function changeConfig(call: Call): Promise<null> {
  const { world } = call;
  const guest = guestOf(call, 'lxc');
  checkPrivileges(call, guest);
  requireForContainer(call);
  const change = parseChange(call, knows, 'rootfs');
  for (const [key, value] of change.set) {
    const text = /^(rootfs|mp\d+)$/.test(key) ? (parseParts(value, 'volume').get('volume') ?? '') : '/';
    if (!text.startsWith('/')) parseVolume(world, text);
  }
  await underLock(world, guest, async () => {
    const now = world.needGuest(call.node, 'lxc', guest.vmid);
    checkDigest(now, call.parameters['digest']);
    checkUnlocked(now);
    checkProtected(now, change);
    world.writeConfig(now, world.nodes.get(call.node)?.lastPid ?? 1);
    for (const key of change.revert) now.pending.delete(key);
    for (const key of change.remove) removeOption(call, now, key);
    for (const [key, value] of change.set) await setOption(call, now, key, value);
  });
  return null;
}

/** By what it is before the call: one that lifts it may change no disk. */
function checkProtected({ config, vmid }: Guest, { set, remove }: ConfigChange): void {
  if (config.protection !== '1') return;
  const gone = remove.find((key) => isLxcVolume(key) && config[key] !== undefined);
  if (gone !== undefined) throw refusal(`can't remove CT ${vmid} drive '${gone}' - protection mode enabled`);
  const changed = [...set.keys()].find((key) => /^(?:rootfs|mp\d+)$/.test(key));
  if (changed !== undefined)
    throw refusal(`can't update CT ${vmid} drive '${changed}' - protection mode enabled`);
}

function removeOption(call: Call, guest: Guest, key: string): void {
  const { config, pending } = guest;
  pending.delete(key);
  if (config[key] === undefined) return;
  // A mounted volume stays, and of interfaces only the first ten can be pulled.
  const isHeld = /^(?:mp\d+|net\d{2,})$/.test(key);
  if (guest.status === 'running' && (isHeld || waitsForStart(key))) {
    pending.set(key, undefined);
    return;
  }
  const volid = isLxcVolume(key) ? (parseParts(config[key] ?? '', 'volume').get('volume') ?? '') : '';
  delete config[key];
  if (volid === '' || volid.startsWith('/')) return;
  if (key.startsWith('unused')) free(call.world, guest.node, volid);
  else config[firstFree('unused', config)] = volid;
}

async function setOption(call: Call, guest: Guest, key: string, value: string): Promise<void> {
  const { world } = call;
  const stored = await storedValue(call, guest, key, value);
  const isMounted = /^mp\d+$/.test(key) && guest.config[key] !== undefined;
  if (guest.status === 'running' && (isMounted || waitsForStart(key))) {
    guest.pending.set(key, stored);
    return;
  }
  guest.pending.delete(key);
  const before = /^mp\d+$/.test(key)
    ? parseParts(guest.config[key] ?? '', 'volume').get('volume')
    : undefined;
  const after = parseParts(stored, 'volume').get('volume');
  guest.config[key] = stored;
  if (key === 'hostname') guest.inside.hostname = stored;
  if (before === undefined || before === after || before.startsWith('/')) return;
  guest.config[firstFree('unused', guest.config)] = before;
  world.broadcasts.guest(guest.vmid);
}

function storedValue(call: Call, guest: Guest, key: string, value: string): string | Promise<string> {
  const { world } = call;
  if (!/^(rootfs|mp\d+)$/.test(key)) return normaliseLxcValue(key, value, () => newMac(world));
  const parts = parseParts(value, 'volume');
  const text = parts.get('volume') ?? '';
  if (text.startsWith('/')) return value;
  const wish = parseVolume(world, text);
  if (wish.kind === 'new') return makeDisk(world, guest, parts, wish);
  for (const unused of Object.keys(guest.config).filter((name) => name.startsWith('unused'))) {
    if (guest.config[unused] === text) delete guest.config[unused];
  }
  const volume = world.storages.find(text, guest.node);
  if (volume !== undefined) parts.set('size', formatSize(volume.sizeBytes));
  return formatMountPoint(parts);
}

async function resizeVolume(call: Call): Promise<string> {
  const { world, parameters } = call;
  const { disk = '', size = '' } = parameters;
  const guest = guestOf(call, 'lxc');
  world.needQuorum();
  return underLock(world, guest, () => {
    checkUnlocked(guest);
    checkDigest(guest, parameters['digest']);
    const text = guest.config[disk];
    if (text === undefined) {
      const missing = 'property is missing and it is not optional';
      throw new ApiFailure(500, 'format error', { errors: { volume: missing, mp: missing } });
    }
    const parts = parseParts(text, 'volume');
    const volume = world.storages.find(parts.get('volume') ?? '', guest.node);
    if (volume === undefined) throw refusal(`volume '${parts.get('volume')}' does not exist`);
    const bytes = size.startsWith('+') ? volume.sizeBytes + parseSize(size.slice(1)) : parseSize(size);
    if (bytes === volume.sizeBytes) throw refusal('disk is already at specified size');
    if (bytes < volume.sizeBytes) throw refusal('unable to shrink disk size');
    return call.fork('resize', guest.vmid, (control) =>
      control.locked(lockFileOf(guest), async () => {
        await control.passes(350);
        if (
          volume.format === 'subvol' &&
          world.storages.definitions.get(storageOf(volume.volid))?.type === 'btrfs'
        ) {
          throw new Error('cannot resize subvolume - btrfs quotas are currently not supported');
        }
        volume.sizeBytes = bytes;
        parts.set('size', formatSize(bytes));
        guest.config[disk] = formatMountPoint(parts);
        control.log('Image resized.', ...growLines(call, guest, volume.volid, bytes), '');
      }),
    );
  });
}

function growLines(call: Call, guest: Guest, volid: string, bytes: number): string[] {
  const version = call.world.major === 8 ? '1.47.0 (5-Feb-2023)' : '1.47.2 (1-Jan-2025)';
  const file = pathOf(call.world, volid);
  const blocks = bytes / 4096;
  if (guest.status === 'running') return [`resize2fs ${version}`];
  return [
    `e2fsck ${version}`,
    'Pass 1: Checking inodes, blocks, and sizes',
    'Pass 2: Checking directory structure',
    'Pass 3: Checking directory connectivity',
    'Pass 4: Checking reference counts',
    'Pass 5: Checking group summary information',
    `${file}: 317/65536 files (0.0% non-contiguous), 13474/262144 blocks`,
    `resize2fs ${version}`,
    `Resizing the filesystem on ${file} to ${blocks} (4k) blocks.`,
    `The filesystem on ${file} is now ${blocks} (4k) blocks long.`,
  ];
}

/** Answers before it has happened: the work is a task whose UPID nobody is told. */
async function makeTemplate(call: Call): Promise<null> {
  const { world } = call;
  const guest = guestOf(call, 'lxc');
  checkUnlocked(guest);
  if (guest.snapshots.size > 0) throw refusal('unable to create template, because CT contains snapshots');
  if (guest.config.template === '1') throw refusal("you can't convert a template to a template");
  if (guest.status === 'running') throw refusal("you can't convert a CT to template if the CT is running");
  call.fork('vztemplate', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      await control.passes(300);
      for (const { volid } of disksOf(world, guest))
        if (world.storages.definitions.get(storageOf(volid))?.type === 'lvm')
          throw new Error(`Template feature is not available for '${volid}'`);
      world.writeConfig(guest, control.pid);
      guest.config.template = '1';
    }),
  );
  return null;
}

async function moveVolume(call: Call): Promise<string> {
  const { world, parameters } = call;
  const guest = guestOf(call, 'lxc');
  const { volume: key = '', storage = '' } = parameters;
  checkUnlocked(guest);
  checkDigest(guest, parameters['digest']);
  const parts = parseParts(guest.config[key] ?? '', 'volume');
  const old = world.storages.find(parts.get('volume') ?? '', guest.node);
  if (old === undefined) throw refusal(`${key} does not exist`);
  if (guest.status === 'running') throw refusal('cannot move volumes of a running container');
  parseVolume(world, `${storage}:1`);
  return call.fork('move_volume', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      await control.passes(800);
      const format = world.storages.definitions.get(storage)?.type === 'zfspool' ? 'subvol' : old.format;
      const wish = {
        node: guest.node,
        storage,
        vmid: guest.vmid,
        bytes: old.sizeBytes,
        format,
        content: 'rootdir',
      } as const;
      parts.set('volume', allocate(world, wish).volid);
      guest.config[key] = formatMountPoint(parts);
      if (parameters['delete'] === '1') free(world, guest.node, old.volid);
      else guest.config[firstFree('unused', guest.config)] = old.volid;
    }),
  );
}

async function destroyContainer(call: Call): Promise<string> {
  const { world, parameters } = call;
  const guest = guestOf(call, 'lxc');
  const force = parameters['force'] === '1';
  checkUnlocked(guest);
  if (guest.config.protection === '1')
    throw refusal(`can't remove CT ${guest.vmid} - protection mode enabled`);
  if (world.ha.resources.has(sidOf(guest)) && parameters['purge'] !== '1') {
    throw refusal(`unable to remove CT ${guest.vmid} - used in HA resources and purge parameter not set.`);
  }
  if (guest.status === 'running' && !force)
    throw refusal(`unable to destroy CT ${guest.vmid} - container is running`);
  return call.fork('vzdestroy', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), () => destroy(call, guest.vmid, control)),
  );
}

async function destroy(call: Call, vmid: number, control: TaskControl): Promise<void> {
  const { world, node, parameters } = call;
  const guest = world.needGuest(node, 'lxc', vmid);
  checkUnlocked(guest);
  if (guest.status === 'running') {
    control.log(`forced to stop CT ${vmid} before destroying!`);
    await control.passes(900);
    halt(guest);
  }
  await control.passes(300);
  needDisks(world, guest);
  for (const { volid } of disksOf(world, guest)) checkNoClones(world, guest, volid);
  // The disks go first: without quorum the configuration stays behind.
  dropDisks(world, guest);
  world.writeConfig(guest, control.pid);
  if (parameters['purge'] === '1') {
    control.log(`purging CT ${vmid} from related configurations..`);
    if (managedByHa(world, guest)) world.ha.resources.delete(sidOf(guest));
  }
  world.guests.delete(vmid);
  for (const pool of world.pools.values()) pool.guests.delete(vmid);
}

const path = '/nodes/{node}/lxc/{vmid}';
export const lxcSettingsRoutes: Routes = {
  [`GET ${path}/config`]: (call) => configAnswer(call, 'lxc'),
  [`GET ${path}/pending`]: (call) => pendingAnswer(call, 'lxc'),
  [`PUT ${path}/config`]: changeConfig,
  [`PUT ${path}/resize`]: resizeVolume,
  [`POST ${path}/template`]: makeTemplate,
  [`POST ${path}/move_volume`]: moveVolume,
  [`DELETE ${path}`]: destroyContainer,
};
