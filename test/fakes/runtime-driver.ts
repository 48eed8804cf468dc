import { defaultCapabilities } from '../../agent/drivers/capabilities.ts';
import type { GuestMount, GuestSpec, GuestState, RuntimeDriver } from '../../agent/drivers/driver.ts';
import { placeMounts } from '../../agent/drivers/guest-mounts.ts';
import { checkRights, grantedCapabilities } from '../../agent/drivers/guest-rights.ts';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { ExitStatus, GuestStats, InstanceId, Resources } from '#shared/model.ts';
import type { LogLine, LogOptions } from '#shared/streams.ts';
import { guestCommand, startProcess, type FakeProcess } from './guest-process.ts';
import type { GuestSurroundings } from './guest-program.ts';
import { guestSurroundings } from './guest-surroundings.ts';

interface FakeGuest {
  readonly guest: GuestSpec;
  readonly log: LogLine[];
  process: FakeProcess | undefined;
  /** Of the namespace that create makes. */
  readonly createdPid: number;
  startedAtMs: number;
  exit: ExitStatus | undefined;
  monitorLost: boolean;
  readonly surroundings: GuestSurroundings;
  readonly execs: Set<FakeProcess>;
  resources: Resources;
  heldBytes: number;
  paused: boolean;
  /** Time that it did not stand still, up to the moment below. */
  ranMs: number;
  countedAtMs: number;
}

type Method =
  | 'create'
  | 'start'
  | 'stop'
  | 'signal'
  | 'remove'
  | 'inspect'
  | 'list'
  | 'exec'
  | 'pause'
  | 'resume'
  | 'update'
  | 'stats'
  | 'console';

/** Of the node and its tool; what is left out is the usual. */
export interface FakeDriverOptions {
  readonly network?: RuntimeDriver['network'];
  readonly capabilities?: readonly string[];
  readonly allowedDevices?: readonly string[];
  readonly allowsPrivileged?: boolean;
}

const allCapabilities = [
  'console',
  'devices',
  'exec',
  'logs',
  'mounts',
  'network-bridged',
  'network-host',
  'network-none',
  'outlives-monitor',
  'pause',
  'privileged',
  'separate-output',
  'stats',
  'update',
];

/** The host under one or more fake drivers: what is in it outlives them, as guests outlive an agent. */
export interface FakeRuntimeHost {
  readonly clock: Clock;
  readonly guests: Map<InstanceId, FakeGuest>;
  /** Outlives its guest when it is removed with keepLogs. */
  readonly logs: Map<InstanceId, LogLine[]>;
  readonly execs: Map<string, FakeProcess>;
  readonly listeners: Set<(id: InstanceId) => void>;
  /** How often each method was called. */
  readonly calls: Map<Method, number>;
  /** The next call of the method throws; with `afterDoing` it does its work first, as a lost reply. */
  failNext(method: Method, error: Error, options?: { readonly afterDoing: boolean }): void;
  /** The first process ends by itself. */
  end(id: InstanceId, exitCode: number, options?: { readonly outOfMemory: boolean }): void;
  /** What kill -9 of the monitor does: the code and the output of this run are lost. */
  loseMonitor(id: InstanceId): void;
  takeFault(method: Method): { readonly error: Error; readonly afterDoing: boolean } | undefined;
  nextNumber(): number;
}

export function createFakeRuntimeHost(clock: Clock): FakeRuntimeHost {
  const faults: { method: Method; error: Error; afterDoing: boolean }[] = [];
  let lastNumber = 1000;
  const guests = new Map<InstanceId, FakeGuest>();
  return {
    clock,
    guests,
    logs: new Map(),
    execs: new Map(),
    listeners: new Set(),
    calls: new Map(),
    failNext: (method, error, { afterDoing } = { afterDoing: false }) =>
      void faults.push({ method, error, afterDoing }),
    end: (id, exitCode, { outOfMemory } = { outOfMemory: false }) =>
      guests.get(id)?.process?.end(exitCode, outOfMemory),
    loseMonitor: (id) => {
      const guest = guests.get(id);
      if (guest?.process !== undefined) guest.monitorLost = true;
    },
    takeFault: (method) => {
      const index = faults.findIndex((fault) => fault.method === method);
      return index < 0 ? undefined : faults.splice(index, 1)[0];
    },
    nextNumber: () => (lastNumber += 1),
  };
}

