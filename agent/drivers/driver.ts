import type {
  ExitStatus,
  GuestStats,
  InstanceId,
  InstanceSpec,
  Resources,
  RuntimeFacts,
} from '#shared/model.ts';
import type { ExecInput, ExecOutput, ExecStart, LogLine, LogOptions, TerminalSize } from '#shared/streams.ts';
import type { Clock } from '#shared/clock.ts';
import type { Log } from '#shared/log.ts';
import type { Random } from '#shared/random.ts';
import type { HostCommands } from '../host/command.ts';
import type { IdRange, ImageConfig } from '../images/image-source.ts';

/** What a driver is made from. Two drivers of one node share all of it. */
export interface DriverContext {
  readonly commands: HostCommands;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Outlives a reboot. */
  readonly stateDir: string;
  /** Does not outlive a reboot. */
  readonly runDir: string;
  /** The node's own, such as "/drover-1a2b3c4d"; each driver but crun adds its name to it. */
  readonly cgroupPrefix: string;
  /** Device files of the host that specs may name. */
  readonly allowedDevices: readonly string[];
  /** Whether specs may ask for guests whose root is the host's. */
  readonly allowsPrivileged: boolean;
}

/** A data volume for the guest: mounted nosuid and nodev. */
export interface GuestMount {
  /** Directory on the host, with the guest's host ids. */
  readonly source: string;
  /** Absolute inside; made in the root where it is missing. Never a link's target outside the root. */
  readonly target: string;
  readonly readOnly: boolean;
}

export type RuntimeDriverFactory = (context: DriverContext) => RuntimeDriver;

/** What one guest is made of, once its image and root are there. */
export interface GuestSpec {
  readonly id: InstanceId;
  readonly spec: InstanceSpec;
  /** The image's own entrypoint, command, environment, user and directory. */
  readonly image: ImageConfig;
  /** The mounted root, prepared by a VolumeDriver for the range. */
  readonly rootfs: string;
  /** The host ids that it gets: 0 inside is the range's base. A base of 0 is a privileged guest. */
  readonly range: IdRange;
  readonly mounts: readonly GuestMount[];
  /**
   * What /etc/resolv.conf inside says, for guests with interfaces of their own; undefined: the driver's
   * default.
   */
  readonly resolvConf: string | undefined;
}

/** How a guest is, as the host shows it at this moment. */
export interface GuestState {
  readonly id: InstanceId;
  /**
   * 'created': made, never started in this life. 'running': its first process lives. 'stopped': nothing of
   * it lives. 'paused': it lives, frozen. 'unknown': the host tool or the host does not answer; never to be
   * taken for absent.
   */
  readonly phase: 'created' | 'running' | 'paused' | 'stopped' | 'unknown';
  /**
   * The first process as the host numbers it; zero when nothing runs. Of a created guest only where the
   * driver makes a namespace for the caller to configure.
   */
  readonly pid: number;
  /** When the present run began; zero when nothing runs. */
  readonly startedAtMs: number;
  /**
   * How the last run ended; undefined before the first end. A lost code is `unknown: true`, never made up.
   */
  readonly exit: ExitStatus | undefined;
  /** As read back from the host; undefined when nothing runs. */
  readonly limits: Resources | undefined;
  /** For people: "its monitor died: output and exit code of this run are lost". Empty when all is well. */
  readonly message: string;
}

/** A command inside a guest. Its output ends with the exit. */
export interface ExecSession {
  /**
   * Names it on this node: its exit code stays readable by this id for a day, also across a restart of the
   * agent.
   */
  readonly execId: string;
  /**
   * Standard output and error, then one exit; 'started' is the caller's to say, execId is known from the
   * beginning. Honours back-pressure: the command stops writing while nobody reads.
   */
  readonly output: AsyncIterable<ExecOutput>;
  /** failed-precondition once it has ended. */
  send(input: ExecInput): Promise<void>;
  /**
   * Ends the caller's part: the command gets SIGHUP where it has a terminal, else its standard input ends.
   */
  close(): void;
}

/**
 * RuntimeDriver runs guests with one host tool: create → start → stop → remove.
 *
 * Start, stop, kill and remove succeed when there is nothing left to do, so they may be repeated; every call
 * may be repeated after a crash of the agent at any point, and after a deadline-exceeded, which means the
 * outcome is unknown. A create that fails leaves nothing behind. All truth is read from the host: pids,
 * cgroups, exit files; a tool's exit code is a hint. Guests outlive the agent; a new driver object on the
 * same directories finds them again.
 *
 * Kinds any method may throw besides those it names: unavailable (the tool is missing or its daemon is gone),
 * deadline-exceeded (unknown outcome), resource-exhausted, internal (words of the tool that we do not know).
 * test/conformance/runtime-driver.ts holds every driver to all of this.
 */
