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
import type { AccessModel } from './access-model.ts';
import type { Internet } from './internet.ts';
import type { FileLocks } from './locks.ts';
import type { WorldNode } from './node-model.ts';
import type { Caller } from './caller.ts';
import type { Storages } from './storage-model.ts';
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
  readonly inside: {
    readonly addresses: string[];
    hostname: string;
    agent: boolean;
    shutdownMs: number;
    /** Commands that the agent refuses, and with which words: "fsfreeze-freeze". */
    refuses?: Readonly<Record<string, string>>;
  };
}

/** As its node told it last. */
export interface GuestFigures {
  readonly name: string;
  readonly status: 'running' | 'stopped';
  /** As the list of all resources has it: of a machine the word of its QEMU. */
  readonly listed: string;
  readonly uptime: number;
  readonly cpus: number;
  readonly maxMemoryBytes: number;
  readonly maxSwapBytes: number;
  readonly maxDiskBytes: number;
  readonly cpu: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly netInBytes: number;
  readonly netOutBytes: number;
  readonly template: boolean;
  readonly tags: string | undefined;
  readonly lock: string | undefined;
  readonly pid: number | undefined;
}

export interface NodeFigures {
  readonly cpu: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly uptime: number;
}

export interface StorageFigures {
  readonly usedBytes: number;
  readonly totalBytes: number;
}

export interface Broadcasts {
  /** All living nodes tell now. Runs every ten virtual seconds. */
  tell(): void;
  guest(vmid: number): GuestFigures | undefined;
  node(name: string): NodeFigures | undefined;
  storage(node: string, storage: string): StorageFigures | undefined;
  /** Nothing is known any more of what ran there: one of the two ways a death is seen. */
  forget(node: string): void;
  /** Nobody tells, and nothing is known of what was told, until it goes on. */
  pause(isPaused: boolean): void;
  /** Not told of yet. */
  forgetGuest(vmid: number): void;
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

export interface NodeDeath {
  /** What connections to it meet. "refused" where left out. */
  readonly answers?: 'refused' | 'silent';
  /**
   * Both ways were seen: what it told last is shown for minutes more ("kept"), or its guests become
   * `status: unknown` without a name as soon as the others notice ("forgotten").
   */
  readonly rows?: 'kept' | 'forgotten';
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
  /** What its nodes can download. */
  readonly internet: Internet;
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
  /** What writes meet: a cluster that has just lost too many nodes writes no more, though it does not know yet. */
  quorate(): boolean;
  /** What cluster/status tells. */
  seenQuorate(): boolean;
  /** 500 "cluster not ready - no quorum?" */
  needQuorum(): void;
  /** Throws "unable to open file '/etc/pve/nodes/pve1/lxc/101.conf.tmp.9120' - Permission denied" without quorum. */
  writeConfig(guest: Guest, pid: number): void;
  /** Without quorum: nine virtual seconds, then 500 "<prefix>cfs-lock 'file-user_cfg' error: no quorum!". */
  clusterLock(name: string, prefix?: string): Promise<void>;
  /** The node's processes are gone at once: its endpoints, its tasks, its guests. */
  killNode(name: string, how?: NodeDeath): void;
  /** Its guests are stopped then; onboot is not followed. */
  reviveNode(name: string): void;
  /** Called by `killNode` and `reviveNode` once the model has changed: for sockets, and for HA. */
  readonly onNodeChange: Set<(name: string, alive: boolean) => void>;
  close(): void;
}
