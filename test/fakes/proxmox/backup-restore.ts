/** A guest made again from a backup. */
import { dropDisks } from './guest-disks.ts';
import { halt, lockFileOf, newMac } from './guest-life.ts';
import { formatParts, formatSize, parseParts } from './guest-property.ts';
import { allocate, storageOf } from './guest-volumes.ts';
import { isLxcVolume, normaliseLxcValue } from './lxc-config.ts';
import { startTask } from './lxc-power.ts';
import { isDrive } from './qemu-config.ts';
import type { Call } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, GuestConfig } from './world.ts';

/** The container is there already, locked as "create", or it is the one that is written over. */
export function restoreContainer(call: Call, guest: Guest): string {
  const before = { ...guest.config };
  const fresh = before.lock === 'create';
  guest.config.lock = 'create';
  return call.fork('vzrestore', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      try {
        await restore(call, guest, { ...before, lock: '' }, control);
      } catch (error) {
        if (fresh) call.world.guests.delete(guest.vmid);
        else guest.config = before;
        throw error;
      }
      if (call.parameters['start'] === '1') startTask(call, guest);
    }),
  );
}

async function restore(call: Call, guest: Guest, before: GuestConfig, control: TaskControl): Promise<void> {
  const { world, parameters, node } = call;
  const archive = parameters['ostemplate'] ?? '';
  control.log(`recovering backed-up configuration from '${archive}'`);
  const volume = world.storages.find(archive, node);
  if (volume?.backupOf === undefined) {
    throw new Error(`unable to restore CT ${guest.vmid} - volume '${archive}' does not exist`);
  }
  dropDisks(world, { ...guest, config: before });
  control.log(`restoring '${archive}' now..`, `extracting archive '${archivePath(call, archive)}'`);
  await control.passes(400);
  control.log('Total bytes read: 2467840 (2.4MiB, 53MiB/s)', 'merging backed-up and given configuration..');
  const config = { ...volume.backupOf.config };
  placeDisks(call, guest, config, isLxcVolume);
  const fresh = (): string => newMac(world);
  for (const key of Object.keys(config)) {
    if (parameters['unique'] === '1' && /^net\d+$/.test(key)) {
      const parts = parseParts(config[key] ?? '', 'name');
      parts.delete('hwaddr');
      config[key] = normaliseLxcValue(key, formatParts(parts, '', ['name']), fresh);
    }
  }
  for (const key of ['hostname', 'memory', 'swap', 'cores', 'description', 'tags', 'net0', 'unprivileged']) {
    const given = parameters[key];
    if (given !== undefined) config[key] = normaliseLxcValue(key, given, fresh);
  }
  world.writeConfig(guest, control.pid);
  guest.config = config;
  guest.snapshots.clear();
  guest.pending.clear();
  halt(guest);
}

export const archivePath = ({ world }: Call, volid: string): string => {
  const path = world.storages.definitions.get(storageOf(volid))?.path ?? '/var/lib/vz';
  return `${path}/dump/${volid.slice(volid.indexOf('/') + 1)}`;
};

/** Fresh volumes for what the backup had, where they were or where the call says. */
export function placeDisks(
  call: Call,
  guest: Guest,
  config: GuestConfig,
  isDisk: (key: string) => boolean,
): void {
  const { world, node, parameters } = call;
  const bare = guest.kind === 'lxc' ? 'volume' : 'file';
  for (const key of Object.keys(config).filter(isDisk)) {
    const parts = parseParts(config[key] ?? '', bare);
    const old = parts.get(bare) ?? '';
    if (old.startsWith('/') || parts.get('media') === 'cdrom') continue;
    const storage = parameters['storage'] ?? storageOf(old);
    const format = /\.(subvol|raw|qcow2)$/.exec(old)?.[1] ?? 'raw';
    const bytes = sizeOf(parts.get('size') ?? '0');
    const content = guest.kind === 'lxc' ? 'rootdir' : 'images';
    const volume = allocate(world, { node, storage, vmid: guest.vmid, bytes, format, content });
    parts.set(bare, volume.volid);
    parts.set('size', formatSize(bytes));
    config[key] = formatParts(parts, bare, guest.kind === 'lxc' ? ['mp'] : []);
  }
}

const sizeOf = (text: string): number => {
  const unit = { K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 }[text.slice(-1)] ?? 1;
  return Math.round(Number.parseFloat(text) * unit) || 0;
};

/** POST /nodes/{node}/qemu with `archive`. */
export function restoreMachine(call: Call, guest: Guest): string {
  const { world, node, parameters } = call;
  const archive = parameters['archive'] ?? '';
  return call.fork('qmrestore', guest.vmid, (control) =>
    control.locked(lockFileOf(guest), async () => {
      const volume = world.storages.find(archive, node);
      if (volume?.backupOf === undefined) {
        world.guests.delete(guest.vmid);
        throw new Error(`unable to restore VM ${guest.vmid} - volume '${archive}' does not exist`);
      }
      await control.passes(900);
      const config = { ...volume.backupOf.config };
      placeDisks(call, guest, config, isDrive);
      guest.config = config;
    }),
  );
}
