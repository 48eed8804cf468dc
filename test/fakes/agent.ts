import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { systemClock } from '#shared/clock.ts';
import {
  type HelloResponse,
  type NodeReport,
  RuntimeServiceService,
  type WatchInstancesResponse,
} from '#shared/gen/drover/runtime/v1/runtime.ts';
import { DroverError } from '#shared/errors.ts';
import type { ExecInput, ExecOutput, Phase as WirePhase } from '#shared/gen/drover/model/v1/model.ts';
import type { Digest, InstanceId } from '#shared/model.ts';
import { type Handlers, mount } from '#shared/rpc-server.ts';
import type { ExecStart } from '#shared/streams.ts';
import { version, wireMinor } from '#shared/version.ts';
import { parseInstanceId } from '#shared/wire/checks.ts';
import {
  formatExecOutput,
  formatLogLine,
  parseConsoleStart,
  parseExecInput,
  parseExecStart,
} from '#shared/wire/exec.ts';
import { formatInstanceState, parseInstanceSpec, parseOrder } from '#shared/wire/instance.ts';
import { formatCondition, formatImage, formatNodeCapacity, formatNodeFacts } from '#shared/wire/node.ts';
import { formatGuestStats } from '#shared/wire/storage.ts';
import { storageHandlers } from './agent-storage.ts';
import type { FakeNode, NodeChange } from './node.ts';

/** What an agent of another version, or of another clock, says. */
export interface FakeAgentOptions {
  readonly hello?: Partial<HelloResponse>;
  readonly clockSkewMs?: number;
  /** What it calls every phase in its watch. */
  readonly phase?: WirePhase;
  /** Called once Hello has been answered. */
  readonly onHello?: () => void;
}

/** Serves RuntimeService for a node in memory on one connection, as an agent does over the session that it dialled. */
export function serveFakeNode(node: FakeNode, socket: Duplex, more: FakeAgentOptions = {}): void {
  const server = new Server();
  mountFakeNode(node, server, more);
  server.createConnectionInjector(ServerCredentials.createInsecure()).injectConnection(socket);
  socket.once('close', () => server.forceShutdown());
}

export function mountFakeNode(node: FakeNode, server: Server, more: FakeAgentOptions = {}): void {
  mount(server, RuntimeServiceService, runtimeService(node, more), { guard: (context) => context });
}

/** Two ends of one connection. */
export async function socketPair(): Promise<[net.Socket, net.Socket]> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
  const dialled = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  const ends: [net.Socket, net.Socket] = [await accepted, dialled];
  server.close();
  return ends;
}

function runtimeService(node: FakeNode, more: FakeAgentOptions): Handlers<typeof RuntimeServiceService> {
  const { clockSkewMs = 0 } = more;
  const stateOf = (id: InstanceId) => {
    const found = node.instances.get(id);
    if (found === undefined) throw new DroverError('not-found', `no instance ${id}`);
    return formatInstanceState(found.state);
  };
  return {
    async pauseInstance({ order }) {
      return { state: formatInstanceState(node.pause(parseOrder(order).instanceId)) };
    },
    async resumeInstance({ order }) {
      return { state: formatInstanceState(node.resume(parseOrder(order).instanceId)) };
    },
    async *streamStats({ instanceId }) {
      const id = instanceId === '' ? undefined : parseInstanceId(instanceId);
      for (const stats of node.stats(id)) yield formatGuestStats(stats);
    },
    removeImage: async ({ digest }) => ({ freedBytes: BigInt(node.removeImage(digest as Digest)) }),
    ...storageHandlers(node),
    async hello() {
      more.onHello?.();
      return {
        version,
        wireMinor,
        capabilities: [],
        incarnation: node.incarnation,
        bootId: node.bootId,
        clockMs: BigInt(systemClock.nowMs() + clockSkewMs),
        facts: formatNodeFacts(node.facts),
        ...more.hello,
      };
    },
    async ensureInstance({ order, spec }) {
      const { instanceId, generation } = parseOrder(order);
      return { state: formatInstanceState(node.ensure(instanceId, generation, parseInstanceSpec(spec))) };
    },
    async stopInstance({ order }) {
      const { instanceId, generation } = parseOrder(order);
      return { state: formatInstanceState(node.stop(instanceId, generation)) };
    },
    async signalInstance({ order, signal }) {
      node.signal(parseOrder(order).instanceId, signal);
      return {};
    },
    async removeInstance({ order }) {
      const { instanceId, generation } = parseOrder(order);
      node.remove(instanceId, generation);
      return {};
    },
    inspectInstance: async ({ instanceId }) => ({ state: stateOf(parseInstanceId(instanceId)) }),
    async *listInstances() {
      yield* node.states().map((state) => formatInstanceState(state));
    },
    watchInstances: (_request, { signal }) => watchInstances(node, more, signal),
    exec: (requests) => converse(node, requests, (first) => parseExecStart(first)),
    console: (requests) =>
      converse(node, requests, (first) => ({ ...parseConsoleStart(first), command: ['/bin/sh'], tty: true })),
    async *streamLogs({ instanceId }) {
      for (const line of node.logs(parseInstanceId(instanceId))) yield formatLogLine(line);
    },
    resolveImage: async ({ reference }) => ({ digest: node.resolve(reference), platforms: ['linux/amd64'] }),
    async *pullImage({ reference }) {
      const digest = node.resolve(reference);
      yield { step: 'ready', bytesDone: 1n, bytesTotal: 1n, done: true, digest };
    },
    async *listImages() {
      yield* node.listImages().map(formatImage);
    },
    watchNode: (_request, { signal }) => watchNode(node, clockSkewMs, signal),
  };
}

