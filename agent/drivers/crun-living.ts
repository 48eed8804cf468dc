import { DroverError } from '#shared/errors.ts';
import type { GuestStats, InstanceId, Resources } from '#shared/model.ts';
import { checkSignal, notRunning } from './crun-exec.ts';
import type { DriverContext, RuntimeDriver } from './driver.ts';
import { killQuietly, readTextIfThere } from './guest-files.ts';
import { livePid, readGuestState, requireRecord, type HostView } from './guest-state.ts';

type LivingGuests = Pick<RuntimeDriver, 'signal' | 'pause' | 'resume' | 'update' | 'stats' | 'console'>;

/** What may be done with a guest that lives; nothing is spawned for it. */
export function crunLivingGuests({ clock }: DriverContext, host: HostView): LivingGuests {
  const { cgroups } = host;

  /** The first process. */
  function requireLiving(id: InstanceId): number {
    const { phase, pid } = readGuestState(host, id);
    if (phase === 'running' || phase === 'paused') return pid;
    throw notRunning(id, phase);
  }

  return {
    async signal(id, signalNumber) {
      requireLiving(id);
      const pid = livePid(host, id);
      if (pid === undefined) throw notRunning(id, 'ending');
      killQuietly(pid, checkSignal(signalNumber));
      // Version 1 of cgroups lets even this one wait while the guest is paused.
      if (signalNumber === 9) await cgroups.thaw(id);
    },
    async pause(id) {
      requireLiving(id);
      await cgroups.freeze(id);
      // It may have ended meanwhile: a group without processes freezes, too.
      if (livePid(host, id) !== undefined) return;
      await cgroups.thaw(id);
      throw notRunning(id, 'ending');
    },
    async resume(id) {
      requireLiving(id);
      await cgroups.thaw(id);
    },
    async update(id, resources: Resources) {
      requireLiving(id);
      await cgroups.setLimits(id, resources);
    },
    async stats(id): Promise<GuestStats> {
      const { network } = requireRecord(host, id);
      const pid = requireLiving(id);
      const usage = cgroups.usage(id);
      if (usage === undefined) throw notRunning(id, 'ending');
      const none = { receivedBytes: 0, sentBytes: 0 };
      const traffic = network === 'host' ? none : trafficOf(pid);
      return { instanceId: id, atMs: clock.nowMs(), ...usage, ...traffic };
    },
    async console(id) {
      requireRecord(host, id);
      const nextStep = 'drover logs shows its output; drover exec runs a shell inside';
      throw new DroverError('unimplemented', 'the driver crun has no console', { nextStep });
    },
  };
}

/** Of all interfaces in the network namespace of the process but its own loop. */
export function trafficOf(pid: number): Pick<GuestStats, 'receivedBytes' | 'sentBytes'> {
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
