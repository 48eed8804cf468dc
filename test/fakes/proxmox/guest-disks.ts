/** The disks that a guest owns, in its configuration and in its snapshots. */
import { parseParts } from './guest-property.ts';
import { free } from './guest-volumes.ts';
import { isLxcVolume } from './lxc-config.ts';
import { isDrive, isUnused } from './qemu-config.ts';
import type { Volume } from './storage-model.ts';
import type { Guest, World } from './world.ts';

export interface Disk {
  /** "rootfs", "mp0", "scsi0", "unused0". */
  readonly key: string;
  readonly volid: string;
  readonly volume: Volume | undefined;
  readonly parts: Map<string, string>;
}

export const bareKey = (guest: Pick<Guest, 'kind'>): 'volume' | 'file' =>
  guest.kind === 'lxc' ? 'volume' : 'file';

/** The volumes that a configuration names; bind mounts and empty drives are none. */
export function disksOf(world: World, guest: Guest, config = guest.config): Disk[] {
  const isDisk = guest.kind === 'lxc' ? isLxcVolume : (key: string): boolean => isDrive(key) || isUnused(key);
  const bare = bareKey(guest);
  return Object.keys(config)
    .filter(isDisk)
    .flatMap((key) => {
      const parts = parseParts(config[key] ?? '', bare);
      const volid = parts.get(bare) ?? '';
      if (volid === 'none' || volid === 'cdrom' || volid.startsWith('/') || !volid.includes(':')) return [];
      return [{ key, volid, parts, volume: world.storages.find(volid, guest.node) }];
    });
}

/** Removes what belongs to it, in every snapshot too; images that are only inserted stay. */
export function dropDisks(world: World, guest: Guest): void {
  for (const config of [guest.config, ...[...guest.snapshots.values()].map((snapshot) => snapshot.config)]) {
    for (const { volid, volume } of disksOf(world, guest, config)) {
      if (volume?.vmid === guest.vmid) free(world, guest.node, volid);
    }
  }
}

/** Btrfs alone takes the removal of what is not there for a failure: throws what its command leaves behind. */
export function needDisks(world: World, guest: Guest): void {
  for (const { volid, volume } of disksOf(world, guest)) {
    const [storage = '', name = ''] = volid.split(':');
    const definition = world.storages.definitions.get(storage);
    if (volume !== undefined || definition?.type !== 'btrfs') continue;
    const path = `${definition.path}/images/${name.replace(/\.subvol$/, '')}`;
    throw new Error(`command 'btrfs subvolume delete -- ${path}' failed: exit code 1`);
  }
}
