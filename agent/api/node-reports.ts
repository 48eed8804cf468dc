import { createBroadcast } from '#shared/broadcast.ts';
import type { Clock } from '#shared/clock.ts';
import { asDroverError } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { Condition, NodeCapacity, NodeFacts, PoolFacts } from '#shared/model.ts';
import { createCapacityReader, readConditions, readFacts } from '../host/facts.ts';

export interface NodeReport {
  /** Undefined when they are as in the report before. */
  readonly facts: NodeFacts | undefined;
  readonly capacity: NodeCapacity;
  readonly conditions: readonly Condition[];
}

export interface NodeReports {
  /** What the node is now. */
  facts(): NodeFacts;
  /** The present state, then one every 10 s. */
  watch(signal: AbortSignal): AsyncIterable<NodeReport>;
  close(): void;
}

/** What drivers, pools and networks say of themselves. */
export interface Fingerprints {
  readonly runtimes: NodeFacts['runtimes'];
  readonly pools: readonly (PoolFacts & { readonly freeMib: number })[];
  readonly network: Readonly<Record<string, string>>;
}

const intervalMs = 10_000;

/** Measures the node once every 10 s, whoever watches. */
export async function createNodeReports(options: {
  readonly node: Omit<Parameters<typeof readFacts>[0], keyof Fingerprints>;
  readonly fingerprint: () => Promise<Fingerprints>;
  readonly countInstances: () => number;
  readonly clock: Clock;
  readonly log: Log;
}): Promise<NodeReports> {
  const { clock, log, node } = options;
  const live = createBroadcast<NodeReport>({ capacity: 4 });
  const readCapacity = createCapacityReader(node.stateDir);
  /** One kind may hold for several pools, each with its name for a reason. */
  let since = new Map<string, number>();

  async function measure(): Promise<Required<NodeReport> & { facts: NodeFacts }> {
    const found = await options.fingerprint();
    // What is free changes all the time, and is no fact.
    const pools = found.pools.map(({ freeMib: _freeMib, ...pool }) => pool);
    const facts = await readFacts({ ...node, ...found, pools });
    const free = found.pools.map(({ name, freeMib }) => ({ name, freeMib }));
    const capacity = await readCapacity(options.countInstances(), free);
    const conditions = (await readConditions(facts, capacity)).map((condition) => ({
      ...condition,
      sinceMs: since.get(sameCondition(condition)) ?? clock.nowMs(),
    }));
    since = new Map(conditions.map((condition) => [sameCondition(condition), condition.sinceMs]));
    return { facts, capacity, conditions };
  }

  let current = await measure();
  let measuring = false;

  async function refresh(): Promise<void> {
    if (measuring) return;
    measuring = true;
    try {
      const next = await measure();
      const same = JSON.stringify(next.facts) === JSON.stringify(current.facts);
      current = next;
      live.publish(same ? { ...next, facts: undefined } : next);
    } catch (error) {
      // What was last seen stays; a host that cannot be measured is not the agent's end.
      log.error({ event: 'node.unmeasured', err: asDroverError(error) });
    } finally {
      measuring = false;
    }
  }

  const stop = clock.every(intervalMs, () => void refresh());

  async function* watch(signal: AbortSignal): AsyncGenerator<NodeReport> {
    const news = live.subscribe(signal);
    yield current;
    // Whole states: a reader that was too slow gets the newest.
    for await (const report of news) yield typeof report === 'symbol' ? current : report;
  }

  return {
    facts: () => current.facts,
    watch,
    close: () => {
      stop();
      live.close();
    },
  };
}

const sameCondition = ({ type, holds, reason }: Omit<Condition, 'sinceMs'>): string =>
  holds ? `${type} ${reason}` : type;
