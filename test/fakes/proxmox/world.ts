/**
 * The state of a Proxmox cluster for tests: what its configuration files, daemons and kernels would know.
 *
 * Handlers read and change it directly. What they must not forget:
 *
 * - `quorate()`: without it the configuration cannot be written. `needQuorum()` is the check that guest
 *   methods begin with; `writeConfig()` is what fails later, inside a task; `clusterLock()` is what fails
 *   after nine virtual seconds.
 * - `cluster/resources` shows what was broadcast: every ten virtual seconds each living node tells what runs on it
 *   (`broadcast()`); tags, pool, lock, node and HA state are read from the configuration and are fresh.
 *   A guest that was never broadcast has the status "unknown" and no name.
 * - Waiting is done with `clock`, or in tasks with `control.passes`; durations are multiplied with `pace`.
 */
import type { Clock } from '#shared/clock.ts';
import type { Random } from '#shared/random.ts';
import { createAccessModel } from './access-model.ts';
import type { AccessModel } from './access-model.ts';
import { createBroadcasts } from './broadcasts.ts';
import type { Broadcasts } from './broadcasts.ts';
import { refusal } from './failure.ts';
import { createFileLocks } from './locks.ts';
import type { FileLocks } from './locks.ts';
import { createNodes } from './node-model.ts';
import type { NodeOptions, WorldNode } from './node-model.ts';
import type { Caller } from './route.ts';
import { createStorages } from './storage-model.ts';
import type { Storages } from './storage-model.ts';
import { createTaskEngine } from './task-engine.ts';
import type { Task, TaskBody, TaskEngine } from './task-engine.ts';

export type ProxmoxVersion = '8.4.21' | '9.2.11';

type CommonKey =
  | 'arch'
  | 'balloon'
  | 'boot'
  | 'cores'
  | 'cpulimit'
  | 'description'
  | 'features'
  | 'hostname'
  | 'lock'
  | 'memory'
  | 'name'
  | 'onboot'
  | 'ostype'
  | 'parent'
  | 'protection'
  | 'rootfs'
  | 'sockets'
  | 'swap'
  | 'tags'
  | 'template'
  | 'unprivileged'
  | 'vcpus';

/** As the file in /etc/pve has it: text by key, in order. Numbers become numbers only in answers. */
export type GuestConfig = Record<string, string> & { [Key in CommonKey]?: string };

export interface GuestSnapshot {
  readonly name: string;
  readonly config: GuestConfig;
  readonly parent: string | undefined;
  readonly description: string | undefined;
  /** Seconds since 1970. */
  readonly snapTime: number;
}

/** A container or a virtual machine. `config.lock` is its configuration lock, `config.template` says "1". */
export interface Guest {
  readonly vmid: number;
  readonly kind: 'lxc' | 'qemu';
  /** Where its configuration file lies. */
  node: string;
  config: GuestConfig;
  /** Waits for the next start; undefined means to be deleted. */
  readonly pending: Map<string, string | undefined>;
  readonly snapshots: Map<string, GuestSnapshot>;
  /** What really runs, whatever anybody was told. */
  status: 'running' | 'stopped';
  /** Of a virtual machine: 'paused', 'prelaunch', …; `status` is 'running' then. */
  qmpStatus: string;
  pid: number | undefined;
  /** Of the clock's nowMs. */
  startedAtMs: number | undefined;
  /** What it is seen to use while it runs; tests may set it. */
  readonly usage: {
    cpu: number;
    memoryBytes: number;
    diskBytes: number;
    netInBytes: number;
    netOutBytes: number;
  };
  /** What the work inside answers, for the guest agent and for shutdown; tests may set it. */
  readonly inside: { readonly addresses: string[]; hostname: string; agent: boolean; shutdownMs: number };
}

export interface HaResource {
  /** "ct:101", "vm:102". */
  readonly sid: string;
  state: string;
  fields: Record<string, string>;
  /** As status/current tells: 'started', 'stopped', 'migrate', 'fence', 'recovery', 'error', … */
  current: string;
}

export interface Pool {
  readonly id: string;
  comment: string | undefined;
  readonly guests: Set<number>;
  readonly storages: Set<string>;
}

export interface LogEntry {
  readonly uid: string;
  readonly node: string;
  readonly time: number;
  readonly user: string;
  readonly tag: string;
  readonly pid: number;
  readonly message: string;
}

export interface World {
  readonly version: ProxmoxVersion;
  /** 8 or 9. */
  readonly major: number;
  readonly clusterName: string;
  readonly clock: Clock;
  readonly random: Random;
  /** What durations are multiplied with: below one in tests on a real clock. */
  readonly pace: number;
  readonly nodes: Map<string, WorldNode>;
  readonly guests: Map<number, Guest>;
  readonly storages: Storages;
  readonly tasks: TaskEngine;
  readonly locks: FileLocks;
  readonly broadcasts: Broadcasts;
  readonly pools: Map<string, Pool>;
  readonly access: AccessModel;
  readonly ha: {
    readonly resources: Map<string, HaResource>;
    /** Groups before 9, rules from 9 on. */
    readonly groups: Map<string, Record<string, string>>;
    readonly rules: Map<string, Record<string, string>>;
  };
  /** The cluster's options as `PUT /cluster/options` keeps them. */
  readonly options: Record<string, string>;
  readonly log: LogEntry[];
  /** Seconds since 1970. */
  now(): number;
  /** Forks a task; see TaskBody. */
  task(
    options: {
      readonly node: string;
      readonly type: string;
      readonly id: string | number;
      readonly caller: Caller;
    },
    body: TaskBody,
  ): Task;
  guestOn(node: string, kind: Guest['kind'], vmid: number | string): Guest | undefined;
  /** That guest, or 500 "Configuration file 'nodes/pve1/lxc/999.conf' does not exist". */
  needGuest(node: string, kind: Guest['kind'], vmid: number | string): Guest;
  /** A guest that is stopped and has nothing; the caller puts the rest into it and it into `guests`. */
  newGuest(options: Pick<Guest, 'vmid' | 'kind' | 'node' | 'config'>): Guest;
  quorate(): boolean;
  /** 500 "cluster not ready - no quorum?" */
  needQuorum(): void;
  /** Throws "unable to open file '/etc/pve/nodes/pve1/lxc/101.conf.tmp.9120' - Permission denied" without quorum. */
  writeConfig(guest: Guest, pid: number): void;
  /** Without quorum: nine virtual seconds, then 500 "<prefix>cfs-lock 'file-user_cfg' error: no quorum!". */
  clusterLock(name: string, prefix?: string): Promise<void>;
  /** The node's processes are gone at once: its endpoints, its tasks, its guests. */
  killNode(name: string, how?: { readonly answers?: 'refused' | 'silent' }): void;
  /** Its guests are stopped then; onboot is not followed. */
  reviveNode(name: string): void;
  /** Called by `killNode` and `reviveNode` once the model has changed: for sockets, and for HA. */
  readonly onNodeChange: Set<(name: string, alive: boolean) => void>;
  close(): void;
}

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
  function kill(name: string, how: { readonly answers?: 'refused' | 'silent' } = {}): void {
    const node = nodes.get(name);
    if (node === undefined || !node.alive) return;
    node.alive = false;
    node.answers = how.answers ?? 'refused';
    node.changedAtMs = clock.nowMs();
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
      world.broadcasts.close();
    },
  };
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
