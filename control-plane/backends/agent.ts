import type { Duplex } from 'node:stream';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { NodeName } from '#shared/model.ts';
import type { Store } from '../store/store.ts';
import { createNodeMemory, type NodeMemory } from './agent/memory.ts';
import { agentOrders } from './agent/orders.ts';
import { openRelay } from './agent/relay.ts';
import { createSession, type FleetHead, type Session } from './agent/session.ts';
import type { Backend } from './backend.ts';
import { createObservationQueue } from './observation-queue.ts';

/** Agents dial, so their backend also takes connections. */
export interface AgentBackend extends Backend {
  /** A connection whose certificate says that it is this node's. Resolves when it has ended. */
  accept(socket: Duplex, node: NodeName): Promise<void>;
}

const tellAgainAfterMs = 60_000;

/**
 * Reaches nodes over the sessions that their agents dialled: one for each node. A second one is refused
 * while the first answers, since two hosts with one identity must never share the work.
 */
export function agentBackend(options: {
  readonly store: Store;
  readonly fleet: FleetHead;
  readonly clock: Clock;
  readonly log: Log;
  /** A folder of our own, for the sockets of the sessions. */
  readonly relayDir: string;
}): AgentBackend {
  const { store, fleet, clock, log } = options;
  const sessions = new Map<NodeName, Session>();
  const accepting = new Set<NodeName>();
  const memories = new Map<NodeName, NodeMemory>();
  const toldAtMs = new Map<string, number>();
  const queue = createObservationQueue();
  let isClosed = false;

  function clientOf(node: NodeName): Session['client'] {
    const session = sessions.get(node);
    if (session?.isReady) return session.client;
    throw new DroverError('unavailable', `node ${node} does not answer: it has no session`, {
      subject: { node },
      nextStep: `see whether its agent runs, and that it reaches the control plane`,
    });
  }

  /** An agent that dials again and again must not fill the store with the same words. */
  async function tellRefused(node: NodeName, message: string): Promise<void> {
    log.warn({ event: 'session.refused', node, reason: message });
    const key = `${node} ${message}`;
    const nowMs = clock.monotonicMs();
    const before = toldAtMs.get(key);
    if (before !== undefined && nowMs - before < tellAgainAfterMs) return;
    if (toldAtMs.size > 1000) toldAtMs.clear();
    toldAtMs.set(key, nowMs);
    const event = { type: 'session.refused', severity: 'warning', subject: { node }, message } as const;
    await store.transact((tx) => tx.event({ ...event, atMs: clock.nowMs() }));
  }

  async function accept(socket: Duplex, node: NodeName): Promise<void> {
    const other = sessions.get(node);
    if (isClosed || other !== undefined || accepting.has(node)) {
      socket.destroy();
      if (isClosed) return;
      await tellRefused(node, `${node} has a session already: two hosts may be using one identity`);
      await other?.probe();
      return;
    }
    accepting.add(node);
    try {
      const relay = await openRelay(socket, options.relayDir);
      const session = createSession({
        node,
        relay,
        fleet,
        clock,
        memory: memoryOf(node),
        expectedIncarnation: () => store.snapshot().named('node', node)?.incarnation || undefined,
        put: queue.put,
      });
      sessions.set(node, session);
      await live(session);
    } finally {
      accepting.delete(node);
    }
  }

  async function live(session: Session): Promise<void> {
    const { node } = session;
    const reason = await session.run(() => log.info({ event: 'session.opened', node }));
    sessions.delete(node);
    log.info({ event: 'session.closed', node, reason });
    if (session.refusal !== undefined && !isClosed) await tellRefused(node, session.refusal);
  }

  function memoryOf(node: NodeName): NodeMemory {
    const memory = memories.get(node) ?? createNodeMemory(node);
    memories.set(node, memory);
    return memory;
  }

  return {
    name: 'agent',
    accept,
    ...agentOrders(clientOf, fleet),
    watch(signal) {
      const observations = queue.read(signal);
      for (const session of sessions.values()) {
        for (const observation of session.tellAll()) void queue.put(observation);
      }
      return observations;
    },
    disconnect: (node, reason) => sessions.get(node)?.end(reason),
    async close() {
      isClosed = true;
      queue.close();
      for (const session of sessions.values()) session.end('the control plane is closing');
    },
  };
}