export interface RuntimeDriver {
  /** What specs and logs call it: "crun". */
  readonly name: string;
  /**
   * How a guest gets its interfaces. 'namespace': create makes a network namespace, and the caller configures
   * it before start, by the guest's pid. 'native': create is given the attachments in the spec and start
   * makes the interfaces; bridges are there already.
   */
  readonly network: 'namespace' | 'native';
  /**
   * Never throws: a missing tool is an answer the scheduler can read. Its capabilities are the parts of this
   * contract that it keeps, and what is not among them is refused as unimplemented: 'exec', 'logs', 'pause',
   * 'update', 'stats', 'console', 'mounts', 'devices', 'nesting', 'privileged', 'lxc-keys', 'network-none',
   * 'network-host', 'network-bridged'. Two say how it behaves: 'separate-output' where logs tell standard
   * error from output, 'outlives-monitor' where a guest goes on without what watches over it.
   */
  fingerprint(signal: AbortSignal): Promise<RuntimeFacts>;
  /**
   * Makes the guest and starts nothing. already-exists: the id is taken. invalid-argument: the spec cannot
   * be. unimplemented: it asks for something this driver cannot do, which is named. permission-denied: the
   * node does not allow a device or a privileged guest.
   */
  create(guest: GuestSpec, signal: AbortSignal): Promise<void>;
  /**
   * From created; a stopped guest is removed and created anew by the caller: failed-precondition. Succeeds
   * while it runs. not-found.
   */
  start(id: InstanceId, signal: AbortSignal): Promise<void>;
  /**
   * Asks first, kills everything in the guest after graceMs. Resolves when nothing of it lives. not-found.
   */
  stop(id: InstanceId, graceMs: number, signal: AbortSignal): Promise<void>;
  /** One signal for the first process. not-found; failed-precondition when it does not run. */
  signal(id: InstanceId, signalNumber: number, signal: AbortSignal): Promise<void>;
  /**
   * Kills what is left of it and removes all that create made. Succeeds for an id that is not there. With
   * keepLogs the output stays, for a guest of the same id that is created next; without, it goes.
   */
  remove(id: InstanceId, signal: AbortSignal, options?: { readonly keepLogs: boolean }): Promise<void>;
  /**
   * Freezes all its processes; succeeds when it is paused. A paused guest can be stopped, killed, removed and
   * updated; exec is failed-precondition. not-found; failed-precondition when it does not run.
   */
  pause(id: InstanceId, signal: AbortSignal): Promise<void>;
  /** Succeeds when it runs. not-found; failed-precondition when it does not live. */
  resume(id: InstanceId, signal: AbortSignal): Promise<void>;
  /**
   * Sets cpu, memory and pids of a living guest, which goes on; read back by inspect. Disk is not its
   * concern. not-found; failed-precondition when it does not live, or when it uses more memory already.
   */
  update(id: InstanceId, resources: Resources, signal: AbortSignal): Promise<void>;
  /** Spawns nothing. not-found; failed-precondition when it does not live. */
  stats(id: InstanceId): Promise<GuestStats>;
  /**
   * The guest's own terminal, shared with whoever else looks at it; ends with the guest, or by close.
   * not-found; failed-precondition when it does not run; unimplemented.
   */
  console(id: InstanceId, size: TerminalSize, signal: AbortSignal): Promise<ExecSession>;
  /** Spawns nothing. not-found. */
  inspect(id: InstanceId, signal: AbortSignal): Promise<GuestState>;
  /** The guests this driver made: from its directories, each confirmed by the host. Spawns nothing. */
  list(signal: AbortSignal): Promise<GuestState[]>;
  /**
   * Calls back, with the id, soon after a guest may have changed by itself. Carries no data: inspect says
   * what is.
   */
  onChange(callback: (id: InstanceId) => void): () => void;
  /** not-found; failed-precondition when it does not run; invalid-argument: no such program. */
  exec(id: InstanceId, start: ExecStart, signal: AbortSignal): Promise<ExecSession>;
  /** How an exec of before ended. not-found; undefined while it runs. */
  execExit(execId: string): Promise<ExitStatus | undefined>;
  /** Output of all runs of the guest that are kept. not-found. */
  logs(id: InstanceId, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Stops watching the host; guests stay as they are. */
  close(): Promise<void>;
}
