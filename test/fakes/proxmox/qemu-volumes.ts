/** Resize, move and unlink of a machine's disks; templates; destroy. */
import { refusal } from './failure.ts';
import { disksOf, dropDisks } from './guest-disks.ts';
import {
  checkDigest,
  checkUnlocked,
  firstFree,
  guestOf,
  lockFileOf,
  refuseSkipLock,
  sidOf,
} from './guest-life.ts';
import { formatSize, parseList, parseParts, parseSize } from './guest-property.ts';
import { allocate, free, needStorage, storageOf } from './guest-volumes.ts';
import { formatDrive, isDrive } from './qemu-config.ts';
import { checkNoClones, detach } from './qemu-disks.ts';
import type { Call, Routes } from './route.ts';
import type { Guest, World } from './world.ts';

function resize(call: Call): string {
  const { world, parameters } = call;
  const { disk = '', size = '' } = parameters;
  refuseSkipLock(call);
  world.needQuorum();
  const guest = guestOf(call, 'qemu');
  return call.fork('resize', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      checkDigest(guest, parameters['digest']);
      checkUnlocked(guest);
      const text = guest.config[disk];
      if (text === undefined) throw new Error(`disk '${disk}' does not exist`);
      await control.passes(300);
      const parts = parseParts(text, 'file');
      const volume = world.storages.find(parts.get('file') ?? '', guest.node);
      if (volume === undefined) throw new Error(`volume '${parts.get('file')}' does not exist`);
      const bytes = size.startsWith('+') ? volume.sizeBytes + parseSize(size.slice(1)) : parseSize(size);
      if (bytes < volume.sizeBytes) throw new Error('shrinking disks is not supported');
      volume.sizeBytes = bytes;
      parts.set('size', formatSize(bytes));
      guest.config[disk] = formatDrive(parts);
    }),
  );
}

function moveDisk(call: Call): string {
  const { world, parameters } = call;
  const { disk: key = '', storage = '' } = parameters;
  const guest = guestOf(call, 'qemu');
  checkUnlocked(guest);
  checkDigest(guest, parameters['digest']);
  needStorage(world, storage);
  const parts = parseParts(guest.config[key] ?? '', 'file');
  const old = world.storages.find(parts.get('file') ?? '', guest.node);
  if (old === undefined) throw refusal(`disk '${key}' does not exist`);
  const format = parameters['format'] ?? old.format;
  if (storageOf(old.volid) === storage && format === old.format) {
    throw refusal("you can't move to the same storage with same format");
  }
  return call.fork('qmmove', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      control.log(`create full clone of drive ${key} (${old.volid})`);
      await control.passes(900);
      const wish = { node: guest.node, storage, vmid: guest.vmid, bytes: old.sizeBytes, format } as const;
      parts.set('file', allocate(world, { ...wish, content: 'images' }).volid);
      guest.config[key] = formatDrive(parts);
      if (parameters['delete'] === '1') free(world, guest.node, old.volid);
      else guest.config[firstFree('unused', guest.config)] = old.volid;
    }),
  );
}

function unlink(call: Call): null {
  const guest = guestOf(call, 'qemu');
  checkUnlocked(guest);
  for (const key of parseList(call.parameters['idlist'] ?? '')) {
    if (guest.config[key] === undefined) continue;
    detach(call.world, guest, key);
    if (call.parameters['force'] === '1') dropUnused(call.world, guest);
  }
  return null;
}

function dropUnused(world: World, guest: Guest): void {
  for (const key of Object.keys(guest.config).filter((name) => name.startsWith('unused')))
    detach(world, guest, key);
}

function makeTemplate(call: Call): string {
  const { world } = call;
  const guest = guestOf(call, 'qemu');
  checkUnlocked(guest);
  if (guest.snapshots.size > 0) throw refusal('unable to create template, because VM contains snapshots');
  if (guest.config.template === '1') throw refusal("you can't convert a template to a template");
  if (guest.status === 'running') throw refusal("you can't convert a VM to template if VM is running");
  return call.fork('qmtemplate', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      await control.passes(250);
      world.writeConfig(guest, control.pid);
      guest.config.template = '1';
      for (const { key, parts, volume } of disksOf(world, guest)) {
        if (!isDrive(key) || parts.get('media') === 'cdrom' || volume === undefined) continue;
        parts.set('file', makeBase(world, guest, volume.volid));
        guest.config[key] = formatDrive(parts);
      }
    }),
  );
}

/** Its disks become bases, which clones can hang on; from 9 on under a fresh number. */
function makeBase(world: World, guest: Guest, volid: string): string {
  const volumes = world.storages.volumes(storageOf(volid), guest.node);
  const volume = volumes.get(volid);
  if (volume === undefined) return volid;
  const number = (text: string): string =>
    world.major === 8
      ? text
      : text.replace(/-disk-(\d+)/, (_, index: string) => `-disk-${Number(index) + 1}`);
  const base = number(volid.replace(`vm-${guest.vmid}-disk`, `base-${guest.vmid}-disk`));
  volumes.delete(volid);
  volumes.set(base, { ...volume, volid: base });
  return base;
}

function destroy(call: Call): string {
  const { world, parameters, node } = call;
  const guest = guestOf(call, 'qemu');
  refuseSkipLock(call);
  checkUnlocked(guest);
  if (guest.config.protection === '1')
    throw refusal(`can't remove VM ${guest.vmid} - protection mode enabled`);
  if (world.ha.resources.has(sidOf(guest)) && parameters['purge'] !== '1') {
    throw refusal(`unable to remove VM ${guest.vmid} - used in HA resources and purge parameter not set.`);
  }
  if (guest.status === 'running') throw refusal(`VM ${guest.vmid} is running - destroy failed`);
  return call.fork('qmdestroy', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      const now = world.needGuest(node, 'qemu', guest.vmid);
      await control.passes(250);
      for (const { volid } of disksOf(world, now)) checkNoClones(world, now, volid);
      dropDisks(world, now);
      world.writeConfig(now, control.pid);
      if (parameters['purge'] === '1') {
        control.log(`purging VM ${guest.vmid} from related configurations..`);
        world.ha.resources.delete(sidOf(now));
      }
      world.guests.delete(guest.vmid);
      for (const pool of world.pools.values()) pool.guests.delete(guest.vmid);
    }),
  );
}

const path = '/nodes/{node}/qemu/{vmid}';
export const qemuVolumeRoutes: Routes = {
  [`PUT ${path}/resize`]: resize,
  [`POST ${path}/move_disk`]: moveDisk,
  [`PUT ${path}/unlink`]: unlink,
  [`POST ${path}/template`]: makeTemplate,
  [`DELETE ${path}`]: destroy,
};
