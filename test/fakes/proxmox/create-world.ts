/** Makes a world: see World for what it promises. */
import type { Clock } from '#shared/clock.ts';
import type { Random } from '#shared/random.ts';
import { createAccessModel } from './access-model.ts';
import { createBroadcasts } from './broadcasts.ts';
import { refusal } from './failure.ts';
import { createInternet } from './internet.ts';
import { createFileLocks } from './locks.ts';
import { createNodes, noticeMs, seenOnline } from './node-model.ts';
import type { NodeOptions } from './node-model.ts';
import { createStorages } from './storage-model.ts';
import { createTaskEngine } from './task-engine.ts';
import type { Guest, LogEntry, NodeDeath, ProxmoxVersion, World } from './world.ts';

const broadcastEveryMs = 10_000;

export interface WorldOptions {
  readonly version: ProxmoxVersion;
  readonly clock: Clock;
  readonly random: Random;
  readonly nodes: readonly (string | NodeOptions)[];
  readonly clusterName?: string;
  readonly pace?: number;
}

export function createWorld(options: WorldOptions): World {
  const { clock, version, random } = options;
  const pace = options.pace ?? 1;
  const nodes = createNodes(options.nodes, random);
  const locks = createFileLocks(clock);
  const log: LogEntry[] = [];
  const onNodeChange: World['onNodeChange'] = new Set();
  const now = (): number => Math.floor(clock.nowMs() / 1000);

  function nextPid(name: string): number {
    const node = nodes.get(name);
    if (node === undefined) throw new Error(`no node ${name}`);
    node.lastPid += 1 + Math.floor(random.fraction() * 20);
    return node.lastPid;
  }
  const tasks = createTaskEngine({
    clock,
    locks,
    pace,
    nextPid,
    nowMs: (name) => clock.nowMs() + (nodes.get(name)?.skewMs ?? 0),
    onChange(task, change) {
      const words =
        change === 'start' ? `starting task ${task.upid}` : `end task ${task.upid} ${task.exitStatus}`;
      const uid = String(log.length + 1);
      const { node, pid, caller } = task;
      log.unshift({ uid, node, time: now(), user: caller.authId, tag: 'pvedaemon', pid, message: words });
    },
  });

  function quorate(): boolean {
    const present = [...nodes.values()].filter(({ alive, cut }) => alive && !cut).length;
    return present * 2 > nodes.size;
  }
  function seenQuorate(): boolean {
    const seen = [...nodes.values()].filter((node) => seenOnline(node, clock.nowMs())).length;
    return seen * 2 > nodes.size;
  }
  function kill(name: string, how: NodeDeath = {}): void {
    const node = nodes.get(name);
    if (node === undefined || !node.alive) return;
    node.alive = false;
    node.answers = how.answers ?? 'refused';
    node.changedAtMs = clock.nowMs();
    if (how.rows === 'forgotten') clock.after(noticeMs, () => world.broadcasts.forget(name));
    tasks.freeze(name);
    locks.forget(name);
    for (const guest of world.guests.values()) if (guest.node === name) stopDead(guest);
    for (const tell of onNodeChange) tell(name, false);
  }
  function revive(name: string): void {
    const node = nodes.get(name);
    if (node === undefined || node.alive) return;
    node.alive = true;
    node.changedAtMs = clock.nowMs();
    node.bootedAtMs = clock.nowMs();
    tasks.reap(name);
    for (const tell of onNodeChange) tell(name, true);
  }

  const world: World = {
    version,
    major: Number(version.split('.')[0]),
    clusterName: options.clusterName ?? 'rig',
    clock,
    random,
    pace,
    nodes,
    guests: new Map(),
    storages: createStorages(),
    tasks,
    locks,
    broadcasts: createBroadcasts(() => world),
    pools: new Map(),
    access: createAccessModel(random, Number(version.split('.')[0])),
    ha: { resources: new Map(), groups: new Map(), rules: new Map() },
    options: {},
    log,
    internet: createInternet(),
    now,
    task: (about, body) => tasks.fork(about, body),
    guestOn(node, kind, vmid) {
      const guest = world.guests.get(Number(vmid));
      return guest?.node === node && guest.kind === kind ? guest : undefined;
    },
    needGuest(node, kind, vmid) {
      const guest = world.guestOn(node, kind, vmid);
      if (guest !== undefined) return guest;
      const folder = kind === 'lxc' ? 'lxc' : 'qemu-server';
      throw refusal(`Configuration file 'nodes/${node}/${folder}/${vmid}.conf' does not exist`);
    },
    newGuest: (about) => newGuest(about),
    quorate,
    seenQuorate,
    needQuorum() {
      if (!quorate()) throw refusal('cluster not ready - no quorum?');
    },
    writeConfig(guest, pid) {
      if (quorate()) return;
      const folder = guest.kind === 'lxc' ? 'lxc' : 'qemu-server';
      const file = `/etc/pve/nodes/${guest.node}/${folder}/${guest.vmid}.conf.tmp.${pid}`;
      throw new Error(`unable to open file '${file}' - Permission denied`);
    },
    async clusterLock(name, prefix = '') {
      if (quorate()) return;
      await clock.sleep(9000 * pace);
      throw refusal(`${prefix}cfs-lock '${name}' error: no quorum!`);
    },
    killNode: kill,
    reviveNode: revive,
    onNodeChange,
    close() {
      takeBack();
    },
  };
  const takeBack = clock.every(broadcastEveryMs, world.broadcasts.tell);
  world.broadcasts.tell();
  return world;
}

function stopDead(guest: Guest): void {
  guest.status = 'stopped';
  guest.qmpStatus = 'stopped';
  guest.pid = undefined;
  guest.startedAtMs = undefined;
}

function newGuest(about: Pick<Guest, 'vmid' | 'kind' | 'node' | 'config'>): Guest {
  return {
    ...about,
    pending: new Map(),
    snapshots: new Map(),
    status: 'stopped',
    qmpStatus: 'stopped',
    pid: undefined,
    startedAtMs: undefined,
    usage: { cpu: 0, memoryBytes: 704_512, diskBytes: 6_062_080, netInBytes: 656, netOutBytes: 656 },
    inside: {
      addresses: [],
      hostname: about.config.hostname ?? about.config.name ?? '',
      agent: false,
      shutdownMs: 1000,
    },
  };
}
