/** Snapshots of containers and virtual machines: the tree, rollback, and what a storage cannot do. */
import { refusal } from './failure.ts';
import { disksOf } from './guest-disks.ts';
import type { Kind } from './guest-life.ts';
import {
  begin,
  checkUnlocked,
  digestOf,
  firstFree,
  guestOf,
  halt,
  lockFileOf,
  snapshotConfig,
} from './guest-life.ts';
import { storageOf } from './guest-volumes.ts';
import { renderLxcValue } from './lxc-config.ts';
import { runContainer } from './lxc-power.ts';
import type { Call, Routes } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest, GuestConfig, World } from './world.ts';

const withSnapshots = new Set(['btrfs', 'zfspool', 'lvmthin', 'rbd', 'cephfs']);

/** Whether every disk lies where snapshots can be made: images in qcow2 carry their own. */
export function canSnapshot(world: World, guest: Guest): boolean {
  return disksOf(world, guest)
    .filter(({ key, parts }) => !key.startsWith('unused') && parts.get('media') !== 'cdrom')
    .every(({ volid, volume }) => {
      const type = world.storages.definitions.get(storageOf(volid))?.type ?? '';
      return withSnapshots.has(type) || volume?.format === 'qcow2';
    });
}

const prefixOf = (kind: Kind): string => (kind === 'lxc' ? 'vz' : 'qm');

/** A task on the guest of the path, which finds out itself that there is none. */
function fork(
  call: Call,
  kind: Kind,
  verb: string,
  work: (guest: Guest, control: TaskControl) => Promise<void>,
) {
  const { world, node, parameters } = call;
  const vmid = Number(parameters['vmid']);
  return call.fork(`${prefixOf(kind)}${verb}`, vmid, (control) =>
    control.locked(lockFileOf({ kind, vmid }), () => work(world.needGuest(node, kind, vmid), control)),
  );
}

const needName = (guest: Guest, name: string): NonNullable<ReturnType<Guest['snapshots']['get']>> => {
  const snapshot = guest.snapshots.get(name);
  if (snapshot === undefined) throw new Error(`snapshot '${name}' does not exist`);
  return snapshot;
};

function create(call: Call, kind: Kind): string {
  const { world, parameters } = call;
  const { snapname = '', description } = parameters;
  if (snapname === 'current' || snapname === 'pending') {
    throw refusal(`unable to use snapshot name '${snapname}' (reserved name)`);
  }
  return fork(call, kind, 'snapshot', async (guest, control) => {
    checkUnlocked(guest);
    if (guest.config.template === '1') throw new Error("you can't take a snapshot if it's a template");
    if (guest.snapshots.has(snapname)) throw new Error(`snapshot name '${snapname}' already used`);
    if (!canSnapshot(world, guest)) throw new Error('snapshot feature is not available');
    world.writeConfig(guest, control.pid);
    guest.config.lock = 'snapshot';
    try {
      await control.passes(350);
      if (kind === 'qemu') control.log(...driveLines(world, guest));
    } finally {
      delete guest.config.lock;
    }
    const config: GuestConfig = { ...guest.config };
    delete config.parent;
    if (parameters['vmstate'] === '1' && guest.status === 'running') config['vmstate'] = 'saved';
    const parent = guest.config.parent;
    const snapTime = world.now() + Math.round((world.nodes.get(guest.node)?.skewMs ?? 0) / 1000);
    guest.snapshots.set(snapname, { name: snapname, config, parent, description, snapTime });
    guest.config.parent = snapname;
  });
}

const driveLines = (world: World, guest: Guest): string[] =>
  disksOf(world, guest)
    .filter(({ key, parts }) => !key.startsWith('unused') && parts.get('media') !== 'cdrom')
    .map(({ key, volid }) => `snapshotting 'drive-${key}' (${volid})`);

/** ZFS goes back to the newest snapshot of a volume alone. */
function checkIsNewest(world: World, guest: Guest, name: string): void {
  if ([...guest.snapshots.keys()].at(-1) === name) return;
  const disk = disksOf(world, guest).find(
    ({ volid }) => world.storages.definitions.get(storageOf(volid))?.type === 'zfspool',
  );
  if (disk !== undefined)
    throw new Error(`can't rollback, '${name}' is not most recent snapshot on '${disk.volid}'`);
}

