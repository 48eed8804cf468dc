import { createHash } from 'node:crypto';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type {
  Condition,
  Digest,
  GuestStats,
  Image,
  InstanceId,
  InstanceSpec,
  InstanceState,
  NodeCapacity,
  NodeFacts,
  NodeName,
  Phase,
  SnapshotId,
} from '#shared/model.ts';
import type { ExecStart, LogLine } from '#shared/streams.ts';
import { isSameData } from '../../control-plane/store/canonical.ts';
import { type FakeProcess, startProcess } from './guest-process.ts';
import { createNodeStorage, type NodeStorage } from './node-storage.ts';

type NodeMethod =
  | 'ensure'
  | 'stop'
  | 'signal'
  | 'remove'
  | 'resolve'
  | 'exec'
  | 'logs'
  | 'pause'
  | 'storage'
  | 'remove-image';

/** What changed on a node; 'connection' and 'self' are read from the node. */
export type NodeChange =
  | { readonly kind: 'connection'; readonly reason: string }
  | { readonly kind: 'self' }
  | { readonly kind: 'instance'; readonly state: InstanceState }
  | { readonly kind: 'absent'; readonly id: InstanceId };

interface FakeInstance {
  spec: InstanceSpec;
  state: InstanceState;
  takeBackTimer: () => void;
}

/** A host with its agent, in memory: keeps what orders say about generations, tombstones and restarts. */
export interface FakeNode {
  readonly name: NodeName;
  facts: NodeFacts;
  capacity: NodeCapacity;
  conditions: readonly Condition[];
  incarnation: string;
  bootId: string;
  readonly connected: boolean;
  readonly instances: ReadonlyMap<InstanceId, { readonly spec: InstanceSpec; readonly state: InstanceState }>;
  /** How often each instance's guest was started. */
  readonly starts: ReadonlyMap<InstanceId, number>;
  /** What references stand for; others get a digest made from their text. */
  readonly images: Map<string, Digest>;
  /** Each call through it may fail as 'storage'. */
  readonly storage: NodeStorage;
  connect(): void;
  disconnect(reason?: string): void;
  /** All guests are gone; those that should run are started again. */
  reboot(): void;
  /** The state directory is lost: instances, tombstones, generations. */
  wipe(): void;
  /** Tells the present facts, capacity and conditions. */
  report(): void;
  endGuest(id: InstanceId, exitCode: number): void;
  /** The next call of the method throws; with `afterDoing` it does its work first, as a lost reply. */
  failNext(method: NodeMethod, error: Error, options?: { readonly afterDoing: boolean }): void;
  subscribe(listener: (change: NodeChange) => void): () => void;
  states(): InstanceState[];
  ensure(id: InstanceId, generation: number, spec: InstanceSpec): InstanceState;
  stop(id: InstanceId, generation: number): InstanceState;
  signal(id: InstanceId, signalNumber: number): void;
  pause(id: InstanceId): InstanceState;
  resume(id: InstanceId): InstanceState;
  /** Whether it was so already. */
  freeze(id: InstanceId): boolean;
  thaw(id: InstanceId): void;
  stats(id: InstanceId | undefined): GuestStats[];
  /** As an order on the node's volumes and snapshots. */
  onStorage<T>(act: (storage: NodeStorage) => T): T;
  removeImage(digest: Digest): number;
  remove(id: InstanceId, generation: number): void;
  /** Its guest runs here, and nobody ordered that: it moved, or has become ours. */
  come(id: InstanceId, generation: number, spec: InstanceSpec): void;
  /** Its guest is here no more, and nobody ordered that: it moved, or is ours no more. */
  leave(id: InstanceId): void;
  /** Something else is true of it now. */
  note(id: InstanceId, patch: Partial<InstanceState>): void;
  resolve(reference: string): Digest;
  listImages(): Image[];
  exec(start: ExecStart): FakeProcess;
  logs(id: InstanceId): LogLine[];
}

export interface FakeNodeOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly facts?: Partial<NodeFacts>;
  /** From an order to a running guest. */
  readonly startMs?: number;
  readonly restartMs?: number;
}

