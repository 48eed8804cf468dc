import { isDeepStrictEqual } from 'node:util';
import type { Condition, NodeName } from '#shared/model.ts';
import { clusterLabels, putClusterNode } from '../../../store/put-cluster-node.ts';
import { type ClusterTools, type Feeling, nodeCalled, type NodeMemory } from '../cluster-memory.ts';
import { capacityOf } from './capacity.ts';
import { conditionsOf, factsOf, parseDetails } from './facts.ts';
import type { Membership, Resources } from './listings.ts';
import type { OwnGuests } from '../life/own-guests.ts';

/** A node's clock and its uptime are told apart by seconds: another start is minutes off. */
const bootJitterMs = 120_000;
/** Nodes tell of themselves every ten seconds, unless something holds them up. */
const silentForMs = 60_000;
const detailsTimeoutMs = 10_000;

/** Keeps the members of a cluster in memory and in the store, and tells of them. */
export interface Nodes {
  /** What a poll told of them. */
  take(membership: Membership, resources: Resources): Promise<void>;
  /** Reads what changes seldom, of those that take part. */
  refreshDetails(): Promise<void>;
  /** Tells what is new; all anew where a node is new or came back, instances before it counts as listed. */
  tell(): void;
  /** The cluster answers no more. */
  tellSilent(reason: string): void;
  /** Everything anew, for a new reader. */
  tellAll(): void;
  /** As if it answered no more; it is told again when it does. */
  disconnect(name: NodeName, reason: string): void;
}