/** RuntimeDriver in memory; passes the same suite as the real ones. */
export function fakeRuntimeDriver(
  host: FakeRuntimeHost,
  name = 'fake',
  options: FakeDriverOptions = {},
): RuntimeDriver {
  const { network = 'namespace', capabilities = allCapabilities } = options;
  const policy = {
    driver: name,
    capabilities,
    allowedDevices: options.allowedDevices ?? [],
    allowsPrivileged: options.allowsPrivileged ?? false,
  };
  const own = new Set<(id: InstanceId) => void>();
  const none = new AbortController().signal;

  const need = (capability: string): void => {
    if (!capabilities.includes(capability))
      throw new DroverError('unimplemented', `the driver ${name} cannot ${capability}`);
  };

  async function act<T>(method: Method, signal: AbortSignal, work: () => T | Promise<T>): Promise<T> {
    host.calls.set(method, (host.calls.get(method) ?? 0) + 1);
    signal.throwIfAborted();
    await host.clock.turn();
    const fault = host.takeFault(method);
    if (fault !== undefined && !fault.afterDoing) throw fault.error;
    const result = await work();
    if (fault !== undefined) throw fault.error;
    return result;
  }

  return {
    name,
    network,
    pause: (id, signal) =>
      act('pause', signal, () => {
        need('pause');
        setPaused(host, living(host, id), true);
      }),
    resume: (id, signal) =>
      act('resume', signal, () => {
        need('pause');
        setPaused(host, living(host, id), false);
      }),
    update: (id, resources, signal) =>
      act('update', signal, () => {
        need('update');
        updateGuest(living(host, id), resources);
      }),
    stats: (id) =>
      act('stats', none, () => {
        need('stats');
        return statsOf(host, living(host, id));
      }),
    console: (id, _size, signal) =>
      act('console', signal, () => {
        need('console');
        return living(host, id).process.watch(`console-${host.nextNumber()}`);
      }),
    fingerprint: async () => ({ name, version: '1.0', healthy: true, detail: '', capabilities }),
    create: (guest, signal) =>
      act('create', signal, async () => {
        checkId(guest.id);
        checkRights(guest, policy);
        createGuest(host, network, guest, await placeMounts(guest.rootfs, guest.mounts));
      }),
    start: (id, signal) => act('start', signal, () => startGuest(host, findGuest(host, id))),
    stop: (id, graceMs, signal) => act('stop', signal, () => stopGuest(host, findGuest(host, id), graceMs)),
    signal: (id, signalNumber, signal) =>
      act('signal', signal, () => {
        const { process } = findGuest(host, id);
        if (process?.exit !== undefined || process === undefined) throw notRunning(id);
        process.signal(signalNumber);
      }),
    remove: (id, signal, { keepLogs } = { keepLogs: false }) =>
      act('remove', signal, () => {
        checkId(id);
        host.guests.get(id)?.process?.end(137, false);
        host.guests.delete(id);
        if (!keepLogs) host.logs.delete(id);
      }),
    inspect: (id, signal) => act('inspect', signal, () => stateOf(findGuest(host, id))),
    list: (signal) => act('list', signal, () => [...host.guests.values()].map(stateOf)),
    onChange: (callback) => {
      own.add(callback);
      host.listeners.add(callback);
      return () => {
        own.delete(callback);
        host.listeners.delete(callback);
      };
    },
    exec: (id, start, signal) =>
      act('exec', signal, () => {
        const entry = living(host, id);
        const { process, guest, surroundings } = entry;
        if (entry.paused) throw notRunning(id, 'it is paused');
        const [program = ''] = start.command;
        if (program.includes('no-such-program')) {
          throw new DroverError('invalid-argument', `no program ${JSON.stringify(program)} in the guest`);
        }
        const execId = `exec-${host.nextNumber()}`;
        const env = { ...guest.image.env, ...guest.spec.env, ...start.env };
        const command = startProcess(host.clock, { ...start, env, guest: surroundings, init: false });
        host.execs.set(execId, command);
        entry.execs.add(command);
        void command.ended.then(() => entry.execs.delete(command));
        void process.ended.then(() => command.end(137, false));
        return { execId, output: command.output, send: command.send, close: command.hangUp };
      }),
    execExit: async (execId) => {
      const command = host.execs.get(execId);
      if (command === undefined) throw new DroverError('not-found', `no exec ${execId}`);
      return command.exit;
    },
    logs: (id, options, signal) => readLogs(host, id, options, signal),
    close: async () => {
      for (const callback of own) host.listeners.delete(callback);
      own.clear();
    },
  };
}

