import type { Clock } from '#shared/clock.ts';
import { asDroverError, type DroverError, errorKinds } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { NodeName } from '#shared/model.ts';
import type { Backend, Observation } from '../backends/backend.ts';
import type { LiveNode, WritableFleetView } from '../fleet-view.ts';
import { recordConditionChange, recordNode, recordPresence } from '../store/record-node.ts';
import { recordProgress } from '../store/record-progress.ts';
import { hasMoved, isNews, recordObservation, type Sighting } from '../store/record-observation.ts';
import type { Store, Transaction } from '../store/store.ts';
import { changedConditions, withSkew } from './conditions.ts';
import { startImageWatch } from './observe-images.ts';

export interface ObserverOptions {
  readonly backends: readonly Backend[];
  readonly store: Store;
  readonly view: WritableFleetView;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Called when something changed that may need a step. */
  wake(): void;
}

export interface Observer {
  /** Resolves when the signal has ended it; rejects when the store can take nothing more. */
  readonly ended: Promise<void>;
}

/**
 * Writes down what the backends report: the transitions that matter in the store, everything else in the
 * view. It is the only writer of both. Observations are kept in the order in which they came; a node counts
 * as listed only when all that it listed is durable.
 */
export function startObserver(options: ObserverOptions): Observer {
  const images = startImageWatch(options);
  const follow = async (backend: Backend): Promise<void> => {
    const { signal, clock, log } = options;
    while (!signal.aborted) {
      const intake = createIntake(backend, options, images.refresh);
      try {
        for await (const observation of backend.watch(signal)) await intake.take(observation);
      } catch (caught) {
        if (signal.aborted) return;
        const err = asDroverError(caught);
        if (err.kind === 'data-loss') throw err;
        log.error({ event: 'watch.failed', backend: backend.name, err });
      }
      await intake.abandon();
      // A watch that ended without the signal is begun anew: all its nodes are told again.
      await clock.sleep(restartAfterMs, signal).catch(() => undefined);
    }
  };
  return { ended: Promise.all(options.backends.map(follow)).then(() => undefined) };
}

const restartAfterMs = 1000;
const retryStoreAfterMs = 1000;
/** A commit has at most 128 operations, and a sighting may cost six. */
const sightingsPerCommit = 16;
/** Above it the watch is not read until the store has caught up. */
const maxPending = 2000;

interface Intake {
  take(observation: Observation): Promise<void>;
  /** The watch has ended: nothing is known of its nodes any more. */
  abandon(): Promise<void>;
}