/** Its description and its unused disks stay, and disks that are newer are unused then. */
function goBack(world: World, guest: Guest, to: Readonly<GuestConfig>, name: string): void {
  const { config } = guest;
  const isUnused = (key: string): boolean => key.startsWith('unused');
  const disks = disksOf(world, guest).filter(
    ({ key, parts }) => !isUnused(key) && parts.get('media') !== 'cdrom',
  );
  const next: GuestConfig = Object.fromEntries(
    Object.entries({ ...to, parent: name }).filter(
      ([key]) => key !== 'vmstate' && key !== 'description' && !isUnused(key),
    ),
  );
  for (const [key, value] of Object.entries(config))
    if (key === 'description' || isUnused(key)) next[key] = value;
  guest.config = next;
  const there = new Set(disksOf(world, guest).map(({ volid }) => volid));
  for (const { volid } of disks.filter((disk) => !there.has(disk.volid)))
    guest.config[firstFree('unused', guest.config)] = volid;
}

function rollback(call: Call, kind: Kind): string {
  const { world, parameters } = call;
  const { snapname = '', start } = parameters;
  return fork(call, kind, 'rollback', async (guest, control) => {
    const snapshot = needName(guest, snapname);
    if (guest.config.template === '1') throw new Error("you can't rollback if vm is a template");
    checkIsNewest(world, guest, snapname);
    checkUnlocked(guest);
    world.writeConfig(guest, control.pid);
    if (guest.status === 'running') await control.passes(900);
    halt(guest);
    await control.passes(300);
    goBack(world, guest, snapshot.config, snapname);
    if (kind === 'qemu') guest.config['vmgenid'] = world.random.uuidV4();
    guest.pending.clear();
    const saved = snapshot.config['vmstate'] !== undefined;
    if (start !== '1' && !saved) return;
    if (kind === 'lxc') await runContainer(world, guest, { ...control, passes: () => Promise.resolve() });
    else begin(world, guest);
  });
}

function remove(call: Call, kind: Kind): string {
  const { world, parameters } = call;
  const { snapname = '' } = parameters;
  return fork(call, kind, 'delsnapshot', async (guest, control) => {
    await control.passes(150);
    const { parent } = needName(guest, snapname);
    checkUnlocked(guest);
    world.writeConfig(guest, control.pid);
    await control.passes(200);
    guest.snapshots.delete(snapname);
    for (const [name, other] of guest.snapshots) {
      if (other.parent === snapname) guest.snapshots.set(name, { ...other, parent });
    }
    if (guest.config.parent !== snapname) return;
    if (parent === undefined) delete guest.config.parent;
    else guest.config.parent = parent;
  });
}

function list(call: Call, kind: Kind): unknown {
  const guest = guestOf(call, kind);
  const rows: Record<string, unknown>[] = [...guest.snapshots.values()].map((snapshot) => {
    const text = snapshot.description;
    const description = text !== undefined && kind === 'lxc' ? renderLxcValue('description', text) : text;
    const row: Record<string, unknown> = {
      name: snapshot.name,
      description: description ?? '',
      snaptime: snapshot.snapTime,
    };
    if (snapshot.parent !== undefined) row['parent'] = snapshot.parent;
    if (kind === 'qemu') row['vmstate'] = snapshot.config['vmstate'] === undefined ? 0 : 1;
    return row;
  });
  const current: Record<string, unknown> = {
    name: 'current',
    description: 'You are here!',
    digest: digestOf(guest),
    running: guest.status === 'running' ? 1 : 0,
  };
  if (guest.config.parent !== undefined) current['parent'] = guest.config.parent;
  return [...rows, current];
}

function describe(call: Call, kind: Kind): null {
  const guest = guestOf(call, kind);
  const { snapname = '', description } = call.parameters;
  const snapshot = guest.snapshots.get(snapname);
  if (snapshot === undefined) throw refusal(`snapshot '${snapname}' does not exist`);
  checkUnlocked(guest);
  call.world.writeConfig(guest, call.world.nodes.get(call.node)?.lastPid ?? 1);
  guest.snapshots.set(snapname, { ...snapshot, description });
  return null;
}

export function snapshotRoutes(kind: Kind): Routes {
  const path = `/nodes/{node}/${kind}/{vmid}/snapshot`;
  return {
    [`GET ${path}`]: (call) => list(call, kind),
    [`POST ${path}`]: (call) => create(call, kind),
    [`GET ${path}/{snapname}`]: () => [{ cmd: 'rollback' }, { cmd: 'config' }],
    [`DELETE ${path}/{snapname}`]: (call) => remove(call, kind),
    [`GET ${path}/{snapname}/config`]: (call) =>
      snapshotConfig(guestOf(call, kind), call.parameters['snapname'] ?? ''),
    [`PUT ${path}/{snapname}/config`]: (call) => describe(call, kind),
    [`POST ${path}/{snapname}/rollback`]: (call) => rollback(call, kind),
  };
}