function createGuest(
  host: FakeRuntimeHost,
  network: RuntimeDriver['network'],
  guest: GuestSpec,
  mounts: readonly GuestMount[],
): void {
  grantedCapabilities(defaultCapabilities, guest.spec.security);
  if (host.guests.has(guest.id)) {
    const subject = { instance: guest.id };
    throw new DroverError('already-exists', `${guest.id} is there already`, { subject });
  }
  const texts = [...guest.spec.command, ...Object.entries(guest.spec.env).flat(), guest.spec.workingDir];
  if (texts.some((text) => text.includes('\0'))) {
    throw new DroverError('invalid-argument', 'a text of the spec holds a NUL');
  }
  if (guestCommand(guest).length === 0) {
    throw new DroverError('invalid-argument', 'neither the spec nor the image names a command');
  }
  const log = host.logs.get(guest.id) ?? [];
  host.logs.set(guest.id, log);
  const entry: FakeGuest = {
    guest,
    log,
    process: undefined,
    createdPid: network === 'namespace' ? host.nextNumber() : 0,
    startedAtMs: 0,
    exit: undefined,
    monitorLost: false,
    surroundings: guestSurroundings(guest, mounts, (bytes) => (entry.heldBytes += bytes)),
    execs: new Set(),
    resources: guest.spec.resources,
    heldBytes: 0,
    paused: false,
    ranMs: 0,
    countedAtMs: 0,
  };
  host.guests.set(guest.id, entry);
}

function startGuest(host: FakeRuntimeHost, entry: FakeGuest): void {
  const { guest } = entry;
  if (entry.process !== undefined && entry.process.exit === undefined) return;
  if (entry.process !== undefined) {
    const subject = { instance: guest.id };
    throw new DroverError('failed-precondition', `${guest.id} has run already`, { subject });
  }
  const { env } = guest.spec;
  const process = startProcess(host.clock, {
    command: guestCommand(guest),
    env: { ...guest.image.env, ...env },
    tty: false,
    // The console's, which may never have anybody at it.
    stdin: true,
    size: { columns: 80, rows: 24 },
    init: true,
    guest: entry.surroundings,
    pid: entry.createdPid === 0 ? host.nextNumber() : entry.createdPid,
    onWrite: (stream, text) => {
      const atNs = BigInt(Math.round(host.clock.nowMs())) * 1_000_000n;
      if (entry.monitorLost) return;
      for (const line of text.split('\n').filter((part) => part !== '')) {
        entry.log.push({ atNs, stream, content: new TextEncoder().encode(line), partial: false });
      }
    },
  });
  entry.process = process;
  entry.startedAtMs = host.clock.nowMs();
  entry.countedAtMs = host.clock.monotonicMs();
  void process.ended.then((exit) => {
    entry.exit = entry.monitorLost ? { ...exit, code: 0, unknown: true } : exit;
    for (const listener of host.listeners) listener(guest.id);
  });
}

async function stopGuest(host: FakeRuntimeHost, entry: FakeGuest, graceMs: number): Promise<void> {
  const { process } = entry;
  if (process === undefined) {
    // Never started: there is nothing to ask, and it will not start any more.
    entry.exit ??= { code: 137, unknown: false, outOfMemory: false, atMs: host.clock.nowMs() };
    return;
  }
  if (process.exit !== undefined) return;
  process.signal(entry.guest.image.stopSignal);
  setPaused(host, entry as LivingGuest, false);
  const cancel = host.clock.after(graceMs, () => process.end(137, false));
  await process.ended;
  cancel();
}

