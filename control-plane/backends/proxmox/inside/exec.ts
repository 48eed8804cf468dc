import { DroverError } from '#shared/errors.ts';
import type { ClusterGuest } from '#shared/model.ts';
import type { ExecStart } from '#shared/streams.ts';
import type { ExecChannel } from '../../backend.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { agentExec } from './agent-exec.ts';
import type { Look } from '../life/look.ts';
import type { OwnGuests } from '../life/own-guests.ts';

/** unimplemented, by name: its kind of guest has no way in, or the agent inside cannot. */
export type RunCommand = (
  record: ClusterGuest,
  start: ExecStart,
  signal: AbortSignal,
) => Promise<ExecChannel>;

/** Commands inside guests: through the guest agent of machines; nothing leads into containers. */
export const createRun =
  (
    { api, clock, random, kinds }: ClusterTools,
    { own, look }: { readonly own: OwnGuests; readonly look: Look },
  ): RunCommand =>
  async (record, start, signal) => {
    if (record.kind === 'lxc')
      throw new DroverError('unimplemented', `${kinds.lxc.runtime} has no exec: its cluster offers no way`, {
        subject: { instance: record.instanceId },
        nextStep: 'open its terminal: drover console',
      });
    // Nothing is run in a guest that only came to have its number.
    await look.config(record, signal);
    const place = () => {
      const { node, vmid } = own.of(record.instanceId).sight;
      return { node, vmid };
    };
    const check = (all: AbortSignal): Promise<unknown> => look.config(record, all);
    return agentExec({ api, clock, place, check, execId: random.uuidV4() }, start, signal);
  };
