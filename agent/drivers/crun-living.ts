import { DroverError } from '#shared/errors.ts';
import { checkSignal, notRunning } from './crun-exec.ts';
import type { DriverContext, RuntimeDriver } from './driver.ts';
import { killQuietly } from './guest-files.ts';
import { livePid, readGuestState, requireRecord, type HostView } from './guest-state.ts';
import { livingGuests } from './living-guests.ts';

type LivingGuests = Pick<RuntimeDriver, 'signal' | 'pause' | 'resume' | 'update' | 'stats' | 'console'>;

/** What may be done with a guest of crun that lives; nothing is spawned for it. */
export function crunLivingGuests({ clock }: DriverContext, host: HostView): LivingGuests {
  const { cgroups } = host;
  return {
    ...livingGuests({
      clock,
      cgroups,
      state: (id) => readGuestState(host, id),
      firstProcess: (id) => livePid(host, id),
      isOnHostNetwork: (id) => requireRecord(host, id).network === 'host',
    }),
    async signal(id, signalNumber) {
      const { phase } = readGuestState(host, id);
      if (phase !== 'running' && phase !== 'paused') throw notRunning(id, phase);
      const pid = livePid(host, id);
      if (pid === undefined) throw notRunning(id, 'ending');
      killQuietly(pid, checkSignal(signalNumber));
      // Version 1 of cgroups lets even this one wait while the guest is paused.
      if (signalNumber === 9) await cgroups.thaw(id);
    },
    async console(id) {
      requireRecord(host, id);
      const nextStep = 'drover logs shows its output; drover exec runs a shell inside';
      throw new DroverError('unimplemented', 'the driver crun has no console', { nextStep });
    },
  };
}
