import type { Fleet, FleetHost } from '../../scripts/fleet.ts';
import { systemClock } from '#shared/clock.ts';

/** Numbers from 0 to 1 that are the same for the same seed: xorshift, Marsaglia 2003. */
export function seeded(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

export interface RandomKills {
  /** How many there have been. */
  count(): number;
  /** While it lasts, nobody is killed. */
  during<T>(work: () => Promise<T>): Promise<T>;
  stop(): Promise<void>;
}

/** The slower a machine, the longer its day: it must not get the more kills for that. */
const mostKills = 30;

/** kill -9 for an agent every so often; it is started again at once. */
export function killAtRandom(
  fleet: Fleet,
  random: () => number,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
): RandomKills {
  let killed = 0;
  const ending = new AbortController();
  let turn: Promise<unknown> = Promise.resolve();

  function alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = turn.then(work);
    turn = mine.catch(() => {});
    return mine;
  }

  async function killOne(host: FleetHost): Promise<void> {
    if (ending.signal.aborted || killed >= mostKills || host.agent === undefined) return;
    await fleet.stopAgent(host, 'SIGKILL');
    fleet.startAgent(host);
    killed += 1;
  }

  async function loop(): Promise<void> {
    for (;;) {
      const waited = systemClock.sleep(fromMs + random() * (toMs - fromMs), ending.signal);
      if (
        await waited.then(
          () => false,
          () => true,
        )
      )
        return;
      const host = fleet.hosts[Math.floor(random() * fleet.hosts.length)];
      if (host !== undefined) await alone(() => killOne(host));
    }
  }

  const looping = loop();
  return {
    count: () => killed,
    during: alone,
    async stop() {
      ending.abort();
      await looping;
      await turn;
    },
  };
}
