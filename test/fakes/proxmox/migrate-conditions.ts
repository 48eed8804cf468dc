/** What a migration is asked about before, and what it finds of a machine's volumes once it has begun. */
import { disksOf, type Disk } from './guest-disks.ts';
import type { Kind } from './guest-life.ts';
import { checkUnlocked, guestOf, sidOf } from './guest-life.ts';
import { blockingOn, companionsOf } from './ha-placement.ts';
import { storageOf } from './guest-volumes.ts';
import type { Call } from './route.ts';
import type { Guest, World } from './world.ts';

export const isShared = (world: World, { volid }: Disk): boolean =>
  world.storages.definitions.get(storageOf(volid))?.shared === true;

/** Of all that name it. */
interface Named extends Disk {
  readonly attached: boolean;
  readonly snapshots: string[];
}

const isDisc = ({ parts }: Disk): boolean => parts.get('media') === 'cdrom';
const isCloudInit = ({ volid }: Disk): boolean => /vm-\d+-cloudinit/.test(volid);

/** Volumes that its node alone has, of its configuration and of its snapshots. */
function localVolumes(world: World, guest: Guest): Named[] {
  const all = new Map<string, Named>();
  for (const disk of disksOf(world, guest))
    all.set(disk.volid, { ...disk, attached: !disk.key.startsWith('unused'), snapshots: [] });
  for (const { name, config } of guest.snapshots.values())
    for (const disk of disksOf(world, guest, config)) {
      const named = all.get(disk.volid) ?? { ...disk, attached: false, snapshots: [] };
      named.snapshots.push(name);
      all.set(disk.volid, named);
    }
  return [...all.values()].filter((disk) => !isShared(world, disk));
}

/** Why a volume cannot go along; undefined: it can. */
function whyNot(work: { world: World; guest: Guest; withDisks: boolean }, disk: Named): string | undefined {
  const { world, guest, withDisks } = work;
  const live = guest.status === 'running';
  if (isDisc(disk)) return isCloudInit(disk) ? undefined : 'local cdrom image';
  const type = world.storages.definitions.get(storageOf(disk.volid))?.type;
  if (disk.snapshots.length > 0 && live)
    return 'online storage migration not possible if non-replicated snapshot exists';
  if (disk.snapshots.length > 0 && type !== 'zfspool' && type !== 'btrfs' && disk.volume?.format !== 'qcow2')
    return 'non-migratable snapshot exists';
  const isTpm = disk.key.startsWith('tpmstate');
  if (live && !withDisks && disk.attached && !isTpm)
    return "can't live migrate attached local disks without with-local-disks option";
  return undefined;
}

/** What keeps a machine's volumes on its node, and those that go along. */
export function scanVolumes(world: World, guest: Guest, withDisks: boolean) {
  const volumes = localVolumes(world, guest);
  const faults = volumes.flatMap((disk) => {
    const why = whyNot({ world, guest, withDisks }, disk);
    return why === undefined ? [] : [{ volid: disk.volid, why }];
  });
  const linked = volumes.find(({ volid }) => /[:/]base-\d+-[^/]*\/(?:\d+\/)?vm-/.test(volid));
  const base = linked === undefined ? undefined : /(base-[^/]*)\//.exec(linked.volid)?.[1];
  return {
    faults,
    linked: linked && `can't migrate '${linked.volid}' as it's a clone of '${base}'`,
    moving: volumes.filter(({ key }) => key in guest.config),
  };
}

/** Guests that a rule of HA keeps apart from it, on a node. */
function blockers(world: World, guest: Guest, node: string): { sid: string; cause: string }[] {
  const sid = sidOf(guest);
  if (world.major < 9 || !world.ha.resources.has(sid)) return [];
  return blockingOn(world, sid, node).map((each) => ({ sid: each, cause: 'resource-affinity' }));
}

function lacking(call: Call, guest: Guest, node: string): Record<string, unknown> {
  const { storages } = call.world;
  const ids = new Set(disksOf(call.world, guest).map(({ volid }) => storageOf(volid)));
  const unavailable = [...ids].filter((id) => {
    const definition = storages.definitions.get(id);
    return definition === undefined || !definition.enabled || !storages.isOn(definition, node);
  });
  const blocking = blockers(call.world, guest, node);
  return {
    ...(unavailable.length > 0 && { unavailable_storages: unavailable.toSorted() }),
    ...(blocking.length > 0 && { 'blocking-ha-resources': blocking }),
  };
}

/** Where it may go: any other node, though it may be dead, that has every storage, and no rule against it. */
export function preconditions(call: Call, kind: Kind): unknown {
  const { world, node } = call;
  world.needQuorum();
  const guest = guestOf(call, kind);
  checkUnlocked(guest);
  const others = [...world.nodes.keys()].filter((name) => name !== node);
  const refused = Object.fromEntries(others.map((other) => [other, lacking(call, guest, other)]));
  const allowed = others.filter((other) => Object.keys(refused[other] ?? {}).length === 0);
  const running = guest.status === 'running' ? 1 : 0;
  const sid = sidOf(guest);
  const isManaged = world.major > 8 && world.ha.resources.has(sid);
  const along = isManaged ? { 'dependent-ha-resources': companionsOf(world, sid, 'positive') } : {};
  if (kind === 'lxc') {
    const blocked = others.flatMap((other) => {
      const blocking = blockers(world, guest, other);
      return blocking.length === 0 ? [] : [[other, { 'blocking-ha-resources': blocking }] as const];
    });
    const names = blocked.map(([other]) => other);
    return {
      running,
      'allowed-nodes': others.filter((other) => !names.includes(other)),
      'not-allowed-nodes': Object.fromEntries(blocked),
      ...along,
    };
  }
  return {
    running,
    allowed_nodes: allowed,
    not_allowed_nodes: refused,
    ...along,
    local_disks: localVolumes(world, guest).map((disk) => localDisk(disk)),
    local_resources: Object.keys(guest.config).filter((key) => /^(hostpci|usb)\d+$/.test(key)),
    'mapped-resources': [],
    'mapped-resource-info': {},
    ...(world.major > 8 ? { 'has-dbus-vmstate': 1 } : {}),
  };
}

function localDisk(disk: Named): Record<string, unknown> {
  const { key, volid, volume, attached, snapshots } = disk;
  return {
    volid,
    drivename: key,
    size: volume?.sizeBytes ?? 0,
    cdrom: isDisc(disk) ? 1 : 0,
    is_attached: attached ? 1 : 0,
    is_tpmstate: key.startsWith('tpmstate') ? 1 : 0,
    is_unused: key.startsWith('unused') ? 1 : 0,
    is_vmstate: 0,
    replicate: 1,
    shared: 0,
    ...(snapshots.length > 0 && {
      referenced_in_snapshot: Object.fromEntries(snapshots.map((name) => [name, 1])),
    }),
  };
}
