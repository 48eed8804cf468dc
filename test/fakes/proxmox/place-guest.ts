/** Guests that were there before a test begins. */
import { sizeIn } from './guest-figures.ts';
import type { Guest, World } from './world.ts';

/** Every volume that a configuration names. */
export function placeDisks(world: World, guest: Guest): void {
  for (const [key, value] of Object.entries(guest.config)) {
    const match = /^(?:file=|volume=)?([A-Za-z][\w-]*):([^,]+)/.exec(value);
    if (
      match === null ||
      !/^(?:rootfs|mp\d|unused\d|scsi\d|virtio\d|sata\d|ide\d|efidisk|tpmstate)/.test(key)
    )
      continue;
    const [, storage = '', name = ''] = match;
    if (!world.storages.definitions.has(storage)) continue;
    const volid = `${storage}:${name}`;
    const ending = name.split('.').at(-1) ?? '';
    const format = ['raw', 'qcow2', 'subvol', 'vmdk'].includes(ending) ? ending : 'raw';
    const sizeBytes = sizeIn(value);
    const content = guest.kind === 'lxc' ? 'rootdir' : 'images';
    const createdAt = world.now() - 100;
    const { vmid } = guest;
    world.storages
      .volumes(storage, guest.node)
      .set(volid, { volid, content, format, sizeBytes, usedBytes: 0, vmid, createdAt });
  }
}

export interface GuestToPlace extends Pick<Guest, 'vmid' | 'kind' | 'node' | 'config'> {
  /** For twenty seconds already. */
  readonly running?: boolean;
}

/** With the disks that its configuration names. It is told of with the next broadcast. */
export function placeGuest(world: World, { running = false, ...about }: GuestToPlace): Guest {
  const guest = world.newGuest(about);
  if (running) {
    guest.status = 'running';
    guest.qmpStatus = 'running';
    guest.pid = 7000;
    guest.startedAtMs = world.clock.nowMs() - 20_000;
  }
  world.guests.set(guest.vmid, guest);
  placeDisks(world, guest);
  return guest;
}
