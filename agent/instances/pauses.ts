import { mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { asDroverError, isKind } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { GuestState, RuntimeDriver } from '../drivers/driver.ts';
import { namesIn, writeDurably } from '../host/durable-file.ts';
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
  isFreezing(id: InstanceId): boolean;
  /** Lets go on what an agent of before has left frozen; what cannot now, as soon as it can. */
  resumeLeft(signal: AbortSignal): Promise<void>;
}

const callMs = 30_000;
const firstRetryMs = 1000;
const longestRetryMs = 60_000;

/** Below the directory there is a file for each guest that is frozen, from before its pause to after it. */
export function createPauses(
  shop: Pick<Workshop, 'drivers' | 'abilities' | 'clock' | 'log' | 'act' | 'heldRecords' | 'lifetime'>,
  directory: string,
): Pauses {
  const { clock, log, lifetime } = shop;
  const marker = (id: InstanceId): string => path.join(directory, id);
  const freezing = new Set<InstanceId>();

  /** Whose guest it is, or may be where its record is lost. */
  function driversOf(id: InstanceId): readonly RuntimeDriver[] {
    const record = shop.heldRecords().find((each) => each.id === id);
    return record === undefined ? shop.drivers : [driverOf(shop, record.spec.runtime)];
  }

  async function resume(id: InstanceId): Promise<void> {
    for (const driver of driversOf(id)) {
      try {
        await driver.resume(id, clock.timeout(callMs));
      } catch (error) {
        // It ended meanwhile: nothing of it is frozen.
        if (!isKind(error, 'not-found', 'failed-precondition', 'unimplemented')) throw error;
      }
    }
    await rm(marker(id), { force: true });
    freezing.delete(id);
  }

  /** Nobody else would let it go on. */
  async function resumeSurely(id: InstanceId, retryMs = firstRetryMs): Promise<void> {
    try {
      await resume(id);
    } catch (error) {
      log.error({ event: 'guest.frozen', instanceId: id, err: asDroverError(error), retryMs });
      const again = clock.after(retryMs, () => {
        lifetime.removeEventListener('abort', again);
        void resumeSurely(id, Math.min(2 * retryMs, longestRetryMs));
      });
      lifetime.addEventListener('abort', again, { once: true });
      if (lifetime.aborted) again();
    }
  }

  const phaseOf = async (driver: RuntimeDriver, id: InstanceId): Promise<GuestState['phase']> => {
    try {
      return (await driver.inspect(id, clock.timeout(callMs))).phase;
    } catch (error) {
      if (isKind(error, 'not-found')) return 'stopped';
      throw error;
    }
  };

  return {
    isFreezing: (id) => freezing.has(id),
    async during({ id, spec }, work) {
      const driver = driverOf(shop, spec.runtime);
      const phase = await phaseOf(driver, id);
      const canPause = (await shop.abilities.runtime(driver)).has('pause');
      if (phase !== 'running' || !canPause) {
        await work();
        return { pauseMs: 0, stoodStill: phase !== 'running' && phase !== 'unknown' };
      }
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await writeDurably(marker(id), '');
      freezing.add(id);
      const beganMs = clock.monotonicMs();
      let after: GuestState['phase'] = 'unknown';
      try {
        await shop.act('guest.freeze', () => driver.pause(id, clock.timeout(callMs)));
        await work();
        after = await phaseOf(driver, id);
      } finally {
        await resumeSurely(id);
      }
      return { pauseMs: clock.monotonicMs() - beganMs, stoodStill: after === 'paused' };
    },
    async resumeLeft(signal) {
      for (const name of (await namesIn(directory)).filter(isInstanceId)) {
        signal.throwIfAborted();
        await resumeSurely(name);
        log.warn({ event: 'guest.resumed', instanceId: name, reason: 'left frozen by a snapshot' });
      }
    },
  };
}

const isInstanceId = (name: string): name is InstanceId => /^[0-9a-f-]{36}$/.test(name);