async function* converse(
  node: FakeNode,
  requests: AsyncIterable<ExecInput>,
  parse: (first: ExecInput) => ExecStart,
): AsyncGenerator<ExecOutput> {
  const inputs = requests[Symbol.asyncIterator]();
  const first = await inputs.next();
  const process = node.exec(parse(first.value));
  void (async () => {
    for (let next = await inputs.next(); !next.done; next = await inputs.next()) {
      const input = parseExecInput(next.value);
      if (input !== undefined) await process.send(input);
    }
  })().catch(() => process.hangUp());
  yield formatExecOutput({ kind: 'started', execId: 'exec-1' });
  for await (const item of process.output) yield formatExecOutput(item);
}

async function* changesOf(node: FakeNode, signal: AbortSignal): AsyncGenerator<NodeChange> {
  const changes: NodeChange[] = [];
  let wake = (): void => {};
  const unsubscribe = node.subscribe((change) => {
    changes.push(change);
    wake();
  });
  signal.addEventListener('abort', () => wake(), { once: true });
  try {
    while (!signal.aborted) {
      const next = changes.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  } finally {
    unsubscribe();
  }
}

async function* watchInstances(
  node: FakeNode,
  { phase }: FakeAgentOptions,
  signal: AbortSignal,
): AsyncGenerator<WatchInstancesResponse> {
  const changed = (state: ReturnType<FakeNode['states']>[number]) => {
    const value = formatInstanceState(state);
    return { $case: 'changed', value: { ...value, phase: phase ?? value.phase } } as const;
  };
  const changes = changesOf(node, signal);
  const next = changes.next();
  for (const state of node.states()) yield { sequence: 0n, event: changed(state) };
  let sequence = 1n;
  yield {
    sequence,
    event: { $case: 'bookmark', value: { incarnation: node.incarnation, sequence, revision: 0n } },
  };
  for (let step = await next; !step.done; step = await changes.next()) {
    sequence += 1n;
    if (step.value.kind === 'instance') yield { sequence, event: changed(step.value.state) };
    if (step.value.kind === 'absent') yield { sequence, event: { $case: 'removed', value: step.value.id } };
  }
}

async function* watchNode(
  node: FakeNode,
  clockSkewMs: number,
  signal: AbortSignal,
): AsyncGenerator<NodeReport> {
  const report = (): NodeReport => ({
    facts: formatNodeFacts(node.facts),
    capacity: formatNodeCapacity(node.capacity),
    conditions: node.conditions.map(formatCondition),
    clockMs: BigInt(systemClock.nowMs() + clockSkewMs),
  });
  yield report();
  for await (const change of changesOf(node, signal)) if (change.kind === 'self') yield report();
}
