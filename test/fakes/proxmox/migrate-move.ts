/** What a migration does to the model: the file of the guest and its volumes on another node. */
import type { Disk } from './guest-disks.ts';
import { allocate } from './guest-volumes.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, World } from './world.ts';

/** The configuration file moves, and with it what is known of the guest. */
export function moveConfig(_world: World, guest: Guest, target: string): void {
  guest.node = target;
}

/** The volume is gone on the old node, and there on the new one: under its name where that is free. */
export function copyToTarget(
  world: World,
  guest: Guest,
  disk: Disk,
  to: { readonly target: string; readonly storage: string },
): string {
  const { volume, volid } = disk;
  if (volume === undefined) throw new Error(`volume '${volid}' does not exist`);
  const from = world.storages.volumes(volid.slice(0, volid.indexOf(':')), guest.node);
  from.delete(volid);
  const moved = `${to.storage}:${volid.slice(volid.indexOf(':') + 1)}`;
  const shelf = world.storages.volumes(to.storage, to.target);
  if (!shelf.has(moved)) {
    shelf.set(moved, { ...volume, volid: moved });
    return moved;
  }
  const { sizeBytes: bytes, format, content } = volume;
  const kind = content === 'rootdir' ? 'rootdir' : 'images';
  return allocate(world, {
    node: to.target,
    storage: to.storage,
    vmid: guest.vmid,
    bytes,
    format,
    content: kind,
  }).volid;
}

export const logTime = ({ clock }: World): string =>
  new Date(clock.nowMs()).toISOString().slice(0, 19).replace('T', ' ');

/** The first thing a migration tries is a log-in on the target. */
export async function reachable(world: World, target: string, control: TaskControl): Promise<void> {
  const node = world.nodes.get(target);
  if (node === undefined || (node.alive && !node.cut)) return;
  const options = `-o 'BatchMode=yes' -o 'HostKeyAlias=${target}' -o 'UserKnownHostsFile=/etc/pve/nodes/${target}/ssh_known_hosts'`;
  control.log(
    `${logTime(world)} # /usr/bin/ssh -e none ${options} -o 'GlobalKnownHostsFile=none' root@${node.ip} /bin/true`,
    `${logTime(world)} ssh: connect to host ${node.ip} port 22: Connection refused`,
  );
  await control.passes(200);
  throw new Error("Can't connect to destination address using public key");
}