function stateOf(entry: FakeGuest): GuestState {
  const { guest, process, exit, startedAtMs, monitorLost } = entry;
  const runs = process !== undefined && process.exit === undefined;
  const live = entry.paused ? 'paused' : 'running';
  const phase = runs ? live : process === undefined && exit === undefined ? 'created' : 'stopped';
  return {
    id: guest.id,
    phase,
    pid: runs ? process.pid : phase === 'created' ? entry.createdPid : 0,
    startedAtMs: runs ? startedAtMs : 0,
    exit: runs ? undefined : exit,
    limits: runs ? { ...entry.resources, diskMib: 0 } : undefined,
    message: monitorLost ? 'its monitor died: output and exit code of this run are lost' : '',
  };
}

type LivingGuest = FakeGuest & { readonly process: FakeProcess };

function living(host: FakeRuntimeHost, id: InstanceId): LivingGuest {
  const entry = findGuest(host, id);
  if (entry.process === undefined || entry.process.exit !== undefined) throw notRunning(id);
  return entry as LivingGuest;
}

function setPaused(host: FakeRuntimeHost, entry: LivingGuest, paused: boolean): void {
  const nowMs = host.clock.monotonicMs();
  if (!entry.paused) entry.ranMs += nowMs - entry.countedAtMs;
  entry.countedAtMs = nowMs;
  entry.paused = paused;
  for (const each of [entry.process, ...entry.execs])
    if (paused) each.pause();
    else each.resume();
}

const mib = 1024 * 1024;
const usedBytes = ({ heldBytes }: FakeGuest): number => mib + heldBytes;

function updateGuest(entry: FakeGuest, resources: Resources): void {
  const used = Math.ceil(usedBytes(entry) / mib);
  if (resources.memoryMib > 0 && used > resources.memoryMib) {
    const message = `wanted a limit of ${resources.memoryMib} MiB of memory, ${used} MiB are in use`;
    throw new DroverError('failed-precondition', message, { subject: { instance: entry.guest.id } });
  }
  entry.resources = resources;
}

function statsOf({ clock }: FakeRuntimeHost, entry: FakeGuest): GuestStats {
  const sinceMs = entry.paused ? 0 : clock.monotonicMs() - entry.countedAtMs;
  return {
    instanceId: entry.guest.id,
    atMs: clock.nowMs(),
    cpuUs: Math.round((entry.ranMs + sinceMs) * 1000),
    memoryBytes: usedBytes(entry),
    pids: 1 + entry.execs.size,
    receivedBytes: 0,
    sentBytes: 0,
  };
}

async function* readLogs(
  host: FakeRuntimeHost,
  id: InstanceId,
  options: LogOptions,
  signal: AbortSignal,
): AsyncIterable<LogLine> {
  const { log } = findGuest(host, id);
  const wanted = (line: LogLine): boolean =>
    (options.stream === undefined || options.stream === line.stream) &&
    line.atNs >= BigInt(options.sinceMs) * 1_000_000n;
  const first = log.filter(wanted);
  let position = log.length;
  yield* options.tail === undefined ? first : first.slice(Math.max(0, first.length - options.tail));
  while (options.follow && !signal.aborted) {
    const entry = host.guests.get(id);
    const over = entry === undefined || entry.exit !== undefined;
    yield* log.slice(position).filter(wanted);
    position = log.length;
    if (over) return;
    await Promise.race([entry.process?.ended, host.clock.sleep(20)]);
  }
}

function findGuest(host: FakeRuntimeHost, id: InstanceId): FakeGuest {
  const entry = host.guests.get(id);
  if (entry === undefined)
    throw new DroverError('not-found', `no guest ${id}`, { subject: { instance: id } });
  return entry;
}

function checkId(id: InstanceId): void {
  if (!/^[a-z0-9][a-z0-9-]{0,40}$/.test(id)) {
    throw new DroverError('invalid-argument', `${JSON.stringify(id)} is no id of an instance`);
  }
}

const notRunning = (id: InstanceId, why = 'it has no process'): DroverError =>
  new DroverError('failed-precondition', `${id} does not run: ${why}`, { subject: { instance: id } });
