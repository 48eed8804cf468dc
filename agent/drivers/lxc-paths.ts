import path from 'node:path';
import type { InstanceId } from '#shared/model.ts';
import { checkGuestId } from './guest-id.ts';

/** What create writes down; enough to find, stop and remove the guest again. */
export interface LxcRecord {
  readonly id: InstanceId;
  readonly rootfs: string;
  readonly stopSignal: number;
  /** All of it, defaults included. */
  readonly env: Readonly<Record<string, string>>;
  readonly user: string;
  readonly workingDir: string;
  readonly command: readonly string[];
  readonly network: string;
  /** The host's id of root inside. */
  readonly base: number;
  readonly limits: { readonly cpuMillicores: number; readonly memoryMib: number; readonly pids: number };
  readonly routes: readonly {
    readonly interface: string;
    readonly destination: string;
    readonly via: string;
  }[];
}

/** Where the driver keeps one guest. Every path is made from a checked id. */
export interface LxcGuestPaths {
  readonly directory: string;
  readonly record: string;
  readonly config: string;
  /** The same without environment and log: what lxc-attach reads. */
  readonly attachConfig: string;
  /** Holds the boot in which it was started; its time is when. */
  readonly started: string;
  /** How it ended, once somebody has looked. */
  readonly exit: string;
  /** Its time is when it was first found ended without a word. */
  readonly lost: string;
  /** What guests read; others pass through. */
  readonly shared: string;
  readonly mountHook: string;
  /** What LXC says of it, its end included. */
  readonly monitorLog: string;
  /** The memory events of a run that has ended. */
  readonly memoryEvents: string;
}

export interface LxcPaths {
  readonly guests: string;
  readonly shared: string;
  readonly output: string;
  readonly execs: string;
  readonly monitorLogs: string;
  /** LXC's own space of names for locks and sockets; root of a guest has to be able to pass to it. */
  readonly lxcPath: string;
  of(id: string): LxcGuestPaths;
}

/** stateDir outlives a reboot; runDir must not. */
export function lxcPaths(stateDir: string, runDir: string): LxcPaths {
  const [state, run] = [path.join(stateDir, 'lxc'), path.join(runDir, 'lxc')];
  const guests = path.join(state, 'guests');
  const shared = path.join(state, 'shared');
  const monitorLogs = path.join(run, 'monitors');
  return {
    guests,
    shared,
    output: path.join(state, 'output'),
    execs: path.join(state, 'execs'),
    monitorLogs,
    lxcPath: path.join(state, 'names'),
    of(id) {
      checkGuestId(id);
      const directory = path.join(guests, id);
      return {
        directory,
        record: path.join(directory, 'guest.json'),
        config: path.join(directory, 'config'),
        attachConfig: path.join(directory, 'attach.config'),
        started: path.join(directory, 'started'),
        exit: path.join(directory, 'exit.json'),
        lost: path.join(directory, 'lost'),
        shared: path.join(shared, id),
        mountHook: path.join(shared, id, 'mount-hook.pl'),
        monitorLog: path.join(monitorLogs, `${id}.log`),
        memoryEvents: path.join(monitorLogs, `${id}.memory`),
      };
    },
  };
}
