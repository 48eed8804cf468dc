/** Migration: containers offline or with a restart, machines offline or live; preconditions before. */
import { parameterFailure, refusal } from './failure.ts';
import { bareKey, disksOf, type Disk } from './guest-disks.ts';
import type { Kind } from './guest-life.ts';
import { begin, checkUnlocked, guestOf, halt, lockFileOf, managedByHa } from './guest-life.ts';
import { formatParts, parseList, parseParts } from './guest-property.ts';
import { needStorage, pathOf, storageOf } from './guest-volumes.ts';
import { requestHaMigration } from './ha-resources.ts';
import { shutDownContainer } from './lxc-power.ts';
import { isShared, preconditions, scanVolumes } from './migrate-conditions.ts';
import { copyToTarget, logTime, moveConfig, reachable } from './migrate-move.ts';
import { liveLines } from './migrate-live.ts';
import type { Call, Routes } from './route.ts';
import type { TaskControl } from './task-engine.ts';
import type { Guest } from './world.ts';

function migrate(call: Call, kind: Kind): string {
  const { world, parameters, node } = call;
  const { target = '' } = parameters;
  world.needQuorum();
  const guest = call.world.guestOn(node, kind, parameters['vmid'] ?? '');
  if (target === node) throw parameterFailure({ target: 'target is local node.' });
  if (!world.nodes.has(target)) throw refusal(`no such cluster node '${target}'`);
  const there = guest ?? guestOf(call, kind);
  const storage = parameters['target-storage'] ?? parameters['targetstorage'];
  if (storage !== undefined && storage !== '1')
    for (const one of parseList(storage)) needStorage(world, one.split(':').pop() ?? '');
  if (managedByHa(world, there)) return requestHaMigration(call, there, target);
  refuseRunning(call, there);
  return call.fork(kind === 'lxc' ? 'vzmigrate' : 'qmigrate', there.vmid, (control) =>
    control.locked(lockFileOf(there), () => run(call, kind, control)),
  );
}

function refuseRunning({ parameters }: Call, guest: Guest): void {
  if (guest.status === 'stopped' || parameters['online'] === '1') return;
  if (guest.kind === 'qemu') throw refusal("can't migrate running VM without --online");
  if (parameters['restart'] !== '1') {
    throw refusal("can't migrate running container without --online or --restart");
  }
}

interface Migration {
  readonly call: Call;
  readonly guest: Guest;
  readonly target: string;
  readonly control: TaskControl;
  readonly startedMs: number;
}

async function run(call: Call, kind: Kind, control: TaskControl): Promise<void> {
  const { world } = call;
  const guest = world.needGuest(call.node, kind, call.parameters['vmid'] ?? '');
  const target = call.parameters['target'] ?? '';
  const work: Migration = { call, guest, target, control, startedMs: world.clock.nowMs() };
  const own = guest.config.lock === undefined;
  try {
    checkUnlocked(guest);
    world.writeConfig(guest, control.pid);
    await reachable(world, target, control);
    guest.config.lock = 'migrate';
    await (kind === 'lxc' ? moveContainer(work) : moveMachine(work));
    say(work, `migration finished successfully (duration ${duration(work)})`);
  } catch (error) {
    if (control.signal.aborted) throw error;
    const why = error instanceof Error ? error.message : '';
    say(work, `ERROR: migration aborted (duration ${duration(work)}): ${why}`);
    throw new Error('migration aborted');
  } finally {
    if (own) delete guest.config.lock;
  }
}

const say = ({ call, control }: Migration, line: string): void =>
  control.log(`${logTime(call.world)} ${line}`);

function duration({ call, startedMs }: Migration): string {
  const seconds = Math.round((call.world.clock.nowMs() - startedMs) / 1000);
  return new Date(seconds * 1000).toISOString().slice(11, 19);
}

function ssh({ call, target }: Migration, command: string): string {
  const ip = call.world.nodes.get(target)?.ip ?? '';
  const options = `-o 'BatchMode=yes' -o 'HostKeyAlias=${target}' -o 'UserKnownHostsFile=/etc/pve/nodes/${target}/ssh_known_hosts'`;
  return `# /usr/bin/ssh -e none ${options} -o 'GlobalKnownHostsFile=none' root@${ip} ${command}`;
}

async function moveContainer(work: Migration): Promise<void> {
  const { call, guest, target, control } = work;
  const { world, parameters } = call;
  const restart = guest.status === 'running' && parameters['restart'] === '1';
  checkContainer(work);
  if (guest.status === 'running' && !restart)
    throw new Error('lxc live migration is currently not implemented');
  if (restart) {
    say(work, `shutdown CT ${guest.vmid}`);
    const lock = guest.config.lock;
    delete guest.config.lock;
    await shutDownContainer(call, control, 'migrate');
    if (lock !== undefined) guest.config.lock = lock;
  }
  say(
    work,
    `starting migration of CT ${guest.vmid} to node '${target}' (${world.nodes.get(target)?.ip ?? ''})`,
  );
  try {
    for (const disk of disksOf(world, guest)) await moveContainerDisk(work, disk);
  } catch (error) {
    say(work, 'aborting phase 1 - cleanup resources');
    say(work, 'start final cleanup');
    if (restart) say(work, 'start container on source node');
    if (restart) begin(world, guest);
    throw error;
  }
  say(work, 'start final cleanup');
  await control.passes(700);
  moveConfig(world, guest, target);
  if (!restart) return;
  say(work, 'start container on target node');
  say(work, ssh(work, `pct start ${guest.vmid}`));
  await control.passes(1300);
  begin(world, guest);
}

