import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { GuestStats, InstanceId } from '#shared/model.ts';
import type { Cgroups } from '../host/cgroup.ts';
import { notRunning } from './crun-exec.ts';
import type { GuestState, RuntimeDriver } from './driver.ts';
import { readTextIfThere } from './guest-files.ts';

/** How a driver sees its guests. */
export interface LivingView {
  readonly clock: Clock;
  /** Where what runs inside lives. */
  readonly cgroups: Cgroups;
  /** not-found. */
  state(id: InstanceId): GuestState;
  /** The first process, if any lives. */
  firstProcess(id: InstanceId): number | undefined;
  /** Whether the guest has no interfaces but the host's. */
  isOnHostNetwork(id: InstanceId): boolean;
}

/** What may be done with a guest that lives; all of it through its cgroup, nothing is spawned. */
export function livingGuests(view: LivingView): Pick<RuntimeDriver, 'pause' | 'resume' | 'update' | 'stats'> {
  const { clock, cgroups } = view;

  /** The first process. */
  function requireLiving(id: InstanceId): number {
    const { phase, pid } = view.state(id);
    if (phase === 'running' || phase === 'paused') return pid;
    throw notRunning(id, phase);
  }

  return {
    async pause(id) {
      requireLiving(id);
      await cgroups.freeze(id);
      // It may have ended meanwhile: a group without processes freezes, too.
      if (view.firstProcess(id) !== undefined) return;
      await cgroups.thaw(id);
      throw notRunning(id, 'ending');
    },
    async resume(id) {
      requireLiving(id);
      await cgroups.thaw(id);
    },
    async update(id, resources) {
      requireLiving(id);
      await cgroups.setLimits(id, resources);
    },
    async stats(id) {
      const pid = requireLiving(id);
      const usage = cgroups.usage(id);
      if (usage === undefined) throw notRunning(id, 'ending');
      const none = { receivedBytes: 0, sentBytes: 0 };
      const traffic = view.isOnHostNetwork(id) ? none : trafficOf(pid);
      return { instanceId: id, atMs: clock.nowMs(), ...usage, ...traffic };
    },
  };
}

/**
 * Resolves when nothing of the guest lives, or when its grace is over. deadline-exceeded: the signal gave it
 * up.
 */
export async function waitForEnd(
  { clock, cgroups }: Pick<LivingView, 'clock' | 'cgroups'>,
  id: InstanceId,
  graceMs: number,
  signal: AbortSignal,
): Promise<void> {
  const endMs = clock.monotonicMs() + graceMs;
  for (let waitMs = 1; cgroups.processes(id).length > 0; waitMs = Math.min(25, waitMs * 2)) {
    const leftMs = endMs - clock.monotonicMs();
    if (leftMs <= 0) return;
    await clock.sleep(Math.min(waitMs, leftMs), signal).catch((cause: unknown) => {
      throw new DroverError('deadline-exceeded', `the wait for ${id} to stop was given up`, { cause });
    });
  }
}

/** Of all interfaces in the network namespace of the process but its own loop. */
function trafficOf(pid: number): Pick<GuestStats, 'receivedBytes' | 'sentBytes'> {
  let [receivedBytes, sentBytes] = [0, 0];
  for (const line of (readTextIfThere(`/proc/${pid}/net/dev`) ?? '').split('\n').slice(2)) {
    const [name = '', counts = ''] = line.split(':');
    if (name.trim() === 'lo') continue;
    const numbers = counts.trim().split(/\s+/).map(Number);
    receivedBytes += numbers[0] ?? 0;
    sentBytes += numbers[8] ?? 0;
  }
  return { receivedBytes, sentBytes };
}
