import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { RuntimeDriver } from '../drivers/driver.ts';
import type { VolumeDriver } from '../volumes/volume-driver.ts';

/**
 * What drivers and pools can do, by the names that they announce. Each is asked once in the agent's life, and
 * again while it is not well: unavailable. A full pool does not know all that it can, so it is asked again.
 */
export interface Abilities {
  runtime(driver: RuntimeDriver): Promise<ReadonlySet<string>>;
  pool(driver: VolumeDriver): Promise<ReadonlySet<string>>;
}

interface Facts {
  readonly healthy: boolean;
  readonly detail: string;
  readonly capabilities: readonly string[];
  readonly freeMib?: number;
}

const askMs = 10_000;

export function createAbilities(clock: Clock): Abilities {
  const known = new Map<string, ReadonlySet<string>>();

  async function ask(what: string, fingerprint: (signal: AbortSignal) => Promise<Facts>) {
    const before = known.get(what);
    if (before !== undefined) return before;
    const { healthy, detail, capabilities, freeMib } = await fingerprint(clock.timeout(askMs));
    if (!healthy) throw new DroverError('unavailable', `${what}: ${detail || 'it is not well'}`);
    const found = new Set(capabilities);
    if (freeMib !== 0) known.set(what, found);
    return found;
  }

  return {
    runtime: (driver) => ask(`runtime ${driver.name}`, (signal) => driver.fingerprint(signal)),
    pool: (driver) => ask(`pool ${driver.pool}`, (signal) => driver.fingerprint(signal)),
  };
}
