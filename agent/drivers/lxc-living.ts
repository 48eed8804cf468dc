import type { GuestStats, InstanceId, Resources } from '#shared/model.ts';
import { trafficOf } from './crun-living.ts';
import { notRunning } from './crun-exec.ts';
import type { DriverContext, RuntimeDriver } from './driver.ts';
import { firstProcess, readLxcState, requireRecord, type LxcView } from './lxc-state.ts';

/** What may be done with a guest that lives; all of it through its cgroup, nothing is spawned. */
export function lxcLivingGuests(
  { clock }: DriverContext,
  view: LxcView,
): Pick<RuntimeDriver, 'pause' | 'resume' | 'update' | 'stats'> {
  const { payload } = view;

  /** The first process. */
  function requireLiving(id: InstanceId): number {
    const { phase, pid } = readLxcState(view, id);
    if (phase === 'running' || phase === 'paused') return pid;
    throw notRunning(id, phase);
  }

  return {
    async pause(id) {
      requireLiving(id);
      await payload.freeze(id);
      // It may have ended meanwhile: a group without processes freezes, too.
      if (firstProcess(payload.processes(id)) !== undefined) return;
      await payload.thaw(id);
      throw notRunning(id, 'ending');
    },
    async resume(id) {
      requireLiving(id);
      await payload.thaw(id);
    },
    async update(id, resources: Resources) {
      requireLiving(id);
      await payload.setLimits(id, resources);
    },
    async stats(id): Promise<GuestStats> {
      const { network } = requireRecord(view, id);
      const pid = requireLiving(id);
      const usage = payload.usage(id);
      if (usage === undefined) throw notRunning(id, 'ending');
      const none = { receivedBytes: 0, sentBytes: 0 };
      const traffic = network === 'host' ? none : trafficOf(pid);
      return { instanceId: id, atMs: clock.nowMs(), ...usage, ...traffic };
    },
  };
}