export const fakeFacts = (name: string, facts: Partial<NodeFacts> = {}): NodeFacts => ({
  name: name as NodeName,
  architecture: 'x64',
  os: 'Fake Linux 1',
  kernel: '6.1',
  cgroups: 'v2',
  cpuCount: 4,
  memoryMib: 8192,
  diskMib: 100_000,
  pools: [],
  allowedDevices: [],
  allowsPrivileged: false,
  runtimes: [{ name: 'crun', version: '1.8.1', healthy: true, detail: '', capabilities: [] }],
  labels: { 'drover.io/node': name },
  agentVersion: '0.1.0',
  extra: {},
  ...facts,
});

const digestOf = (text: string): Digest =>
  `sha256:${createHash('sha256').update(text).digest('hex')}` as Digest;

const isLimitsAlone = (before: InstanceSpec, after: InstanceSpec): boolean =>
  isSameData(before, { ...after, resources: before.resources });

export function createFakeNode(options: FakeNodeOptions): FakeNode {
  const { clock, startMs = 1, restartMs = 1000 } = options;
  const instances = new Map<InstanceId, FakeInstance>();
  const generations = new Map<InstanceId, number>();
  const tombstones = new Set<InstanceId>();
  const starts = new Map<InstanceId, number>();
  const images = new Map<string, Digest>();
  const frozen = new Set<InstanceId>();
  const listeners = new Set<(change: NodeChange) => void>();
  const storage = createNodeStorage(clock);
  const faults: { method: NodeMethod; error: Error; afterDoing: boolean }[] = [];
  let isConnected = false;
  let lastPid = 1000;
  let incarnations = 1;
  let boots = 1;

  const tell = (change: NodeChange): void => {
    for (const listener of listeners) listener(change);
  };

  function faulty<T>(method: NodeMethod, act: () => T): T {
    const index = faults.findIndex((fault) => fault.method === method);
    const fault = index < 0 ? undefined : faults.splice(index, 1)[0];
    if (fault !== undefined && !fault.afterDoing) throw fault.error;
    const result = act();
    if (fault !== undefined) throw fault.error;
    return result;
  }

  function found(id: InstanceId): FakeInstance {
    const instance = instances.get(id);
    if (instance === undefined) throw new DroverError('not-found', `no instance ${id} on ${options.name}`);
    return instance;
  }

  function change(instance: FakeInstance, patch: Partial<InstanceState>): InstanceState {
    instance.state = { ...instance.state, ...patch };
    tell({ kind: 'instance', state: instance.state });
    return instance.state;
  }

  function switchPhase(instance: FakeInstance, from: Phase, to: Phase): InstanceState {
    const { phase, instanceId } = instance.state;
    if (phase === to) return instance.state;
    if (phase === from) return change(instance, { phase: to });
    throw new DroverError('failed-precondition', `${instanceId} is ${phase}`);
  }

  function checkGeneration(id: InstanceId, generation: number): void {
    const seen = generations.get(id) ?? 0;
    if (generation < seen) {
      throw new DroverError('failed-precondition', `generation ${generation} is older than ${seen}`, {
        reason: 'stale-generation',
      });
    }
    generations.set(id, generation);
  }

  function startLater(id: InstanceId, instance: FakeInstance, delayMs: number): void {
    instance.takeBackTimer();
    instance.takeBackTimer = clock.after(delayMs, () => {
      lastPid += 1;
      starts.set(id, (starts.get(id) ?? 0) + 1);
      const patch = { phase: 'running', pid: lastPid, startedAtMs: clock.nowMs(), nextStartAtMs: 0 } as const;
      change(instance, { ...patch, exit: undefined });
    });
  }

  function end(id: InstanceId, code: number, restarts: boolean): void {
    const instance = found(id);
    if (instance.state.phase !== 'running' && instance.state.phase !== 'paused') return;
    const exit = { code, unknown: false, outOfMemory: false, atMs: clock.nowMs() };
    const { policy } = instance.spec.restart;
    const again = restarts && (policy === 'always' || (policy === 'on-failure' && code !== 0));
    const phase: Phase = !restarts ? 'stopped' : again ? 'backing-off' : 'exited';
    const nextStartAtMs = again ? clock.nowMs() + restartMs : 0;
    const { restarts: count } = instance.state;
    change(instance, {
      phase,
      exit,
      pid: 0,
      startedAtMs: 0,
      nextStartAtMs,
      restarts: count + (again ? 1 : 0),
    });
    if (again) startLater(id, instance, restartMs);
  }

  function snapshotBefore(id: InstanceId, generation: number): void {
    const name = `before-update-${generation}`;
    if (storage.snapshots(id).some((each) => each.name === name)) return;
    const hex = createHash('sha256').update(`${id} ${name}`).digest('hex');
    const snapshotId = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7000-8000-${hex.slice(12, 24)}` as SnapshotId;
    storage.snapshot(id, { id: snapshotId, name, generation, kind: 'before-update' });
  }

  function make(id: InstanceId, generation: number, spec: InstanceSpec, isRunning = false): InstanceState {
    const before = instances.get(id);
    if (before !== undefined && !isLimitsAlone(before.spec, spec))
      snapshotBefore(id, before.state.generation);
    storage.take(id, spec);
    if (before?.state.phase === 'running' && isLimitsAlone(before.spec, spec)) {
      before.spec = spec;
      return change(before, { generation });
    }
    before?.takeBackTimer();
    const state: InstanceState = {
      instanceId: id,
      generation,
      phase: isRunning ? 'running' : 'preparing',
      pid: isRunning ? 1 : 0,
      startedAtMs: isRunning ? clock.nowMs() : 0,
      exit: undefined,
      restarts: 0,
      nextStartAtMs: 0,
      message: '',
      limits: undefined,
      notEnforced: [],
      displayName: spec.displayName,
      addresses: [],
      rootPool: '',
    };
    const instance: FakeInstance = { spec, state, takeBackTimer: () => {} };
    instances.set(id, instance);
    tell({ kind: 'instance', state });
    if (!isRunning) startLater(id, instance, startMs);
    return state;
  }

  const node: FakeNode = {
    name: options.name as NodeName,
    facts: fakeFacts(options.name, options.facts),
    capacity: {
      memoryAvailableMib: 8000,
      diskFreeMib: 90_000,
      cpuUsedMillicores: 0,
      instances: 0,
      pools: [],
    },
    conditions: [],
    incarnation: `${options.name}-state-1`,
    bootId: `${options.name}-boot-1`,
    get connected() {
      return isConnected;
    },
    instances,
    starts,
    images,
    storage,
    connect() {
      if (isConnected) return;
      isConnected = true;
      tell({ kind: 'connection', reason: '' });
    },
    disconnect(reason = 'the session was cut') {
      if (!isConnected) return;
      isConnected = false;
      tell({ kind: 'connection', reason });
    },
    reboot() {
      boots += 1;
      node.bootId = `${options.name}-boot-${boots}`;
      for (const [id, instance] of instances) {
        if (instance.state.phase === 'stopped' || instance.state.phase === 'exited') continue;
        change(instance, { phase: 'preparing', pid: 0, startedAtMs: 0 });
        startLater(id, instance, startMs);
      }
    },
    wipe() {
      incarnations += 1;
      node.incarnation = `${options.name}-state-${incarnations}`;
      for (const [id, instance] of instances) {
        instance.takeBackTimer();
        instances.delete(id);
        storage.leave(id);
        tell({ kind: 'absent', id });
      }
      generations.clear();
      tombstones.clear();
    },
    report: () => tell({ kind: 'self' }),
    endGuest: (id, exitCode) => end(id, exitCode, true),
    failNext: (method, error, { afterDoing } = { afterDoing: false }) =>
      void faults.push({ method, error, afterDoing }),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    states: () => [...instances.values()].map(({ state }) => state),
    ensure: (id, generation, spec) =>
      faulty('ensure', () => {
        if (tombstones.has(id))
          throw new DroverError('failed-precondition', `${id} was removed`, { reason: 'removed' });
        checkGeneration(id, generation);
        const before = instances.get(id);
        if (before?.state.generation !== generation) return make(id, generation, spec);
        if (JSON.stringify(before.spec) === JSON.stringify(spec)) return before.state;
        throw new DroverError('invalid-argument', `generation ${generation} came with another spec`, {
          reason: 'generation-reused',
        });
      }),
    stop: (id, generation) =>
      faulty('stop', () => {
        checkGeneration(id, generation);
        const instance = found(id);
        instance.takeBackTimer();
        end(id, 143, false);
        return change(instance, { phase: 'stopped', pid: 0, nextStartAtMs: 0 });
      }),
    signal: (id, signalNumber) =>
      faulty('signal', () => {
        const { phase } = found(id).state;
        if (phase !== 'running') throw new DroverError('failed-precondition', `${id} is ${phase}`);
        if (signalNumber === 9 || signalNumber === 15) end(id, 128 + signalNumber, true);
      }),
    remove: (id, generation) =>
      faulty('remove', () => {
        checkGeneration(id, generation);
        tombstones.add(id);
        const instance = instances.get(id);
        if (instance === undefined) return;
        instance.takeBackTimer();
        instances.delete(id);
        storage.leave(id);
        tell({ kind: 'absent', id });
      }),
    come(id, generation, spec) {
      checkGeneration(id, generation);
      make(id, generation, spec, true);
    },
    note: (id, patch) => void change(found(id), patch),
    leave(id) {
      instances.get(id)?.takeBackTimer();
      if (instances.delete(id)) tell({ kind: 'absent', id });
    },
    pause: (id) => faulty('pause', () => switchPhase(found(id), 'running', 'paused')),
    resume: (id) => faulty('pause', () => switchPhase(found(id), 'paused', 'running')),
    freeze: (id) =>
      faulty('pause', () => {
        const { state } = found(id);
        if (state.phase !== 'running') throw new DroverError('failed-precondition', 'it does not run');
        if (frozen.has(id)) return true;
        frozen.add(id);
        return false;
      }),
    thaw: (id) => faulty('pause', () => void frozen.delete(found(id).state.instanceId)),
    stats: (id) =>
      [...instances.values()]
        .filter(({ state }) => (id === undefined || state.instanceId === id) && state.pid > 0)
        .map(({ state }) => ({
          instanceId: state.instanceId,
          atMs: clock.nowMs(),
          cpuUs: Math.round((clock.nowMs() - state.startedAtMs) * 10),
          memoryBytes: 1_048_576,
          pids: 1,
          receivedBytes: 0,
          sentBytes: 0,
        })),
    onStorage: (act) => faulty('storage', () => act(storage)),
    removeImage: (digest) =>
      faulty('remove-image', () => {
        const all = [...images].filter(([, each]) => each === digest);
        for (const [reference] of all) images.delete(reference);
        return all.length;
      }),
    resolve: (reference) => faulty('resolve', () => images.get(reference) ?? digestOf(reference)),
    listImages: () =>
      [...images].map(([reference, digest]) => ({
        digest,
        references: [reference],
        sizeBytes: 1,
        lastUsedAtMs: 0,
        ready: true,
        usedBy: 0,
        pinned: false,
      })),
    exec: (start) =>
      faulty('exec', () => {
        const { state } = found(start.instance as InstanceId);
        if (state.phase !== 'running')
          throw new DroverError('failed-precondition', `${start.instance} is ${state.phase}`);
        const { command, env, tty, stdin, size } = start;
        return startProcess(clock, { command, env, tty, stdin, size, init: false });
      }),
    logs: (id) =>
      faulty('logs', () => {
        const { spec } = found(id);
        const content = new TextEncoder().encode(`started ${spec.displayName}`);
        return [
          { atNs: BigInt(clock.nowMs()) * 1_000_000n, stream: 'stdout', content, partial: false } as const,
        ];
      }),
  };
  return node;
}