export function createNodes(tools: ClusterTools, own: OwnGuests): Nodes {
  const { store, clock, random, memory, api, signal, put, log, name: cluster } = tools;

  async function nameOf(node: string): Promise<NodeName> {
    const id = random.uuidV7();
    const { result } = await store.transact((tx) => putClusterNode(tx, { cluster, node, id }, clock.nowMs()));
    return result;
  }

  /** What the store knows of it from before. */
  const stored = (name: NodeName) => store.snapshot().named('node', name);

  async function take(membership: Membership, resources: Resources): Promise<void> {
    const members = new Set(membership.nodes.map(({ node }) => node));
    for (const { node, online, address } of membership.nodes) {
      const row = resources.nodes.find((each) => each.node === node);
      const before = memory.nodes.get(node);
      const name = before?.name ?? (await nameOf(node));
      const silentSinceMs = row?.silent === true ? (before?.silentSinceMs ?? clock.monotonicMs()) : undefined;
      // It does its work on, and is told of again soon: who was asked may have forgotten all that was told.
      const isQuiet =
        before?.online === true &&
        silentSinceMs !== undefined &&
        clock.monotonicMs() - silentSinceMs < silentForMs;
      // Corosync knows first that it is away; the list knows first that it does its work again.
      const isOnline = online && (row?.online !== false || isQuiet);
      memory.nodes.set(node, {
        name,
        node,
        address: address || (before?.address ?? ''),
        online: isOnline,
        silentSinceMs,
        row: isOnline && !isQuiet ? row : (before?.row ?? row),
        storages: isQuiet ? before.storages : resources.storages.filter((each) => each.node === node),
        details: before?.details,
        told: before?.told,
        facts: before?.facts ?? stored(name)?.facts,
        feeling: before?.feeling,
        bootId: bootIdOf(before?.bootId ?? stored(name)?.bootId ?? '', row?.uptimeS ?? 0),
      });
    }
    // One that left the cluster keeps its record until a person removes it.
    for (const [node, before] of memory.nodes)
      if (!members.has(node)) memory.nodes.set(node, { ...before, online: false });
  }

  function bootIdOf(before: string, uptimeS: number): string {
    if (uptimeS === 0) return before;
    const startMs = Math.round((clock.nowMs() - uptimeS * 1000) / 1000) * 1000;
    const beforeMs = Number(before.slice('boot-'.length));
    const isSame = before !== '' && Math.abs(startMs - beforeMs) < bootJitterMs;
    return isSame ? before : `boot-${startMs}`;
  }

  async function refreshDetails(): Promise<void> {
    const online = [...memory.nodes.values()].filter((each) => each.online);
    await Promise.all(
      online.map(async ({ node }) => {
        const options = { signal, timeoutMs: detailsTimeoutMs };
        try {
          const [status, bridges] = await Promise.all([
            api.call('GET /nodes/{node}/status', { node }, options),
            api.call('GET /nodes/{node}/network', { node, type: 'any_bridge' }, options),
          ]);
          const now = memory.nodes.get(node);
          if (now !== undefined) memory.nodes.set(node, { ...now, details: parseDetails(status, bridges) });
        } catch (err) {
          // It is told as it was before, or as far as the list of all resources goes.
          if (!signal.aborted) log.warn({ event: 'node.unread', cluster, node, err });
        }
      }),
    );
  }

  const kinds = Object.values(tools.kinds);

  /** By number. What is not of an instance yet has nothing reserved. */
  function reservedMib(): Map<number, number> {
    const snapshot = store.snapshot();
    return new Map(
      own
        .records()
        .map(({ instanceId, vmid }) => [
          own.of(instanceId).sight.vmid || vmid,
          snapshot.get('instance', instanceId)?.spec.resources.memoryMib ?? 0,
        ]),
    );
  }

  function refreshed(before: NodeMemory, reserved: ReadonlyMap<number, number>): NodeMemory {
    const facts = factsOf(before, memory, kinds, memory.mayBePrivileged);
    const conditions = conditionsOf(before, memory, api.endpoints(), Math.round(clock.nowMs())).map((each) =>
      asBefore(each, before.feeling),
    );
    return { ...before, facts, feeling: { capacity: capacityOf(before, memory, reserved), conditions } };
  }

  function tellConnected({ name, facts, bootId }: NodeMemory): void {
    if (facts === undefined) return;
    const incarnation = `${cluster}/${stored(name)?.metadata.labels[clusterLabels.node] ?? name}`;
    put({ kind: 'connected', node: name, facts, incarnation, bootId, clockSkewMs: 0 });
  }

  const tellFeeling = ({ name, feeling }: NodeMemory): void => {
    if (feeling !== undefined) put({ kind: 'feeling', node: name, ...feeling, clockSkewMs: 0 });
  };

  function tellGone(node: NodeMemory, reason: string): void {
    if (node.told === 'connected') put({ kind: 'disconnected', node: node.name, reason });
    memory.nodes.set(node.node, { ...node, told: 'disconnected' });
  }

  /** All instances of the cluster are told before any node counts as listed: they move between nodes. */
  function tellComplete(nodes: readonly NodeMemory[]): void {
    const present = own.tellAll();
    for (const { name } of nodes)
      put({ kind: 'complete', node: name, present: present.get(name) ?? new Set() });
  }

  function tell(): void {
    const came: NodeMemory[] = [];
    const reserved = reservedMib();
    for (const before of memory.nodes.values()) {
      if (!before.online) {
        tellGone(before, `it takes no part in ${cluster}`);
        continue;
      }
      const now = refreshed(before, reserved);
      const isNew = before.told !== 'connected';
      memory.nodes.set(now.node, { ...now, told: 'connected' });
      if (isNew) {
        came.push(now);
        tellConnected(now);
      } else if (!isDeepStrictEqual(now.facts, before.facts) && now.facts !== undefined) {
        put({ kind: 'facts', node: now.name, facts: now.facts });
      }
      if (isNew || !isDeepStrictEqual(now.feeling, before.feeling)) tellFeeling(now);
    }
    if (came.length > 0) tellComplete(came);
  }

  return {
    take,
    refreshDetails,
    tell,
    tellSilent(reason) {
      for (const node of memory.nodes.values()) tellGone(node, reason);
    },
    tellAll() {
      const connected = [...memory.nodes.values()].filter(({ told }) => told === 'connected');
      for (const node of connected) {
        tellConnected(node);
        tellFeeling(node);
      }
      if (connected.length > 0) tellComplete(connected);
    },
    disconnect(name, reason) {
      const node = nodeCalled(memory, name);
      if (node !== undefined) tellGone(node, reason);
    },
  };
}

/** Since when it is so. */
function asBefore(condition: Condition, before: Feeling | undefined): Condition {
  const known = before?.conditions.find(({ type }) => type === condition.type);
  return known?.holds === condition.holds ? { ...condition, sinceMs: known.sinceMs } : condition;
}