function createIntake(
  backend: Backend,
  options: ObserverOptions,
  refreshImages: (backend: Backend, node: NodeName) => void,
): Intake {
  const { store, view, clock, signal, wake } = options;
  const known = new Set<NodeName>();
  let pending: Observation[] = [];
  let writing: Promise<void> | undefined;
  let failure: DroverError | undefined;

  async function commit(body: (tx: Transaction) => void): Promise<void> {
    while (!signal.aborted) {
      try {
        await store.transact(body);
        return;
      } catch (caught) {
        const error = asDroverError(caught);
        if (!errorKinds[error.kind].retry) throw error;
        await clock.sleep(retryStoreAfterMs, signal).catch(() => undefined);
      }
    }
  }

  async function commitSightings(sightings: readonly Sighting[]): Promise<void> {
    const snapshot = store.snapshot();
    const news = sightings.filter((sighting) => {
      const record = snapshot.get('instance', sighting.id);
      if (record === undefined || isNews(record.observed, sighting.observed)) return true;
      return hasMoved(snapshot, record, sighting);
    });
    for (let from = 0; from < news.length; from += sightingsPerCommit) {
      const some = news.slice(from, from + sightingsPerCommit);
      await commit((tx) => {
        for (const sighting of some) recordObservation(tx, sighting, clock.nowMs());
      });
    }
  }

  /**
   * What a node lists no more is absent, of this node alone. One that was never seen stays as it is: not
   * reported.
   */
  function missing({ node, present }: Extract<Observation, { kind: 'complete' }>): Sighting[] {
    const ids: ReadonlySet<string> = present;
    return store
      .snapshot()
      .instancesOnNode(node)
      .filter(({ metadata, observed }) => observed !== undefined && !ids.has(metadata.id))
      .map(({ metadata }) => ({ node, id: metadata.id, observed: 'absent' }));
  }

  async function tellStrangers({ node, present }: Extract<Observation, { kind: 'complete' }>): Promise<void> {
    const snapshot = store.snapshot();
    // What was given up with its node is known, and is on its way out.
    const boundTo = (id: string) =>
      (snapshot.get('instance', id) ?? snapshot.get('released-instance', id))?.node;
    const strangers = [...present].filter((id) => boundTo(id) !== node);
    if (strangers.length === 0) return;
    const some = strangers.slice(0, 5).join(', ');
    const message = `holds ${strangers.length} instances that are not bound to it: ${some}`;
    const event = { type: 'node.strangers-found', severity: 'warning', subject: { node }, message } as const;
    await commit((tx) => tx.event({ atMs: clock.nowMs(), ...event }));
  }

  async function write(observation: Exclude<Observation, { kind: 'instance' | 'absent' }>): Promise<void> {
    const { node } = observation;
    const before = view.node(node);
    const nowMs = clock.nowMs();
    switch (observation.kind) {
      case 'connected': {
        if (!(await recordConnected(observation))) return;
        known.add(node);
        view.put(cameBack(observation, before, nowMs));
        return;
      }
      case 'disconnected':
        leave(node);
        return commit((tx) =>
          recordPresence(tx, node, { isConnected: false, message: observation.reason }, nowMs),
        );
      case 'facts':
        await commit((tx) => void recordNode(tx, { name: node, facts: observation.facts }, nowMs));
        return patch(node, { facts: observation.facts });
      case 'progress':
        return commit((tx) => recordProgress(tx, observation, nowMs));
      case 'feeling':
        return recordFeeling(observation, before);
      case 'complete':
        await commitSightings(missing(observation));
        await tellStrangers(observation);
        patch(node, { listed: true });
        refreshImages(backend, node);
    }
  }

  async function recordConnected(observation: Extract<Observation, { kind: 'connected' }>): Promise<boolean> {
    const { node: name, facts, incarnation, bootId } = observation;
    let isOurs = false;
    await commit((tx) => {
      isOurs = recordNode(tx, { name, facts, incarnation, bootId }, clock.nowMs());
      const cluster = tx.named('node', name)?.cluster;
      const message = `${cluster === undefined ? 'agent' : `cluster ${cluster},`} ${facts.agentVersion}`;
      recordPresence(tx, name, { isConnected: true, message }, clock.nowMs());
    });
    return isOurs;
  }

  async function recordFeeling(
    observation: Extract<Observation, { kind: 'feeling' }>,
    before: LiveNode | undefined,
  ): Promise<void> {
    if (before === undefined) return;
    const { node, capacity, clockSkewMs } = observation;
    const conditions = withSkew(observation.conditions, clockSkewMs, before.conditions, clock.nowMs());
    patch(node, { capacity, conditions, clockSkewMs });
    const changed = changedConditions(before.conditions, conditions);
    if (changed.length === 0) return;
    await commit((tx) => {
      for (const condition of changed) recordConditionChange(tx, node, condition, clock.nowMs());
    });
  }

  /** Read anew: the node may have gone while the store was written. */
  function patch(node: NodeName, change: Partial<LiveNode>): void {
    const live = view.node(node);
    if (live?.connected) view.put({ ...live, ...change, lastSeenAtMs: clock.nowMs() });
  }

  function leave(node: NodeName): void {
    known.delete(node);
    const before = view.node(node);
    if (before === undefined) return;
    if (store.snapshot().named('node', node) === undefined) view.drop(node);
    else view.put({ ...before, connected: false, listed: false });
  }

  async function writeSome(): Promise<void> {
    while (pending.length > 0 && !signal.aborted) {
      const batch = takeBatch(pending);
      pending = pending.slice(batch.length);
      const first = batch[0];
      if (first === undefined) return;
      if (isSighting(first)) await writeSightings(batch.filter(isSighting));
      else await write(first);
      if (first.kind !== 'feeling') wake();
    }
  }

  async function writeSightings(batch: readonly SightingObservation[]): Promise<void> {
    await commitSightings(batch.map(toSighting));
    for (const observation of batch) {
      patch(observation.node, {});
      if (observation.kind === 'instance' && observation.state.phase === 'running')
        refreshImages(backend, observation.node);
    }
  }

  const drain = (): Promise<void> => {
    writing ??= writeSome()
      .catch((caught: unknown) => {
        failure = asDroverError(caught);
      })
      .finally(() => {
        writing = undefined;
        // One came between the last look and here.
        if (pending.length > 0 && failure === undefined && !signal.aborted) void drain();
      });
    return writing;
  };

  return {
    async take(observation) {
      if (observation.kind === 'disconnected') leave(observation.node);
      pending.push(observation);
      const drained = drain();
      if (pending.length >= maxPending) await drained;
      if (failure !== undefined) throw failure;
    },
    async abandon() {
      pending = [];
      await writing;
      for (const node of known) leave(node);
      wake();
    },
  };
}

type SightingObservation = Extract<Observation, { kind: 'instance' | 'absent' }>;

const isSighting = (observation: Observation): observation is SightingObservation =>
  observation.kind === 'instance' || observation.kind === 'absent';

const toSighting = (observation: SightingObservation): Sighting =>
  observation.kind === 'instance'
    ? { node: observation.node, id: observation.state.instanceId, observed: observation.state }
    : { node: observation.node, id: observation.instanceId, observed: 'absent' };

/** The sightings in front as one batch, or the one observation in front. */
function takeBatch(pending: readonly Observation[]): Observation[] {
  let length = 0;
  while (length < sightingsPerCommit && length < pending.length) {
    const next = pending[length];
    if (next === undefined || !isSighting(next)) break;
    length += 1;
  }
  return pending.slice(0, Math.max(1, length));
}

function cameBack(
  { node, facts, clockSkewMs }: Extract<Observation, { kind: 'connected' }>,
  before: LiveNode | undefined,
  nowMs: number,
): LiveNode {
  return {
    name: node,
    connected: true,
    listed: false,
    facts,
    capacity: before?.capacity,
    conditions: withSkew(before?.conditions ?? [], clockSkewMs, before?.conditions ?? [], nowMs),
    lastSeenAtMs: nowMs,
    images: before?.images ?? new Set(),
    clockSkewMs,
  };
}
