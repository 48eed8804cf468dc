import type { Backend, Observation, OrderHead } from '../../control-plane/backends/backend.ts';
import { createObservationQueue } from '../../control-plane/backends/observation-queue.ts';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId, NodeFacts, NodeName } from '#shared/model.ts';
import { createFakeNode, type FakeNode, type NodeChange } from './node.ts';

/** A backend whose nodes live in memory: they run instances, go away and come back. */
export interface FakeFleet {
  readonly backend: Backend;
  readonly nodes: ReadonlyMap<string, FakeNode>;
  /** Connected from the beginning. */
  addNode(
    name: string,
    options?: { readonly facts?: Partial<NodeFacts>; readonly startMs?: number },
  ): FakeNode;
}

export function createFakeFleet(options: {
  readonly clock: Clock;
  /** How long every call to a node takes. */
  readonly latencyMs?: () => number;
}): FakeFleet {
  const { clock } = options;
  const nodes = new Map<string, FakeNode>();
  const queue = createObservationQueue();
  const put = (observation: Observation): void => void queue.put(observation);

  function addNode(
    name: string,
    more: { readonly facts?: Partial<NodeFacts>; readonly startMs?: number } = {},
  ): FakeNode {
    const node = createFakeNode({ name, clock, ...more });
    nodes.set(name, node);
    node.subscribe((change) => tell(node, change, put));
    node.connect();
    return node;
  }

  /** The node, if it answers; still there when the call has taken its time. */
  async function reach<T>(name: NodeName, signal: AbortSignal, act: (node: FakeNode) => T): Promise<T> {
    const node = answering(name);
    const delayMs = options.latencyMs?.() ?? 0;
    if (delayMs > 0) await clock.sleep(delayMs, signal).catch((cause: unknown) => timedOut(name, cause));
    if (signal.aborted) timedOut(name, signal.reason);
    answering(name);
    const result = act(node);
    answering(name);
    return result;
  }

  function answering(name: NodeName): FakeNode {
    const node = nodes.get(name);
    if (node?.connected) return node;
    throw new DroverError('unavailable', `node ${name} does not answer`, { subject: { node: name } });
  }

  const backend: Backend = {
    name: 'fake',
    watch(signal) {
      const observations = queue.read(signal);
      for (const node of nodes.values()) if (node.connected) tellAll(node, put);
      return observations;
    },
    ensureInstance: ({ node, instanceId, generation }: OrderHead, spec, signal) =>
      reach(node, signal, (found) => found.ensure(instanceId, generation, spec)),
    stopInstance: ({ node, instanceId, generation }, _graceMs, signal) =>
      reach(node, signal, (found) => found.stop(instanceId, generation)),
    signalInstance: ({ node, instanceId }, signalNumber, signal) =>
      reach(node, signal, (found) => found.signal(instanceId, signalNumber)),
    removeInstance: ({ node, instanceId, generation }, _graceMs, signal) =>
      reach(node, signal, (found) => found.remove(instanceId, generation)),
    resolveImage: (node, reference, _credential, signal) =>
      reach(node, signal, (found) => ({ digest: found.resolve(reference), platforms: ['linux/amd64'] })),
    async *listImages(node, signal) {
      yield* await reach(node, signal, (found) => found.listImages());
    },
    async *pullImage(node, { reference }, signal) {
      const digest = await reach(node, signal, (found) => {
        const pulled = found.resolve(reference);
        found.images.set(reference, pulled);
        return pulled;
      });
      yield { step: 'ready', bytesDone: 1, bytesTotal: 1, done: true, digest };
    },
    removeImage: (node, digest, signal) => reach(node, signal, (found) => found.removeImage(digest)),
    pauseInstance: ({ node, instanceId }, signal) => reach(node, signal, (found) => found.pause(instanceId)),
    resumeInstance: ({ node, instanceId }, signal) =>
      reach(node, signal, (found) => found.resume(instanceId)),
    freezeInstance: ({ node, instanceId }, signal) =>
      reach(node, signal, (found) => found.freeze(instanceId)),
    thawInstance: ({ node, instanceId }, signal) => reach(node, signal, (found) => found.thaw(instanceId)),
    async *stats(node, instanceId, intervalMs, signal) {
      yield* await reach(node, signal, (found) => found.stats(instanceId));
      while (intervalMs > 0 && !signal.aborted) {
        await clock.sleep(intervalMs, signal).catch(() => undefined);
        yield* signal.aborted ? [] : await reach(node, signal, (found) => found.stats(instanceId));
      }
    },
    ...storageOrders(reach),
    console: (node, start, caller, signal) =>
      backend.exec(node, { ...start, command: ['/bin/sh'], tty: true }, caller, signal),
    async exec(node, start, _caller, signal) {
      const process = await reach(node, signal, (found) => found.exec(start));
      signal.addEventListener('abort', process.hangUp, { once: true });
      return {
        send: process.send,
        close: process.hangUp,
        output: (async function* () {
          yield { kind: 'started', execId: start.instance } as const;
          yield* process.output;
        })(),
      };
    },
    async *logs(node, id, _options, signal) {
      yield* await reach(node, signal, (found) => found.logs(id));
    },
    disconnect: (node, reason) => nodes.get(node)?.disconnect(reason),
    close: async () => queue.close(),
  };
  return { backend, nodes, addNode };
}