/** Before it is stopped. */
function checkContainer(work: Migration): void {
  const { call, guest, target } = work;
  const { world } = call;
  for (const [key, value] of Object.entries(guest.config).filter(([name]) =>
    /^(?:rootfs|mp\d+)$/.test(name),
  )) {
    const parts = parseParts(value, 'volume');
    if (parts.get('volume')?.startsWith('/') === true && parts.get('shared') !== '1')
      throw new Error(`cannot migrate local bind mount point '${key}'`);
  }
  for (const disk of disksOf(world, guest)) {
    const id = isShared(world, disk) ? storageOf(disk.volid) : storageFor(work, disk);
    const definition = world.storages.definitions.get(id);
    if (definition === undefined) throw new Error(`storage '${id}' does not exist`);
    if (!world.storages.isOn(definition, target))
      throw new Error(`storage '${id}' is not available on node '${target}'`);
  }
}

async function moveContainerDisk(work: Migration, disk: Disk): Promise<void> {
  const { call, guest, control } = work;
  if (isShared(call.world, disk)) {
    say(work, `volume '${disk.volid}' is on shared storage '${storageOf(disk.volid)}'`);
    return;
  }
  say(work, `found local volume '${disk.volid}' (in current VM config)`);
  const type = call.world.storages.definitions.get(storageOf(disk.volid))?.type ?? '';
  if (guest.snapshots.size > 0 && type !== 'zfspool' && type !== 'btrfs') {
    say(work, `can't migrate local volume '${disk.volid}': non-migratable snapshot exists`);
    throw new Error("can't migrate CT - check log");
  }
  const bytes = disk.volume?.sizeBytes ?? 0;
  await control.passes(1000 + Math.round((bytes / 1024 ** 3) * 5000));
  const moved = copyToTarget(call.world, guest, disk, {
    target: work.target,
    storage: storageFor(work, disk),
  });
  if (disk.volume?.format !== 'subvol')
    say(work, `Formatting '${pathOf(call.world, moved)}', fmt=raw size=${bytes} preallocation=off`);
  say(work, `successfully imported '${moved}'`);
  say(work, `volume '${disk.volid}' is '${moved}' on the target`);
  say(work, ssh(work, `pvesr set-state ${guest.vmid} \\''{}'\\'`));
  disk.parts.set('volume', moved);
  guest.config[disk.key] = disk.key.startsWith('unused') ? moved : formatParts(disk.parts, 'volume', ['mp']);
}

/** "shared", or "local:shared,btr:btr2", or nothing: the storage of the same name. */
function storageFor({ call }: Migration, { volid }: Disk): string {
  const { parameters } = call;
  const given = parseList(parameters['target-storage'] ?? parameters['targetstorage'] ?? '');
  const own = storageOf(volid);
  const mapped = given.find((one) => one.startsWith(`${own}:`));
  return mapped?.slice(own.length + 1) ?? given.find((one) => !one.includes(':') && one !== '1') ?? own;
}

async function moveMachine(work: Migration): Promise<void> {
  const { call, guest, target, control } = work;
  const { world, parameters } = call;
  const live = guest.status === 'running';
  say(
    work,
    `starting migration of VM ${guest.vmid} to node '${target}' (${world.nodes.get(target)?.ip ?? ''})`,
  );
  const local = await scanned(work, parameters['with-local-disks'] === '1');
  if (local.length > 0) say(work, 'copying local disk images');
  for (const disk of local) await moveMachineDisk(work, disk);
  if (live) for (const [afterMs, line] of liveLines(guest, target)) await pause(work, afterMs, line);
  await control.passes(live ? 1500 : 1000);
  const { startedAtMs } = guest;
  halt(guest);
  moveConfig(world, guest, target);
  if (!live) return;
  begin(world, guest);
  guest.startedAtMs = startedAtMs;
}

/** The volumes that go along; it ends here where one cannot. */
async function scanned(work: Migration, withDisks: boolean): Promise<readonly Disk[]> {
  const { call, guest, control } = work;
  const { faults, linked, moving } = scanVolumes(call.world, guest, withDisks);
  for (const { volid } of moving) say(work, `found local disk '${volid}' (attached)`);
  for (const { volid, why } of faults) say(work, `can't migrate local disk '${volid}': ${why}`);
  const why = faults.length > 0 ? "can't migrate VM - check log" : linked;
  if (why === undefined) return moving;
  await control.passes(300);
  say(work, `ERROR: Problem found while scanning volumes - ${why}`);
  say(work, 'aborting phase 1 - cleanup resources');
  throw new Error(`Problem found while scanning volumes - ${why}`);
}

async function pause(work: Migration, afterMs: number, line: string): Promise<void> {
  await work.control.passes(afterMs);
  say(work, line);
}

async function moveMachineDisk(work: Migration, disk: Disk): Promise<void> {
  const { call, guest, control } = work;
  const bytes = disk.volume?.sizeBytes ?? 0;
  await control.passes(1000 + Math.round((bytes / 1024 ** 3) * 10_000));
  const moved = copyToTarget(call.world, guest, disk, {
    target: work.target,
    storage: storageFor(work, disk),
  });
  say(work, `successfully imported '${moved}'`);
  say(work, `volume '${disk.volid}' is '${moved}' on the target`);
  disk.parts.set('file', moved);
  guest.config[disk.key] = disk.key.startsWith('unused') ? moved : formatParts(disk.parts, bareKey(guest));
}

export const migrateRoutes = (kind: Kind): Routes => ({
  [`GET /nodes/{node}/${kind}/{vmid}/migrate`]: (call) => preconditions(call, kind),
  [`POST /nodes/{node}/${kind}/{vmid}/migrate`]: (call) => migrate(call, kind),
});
