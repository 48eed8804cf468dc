import { DroverError, isKind } from '#shared/errors.ts';
import type { GuestStats, InstanceId } from '#shared/model.ts';
import type { Keeper } from './keeper.ts';
import { driverOf, type Workshop } from './tools.ts';

export interface NamedStats {
  readonly stats: GuestStats;
  readonly displayName: string;
}

/** Guests that are read at one time. */
const atOnce = 32;

/**
 * Of one guest or of all that live: at once, then every interval until the signal; zero: once. One: not-
 * found, failed-precondition while it has not run once. Spawns nothing.
 */
export async function* readStats(
  shop: Workshop,
  choose: () => readonly Keeper[],
  { intervalMs, one }: { readonly intervalMs: number; readonly one: InstanceId | undefined },
  signal: AbortSignal,
): AsyncGenerator<NamedStats> {
  for (let first = true; !signal.aborted; first = false) {
    const keepers = choose().filter((keeper) => keeper.record !== undefined);
    if (one !== undefined && keepers.length === 0) {
      if (first) throw new DroverError('not-found', `no instance ${one} on this node`);
      return;
    }
    yield* readAll(shop, keepers, first && one !== undefined);
    if (intervalMs === 0) return;
    await shop.clock.sleep(intervalMs, AbortSignal.any([signal, shop.lifetime])).catch(() => undefined);
    if (shop.lifetime.aborted) return;
  }
}

async function* readAll(
  shop: Workshop,
  keepers: readonly Keeper[],
  strict: boolean,
): AsyncGenerator<NamedStats> {
  for (let from = 0; from < keepers.length; from += atOnce) {
    const part = keepers.slice(from, from + atOnce);
    const found = await Promise.all(part.map((keeper) => read(shop, keeper, strict)));
    yield* found.filter((stats) => stats !== undefined);
  }
}

/** Undefined: it does not live, or its driver does not count. One guest must not end the stream of all. */
async function read(shop: Workshop, keeper: Keeper, strict: boolean): Promise<NamedStats | undefined> {
  const { id, record } = keeper;
  if (record === undefined) return undefined;
  try {
    const stats = await driverOf(shop, record.spec.runtime).stats(id);
    return { stats, displayName: record.spec.displayName };
  } catch (error) {
    if (strict) throw error;
    const usual = isKind(error, 'not-found', 'failed-precondition', 'unimplemented');
    if (!usual) shop.log.warn({ event: 'stats.failed', instanceId: id, err: error });
    return undefined;
  }
}
