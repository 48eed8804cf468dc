import type { GuestSpec, GuestState, RuntimeDriver } from '../../agent/drivers/driver.ts';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { ExitStatus, InstanceId } from '#shared/model.ts';
import type { LogLine, LogOptions } from '#shared/streams.ts';
import { guestCommand, startProcess, type FakeProcess } from './guest-process.ts';

interface FakeGuest {
  readonly guest: GuestSpec;
  readonly log: LogLine[];
  process: FakeProcess | undefined;
  startedAtMs: number;
  exit: ExitStatus | undefined;
  monitorLost: boolean;
}

type Method = 'create' | 'start' | 'stop' | 'signal' | 'remove' | 'inspect' | 'list' | 'exec';

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

const refuse = async (): Promise<never> => {
  throw new DroverError('unimplemented', 'the fake cannot do that');
};

/** RuntimeDriver in memory; passes the same suite as the real ones. */
export function fakeRuntimeDriver(host: FakeRuntimeHost, name = 'fake'): RuntimeDriver {
  const own = new Set<(id: InstanceId) => void>();

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
    network: 'namespace',
    pause: refuse,
    resume: refuse,
    update: refuse,
    stats: refuse,
    console: refuse,
    fingerprint: async () => ({ name, version: '1.0', healthy: true, detail: '', capabilities: ['exec'] }),
    create: (guest, signal) => act('create', signal, () => createGuest(host, guest)),
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
        const { process, guest } = findGuest(host, id);
        if (process === undefined || process.exit !== undefined) throw notRunning(id);
        const [program = ''] = start.command;
        if (program.includes('no-such-program')) {
          throw new DroverError('invalid-argument', `no program ${JSON.stringify(program)} in the guest`);
        }
        const execId = `exec-${host.nextNumber()}`;
        const env = { ...guest.image.env, ...guest.spec.env, ...start.env };
        const command = startProcess(host.clock, { ...start, env, init: false });
        host.execs.set(execId, command);
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

function createGuest(host: FakeRuntimeHost, guest: GuestSpec): void {
  checkId(guest.id);
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
  host.guests.set(guest.id, {
    guest,
    log,
    process: undefined,
    startedAtMs: 0,
    exit: undefined,
    monitorLost: false,
  });
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
    stdin: false,
    size: { columns: 80, rows: 24 },
    init: true,
    pid: host.nextNumber(),
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
  const cancel = host.clock.after(graceMs, () => process.end(137, false));
  await process.ended;
  cancel();
}

function stateOf(entry: FakeGuest): GuestState {
  const { guest, process, exit, startedAtMs, monitorLost } = entry;
  const runs = process !== undefined && process.exit === undefined;
  const phase = runs ? 'running' : process === undefined && exit === undefined ? 'created' : 'stopped';
  return {
    id: guest.id,
    phase,
    pid: runs ? process.pid : 0,
    startedAtMs: runs ? startedAtMs : 0,
    exit: runs ? undefined : exit,
    limits: runs ? { ...guest.spec.resources, diskMib: 0 } : undefined,
    message: monitorLost ? 'its monitor died: output and exit code of this run are lost' : '',
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

const notRunning = (id: InstanceId): DroverError =>
  new DroverError('failed-precondition', `${id} does not run`, { subject: { instance: id } });
