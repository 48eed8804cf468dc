import { credentials } from '@grpc/grpc-js';
import type { Clock } from '#shared/clock.ts';
import { asDroverError, DroverError, isKind, wordsOf } from '#shared/errors.ts';
import {
  type HelloResponse,
  type NodeReport,
  RuntimeServiceService,
} from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { Condition, NodeCapacity, NodeFacts, NodeName } from '#shared/model.ts';
import { createClient, type RpcClient } from '#shared/rpc-client.ts';
import { version, wireMinor } from '#shared/version.ts';
import { parseCondition, parseNodeCapacity, parseNodeFacts } from '#shared/wire/node.ts';
import type { Observation } from '../backend.ts';
import { checkHello } from './check-hello.ts';
import type { NodeMemory } from './memory.ts';
import type { Relay } from './relay.ts';

export interface FleetHead {
  readonly fleetId: string;
  readonly fleetEpoch: number;
}

export interface Session {
  readonly node: NodeName;
  readonly client: RpcClient<typeof RuntimeServiceService>;
  /** It has said hello: orders may go. */
  readonly isReady: boolean;
  /** Why the agent was turned away when it said hello; undefined when it was not. */
  readonly refusal: string | undefined;
  /**
   * Runs until the connection ends or the agent breaks the contract; resolves with the reason, for people.
   * Tells when the agent has said hello.
   */
  run(onOpen: () => void): Promise<string>;
  /** Everything of this session anew, for a new reader. */
  tellAll(): Observation[];
  /** Ends it unless the agent answers soon. */
  probe(): Promise<void>;
  end(reason: string): void;
}

export interface SessionOptions {
  readonly node: NodeName;
  readonly relay: Relay;
  readonly fleet: FleetHead;
  readonly clock: Clock;
  readonly memory: NodeMemory;
  /** The incarnation that joined under this name; undefined when none is known. */
  readonly expectedIncarnation: () => string | undefined;
  readonly put: (observation: Observation) => Promise<void>;
}

const helloTimeoutMs = 10_000;
const probeTimeoutMs = 3_000;
/** A peer that is gone without a word is noticed within 15 seconds. */
const keepalive = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.use_local_subchannel_pool': 1,
  // Nothing is to be tried behind our back: a session that is cut is over.
  'grpc.enable_retries': 0,
} as const;

export function createSession(options: SessionOptions): Session {
  const { node, relay, fleet, clock, memory, put } = options;
  const client = createClient(RuntimeServiceService, relay.target, credentials.createInsecure(), keepalive);
  const ending = new AbortController();
  let endReason = 'the connection was cut';
  let refusal: string | undefined;
  let connected: Extract<Observation, { kind: 'connected' }> | undefined;
  let feeling: Extract<Observation, { kind: 'feeling' }> | undefined;

  function end(reason: string): void {
    if (ending.signal.aborted) return;
    endReason = reason;
    ending.abort();
    relay.close();
    client.close();
  }
  void relay.closed.then(() => end('the connection was cut'));

  async function greet(): Promise<Extract<Observation, { kind: 'connected' }>> {
    const sentAtMs = clock.nowMs();
    const hello = await client.hello(
      {
        version,
        wireMinor,
        capabilities: [],
        fleetId: fleet.fleetId,
        fleetEpoch: BigInt(fleet.fleetEpoch),
        clockMs: BigInt(Math.round(sentAtMs)),
      },
      { signal: ending.signal, deadlineMs: helloTimeoutMs },
    );
    checkHello(hello, options.expectedIncarnation());
    const middleMs = (sentAtMs + clock.nowMs()) / 2;
    return {
      kind: 'connected',
      node,
      facts: factsOf(hello.facts, node),
      incarnation: hello.incarnation,
      bootId: hello.bootId,
      clockSkewMs: Math.round(Number(hello.clockMs) - middleMs),
    };
  }

  async function watchInstances(incarnation: string): Promise<never> {
    const from = memory.resumeFrom(incarnation);
    for await (const message of client.watchInstances(from, { signal: ending.signal })) {
      for (const observation of memory.take(message)) await put(observation);
    }
    throw new DroverError('unavailable', 'the agent ended its watch of instances');
  }

  async function watchNode(): Promise<never> {
    for await (const report of client.watchNode({}, { signal: ending.signal })) {
      await takeReport(report);
    }
    throw new DroverError('unavailable', 'the agent ended its watch of the node');
  }

  async function takeReport(report: NodeReport): Promise<void> {
    if (report.facts !== undefined && connected !== undefined) {
      const facts = factsOf(report.facts, node);
      const isNews = JSON.stringify(facts) !== JSON.stringify(connected.facts);
      connected = { ...connected, facts };
      if (isNews) await put({ kind: 'facts', node, facts });
    }
    feeling = {
      kind: 'feeling',
      node,
      ...feelingOf(report),
      clockSkewMs: Math.round(Number(report.clockMs) - clock.nowMs()),
    };
    await put(feeling);
  }

  return {
    node,
    client,
    get isReady() {
      return connected !== undefined && !ending.signal.aborted;
    },
    get refusal() {
      return refusal;
    },
    end,
    async run(onOpen) {
      try {
        connected = await greet();
        onOpen();
        memory.begin();
        await put(connected);
        await Promise.all([watchInstances(connected.incarnation), watchNode()]);
      } catch (caught) {
        const error = asDroverError(caught);
        if (connected === undefined && isKind(error, 'failed-precondition', 'invalid-argument')) {
          refusal = wordsOf(error);
        }
        end(wordsOf(error));
      }
      if (connected !== undefined) await put({ kind: 'disconnected', node, reason: endReason });
      await relay.closed;
      return endReason;
    },
    tellAll() {
      if (connected === undefined) return [];
      return [connected, ...(feeling === undefined ? [] : [feeling]), ...memory.tellAll()];
    },
    async probe() {
      const request = { instanceId: '00000000-0000-7000-8000-000000000000' };
      try {
        await client.inspectInstance(request, { signal: ending.signal, deadlineMs: probeTimeoutMs });
      } catch (caught) {
        const { kind } = asDroverError(caught);
        if (kind === 'unavailable' || kind === 'deadline-exceeded')
          end('it answers no more, and dialled anew');
      }
    },
  };
}

/** The certificate says which node it is; what it calls itself does not count. */
const factsOf = (facts: HelloResponse['facts'], node: NodeName): NodeFacts => ({
  ...parseNodeFacts(facts),
  name: node,
});

const feelingOf = (report: NodeReport): { capacity: NodeCapacity; conditions: Condition[] } => ({
  capacity: parseNodeCapacity(report.capacity),
  conditions: report.conditions.slice(0, 64).map(parseCondition),
});
