import { DroverError } from '#shared/errors.ts';
import type { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { parseInstanceId } from '#shared/wire/checks.ts';
import { formatGuestStats } from '#shared/wire/storage.ts';
import type { Instances } from '../instances.ts';

/** Streams of statistics at one time. */
export const mostStatsStreams = 32;
const interval = { least: 1000, most: 60_000 } as const;

export function statsHandlers(
  { instances }: { readonly instances: Pick<Instances, 'stats'> },
  limit = mostStatsStreams,
): Pick<Handlers<typeof RuntimeServiceService>, 'streamStats'> {
  let running = 0;
  return {
    streamStats: async function* ({ instanceId, intervalMs }, { signal }) {
      const id = instanceId === '' ? undefined : parseInstanceId(instanceId);
      checkInterval(intervalMs);
      if (running >= limit) {
        throw new DroverError('resource-exhausted', `${running} read statistics here; at most ${limit}`);
      }
      running += 1;
      try {
        for await (const { stats, displayName } of instances.stats(id, intervalMs, signal)) {
          yield formatGuestStats(stats, displayName);
        }
      } finally {
        running -= 1;
      }
    },
  };
}

function checkInterval(intervalMs: number): void {
  if (intervalMs === 0 || (intervalMs >= interval.least && intervalMs <= interval.most)) return;
  throw new DroverError(
    'invalid-argument',
    `wanted 0 or ${interval.least} to ${interval.most} ms between readings, found ${intervalMs}`,
  );
}