type Reach = <T>(name: NodeName, signal: AbortSignal, act: (node: FakeNode) => T) => Promise<T>;

function storageOrders(
  reach: Reach,
): Pick<
  Backend,
  'createSnapshot' | 'listSnapshots' | 'rollbackSnapshot' | 'removeSnapshot' | 'listVolumes' | 'removeVolume'
> {
  const held = (found: FakeNode, id: InstanceId) => {
    const instance = found.instances.get(id);
    if (instance === undefined) throw new DroverError('not-found', `no instance ${id} on ${found.name}`);
    return instance.state;
  };
  return {
    createSnapshot: ({ node, instanceId }, snapshot, signal) =>
      reach(node, signal, (found) => {
        const { generation } = held(found, instanceId);
        return found.onStorage((storage) => storage.snapshot(instanceId, { ...snapshot, generation }));
      }),
    async *listSnapshots(node, instanceId, signal) {
      yield* await reach(node, signal, (found) =>
        found.onStorage((storage) => storage.snapshots(instanceId)),
      );
    },
    rollbackSnapshot: ({ node, instanceId }, snapshot, signal) =>
      reach(node, signal, (found) => {
        found.onStorage((storage) => storage.rollback(instanceId, snapshot));
        return held(found, instanceId);
      }),
    removeSnapshot: ({ node, instanceId }, snapshot, signal) =>
      reach(node, signal, (found) =>
        found.onStorage((storage) => storage.removeSnapshot(instanceId, snapshot)),
      ),
    async *listVolumes(node, signal) {
      yield* await reach(node, signal, (found) => [...found.storage.volumes.values()]);
    },
    removeVolume: (node, volume, signal) =>
      reach(node, signal, (found) => found.onStorage((storage) => storage.removeVolume(volume))),
  };
}

function tell(node: FakeNode, change: NodeChange, put: (observation: Observation) => void): void {
  const { name } = node;
  if (change.kind === 'connection') {
    if (node.connected) tellAll(node, put);
    else put({ kind: 'disconnected', node: name, reason: change.reason });
    return;
  }
  if (!node.connected) return;
  if (change.kind === 'instance') put({ kind: 'instance', node: name, state: change.state });
  if (change.kind === 'absent') put({ kind: 'absent', node: name, instanceId: change.id });
  if (change.kind === 'self') {
    put({ kind: 'facts', node: name, facts: node.facts });
    put(feelingOf(node));
  }
}

function tellAll(node: FakeNode, put: (observation: Observation) => void): void {
  const { name, facts, incarnation, bootId } = node;
  put({ kind: 'connected', node: name, facts, incarnation, bootId, clockSkewMs: 0 });
  put(feelingOf(node));
  const states = node.states();
  for (const state of states) put({ kind: 'instance', node: name, state });
  const present = new Set<InstanceId>(states.map(({ instanceId }) => instanceId));
  put({ kind: 'complete', node: name, present });
}

const feelingOf = ({ name, capacity, conditions }: FakeNode): Observation => ({
  kind: 'feeling',
  node: name,
  capacity,
  conditions,
  clockSkewMs: 0,
});

function timedOut(node: NodeName, cause: unknown): never {
  throw new DroverError('deadline-exceeded', `node ${node} did not answer in time`, { cause });
}
