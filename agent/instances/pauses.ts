import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { isKind } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import { writeDurably } from '../host/durable-file.ts';
import type { InstanceRecord } from './record.ts';
import { driverOf, type Workshop } from './tools.ts';

/** Short pauses of guests, that end also when the agent is killed in the middle of one. */
export interface Pauses {
  /**
   * Does the work while the guest stands still. `stoodStill` is false for one that lives and cannot be
   * paused.
   */
  during(
    record: InstanceRecord,
    work: () => Promise<void>,
  ): Promise<{ readonly pauseMs: number; readonly stoodStill: boolean }>;
  /** Lets go on what an agent of before has left frozen. */
  resumeLeft(signal: AbortSignal): Promise<void>;
}

const callMs = 30_000;

/** Below the directory there is a file for each guest that is frozen, from before its pause to after it. */
export function createPauses(
  shop: Pick<Workshop, 'drivers' | 'abilities' | 'clock' | 'log' | 'act' | 'heldRecords'>,
  directory: string,
): Pauses {
  const marker = (id: InstanceId): string => path.join(directory, id);

  async function resume(record: InstanceRecord): Promise<void> {
    const driver = driverOf(shop, record.spec.runtime);
    try {
      await driver.resume(record.id, shop.clock.timeout(callMs));
    } catch (error) {
      // It ended meanwhile: nothing of it is frozen.
      if (!isKind(error, 'not-found', 'failed-precondition')) throw error;
    }
    await rm(marker(record.id), { force: true });
  }

  return {
    async during(record, work) {
      const { id, spec } = record;
      const driver = driverOf(shop, spec.runtime);
      const { phase } = await driver.inspect(id, shop.clock.timeout(callMs)).catch((error: unknown) => {
        if (isKind(error, 'not-found')) return { phase: 'stopped' as const };
        throw error;
      });
      const canPause = (await shop.abilities.runtime(driver)).has('pause');
      if (phase !== 'running' || !canPause) {
        await work();
        return { pauseMs: 0, stoodStill: phase !== 'running' && phase !== 'unknown' };
      }
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await writeDurably(marker(id), '');
      const beganMs = shop.clock.monotonicMs();
      try {
        await shop.act('guest.freeze', () => driver.pause(id, shop.clock.timeout(callMs)));
        await work();
      } finally {
        await resume(record);
      }
      return { pauseMs: shop.clock.monotonicMs() - beganMs, stoodStill: true };
    },
    async resumeLeft(signal) {
      const names = await readdir(directory).catch(() => []);
      for (const name of names) {
        const record = shop.heldRecords().find(({ id }) => id === name);
        if (record === undefined) await rm(path.join(directory, name), { force: true });
        else {
          signal.throwIfAborted();
          await resume(record);
          shop.log.warn({
            event: 'guest.resumed',
            instanceId: record.id,
            reason: 'left frozen by a snapshot',
          });
        }
      }
    },
  };
}
