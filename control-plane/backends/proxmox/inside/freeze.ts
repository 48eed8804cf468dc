import { DroverError, isKind } from '#shared/errors.ts';
import type { OrderHead } from '../../backend.ts';
import { rowOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { GuestPlace } from '../guests/guest-kind.ts';
import { textOf } from '../guests/properties.ts';
import type { Look } from '../life/look.ts';
import { isLost } from '../api/lost-answer.ts';
import type { Orders } from '../life/orders.ts';
import { cleanText, verdictOf } from '../api/words.ts';

/** File systems of virtual machines stand still, and go on: through the guest agent. */
export interface Freezing {
  freeze(order: OrderHead, signal: AbortSignal): Promise<boolean>;
  thaw(order: OrderHead, signal: AbortSignal): Promise<void>;
}

/** What is written has to reach the disk first. */
const freezeTimeoutMs = 60_000;
/** The agent says nothing while it freezes. */
const outcomeWithinMs = 60_000;
const outcomeEveryMs = 2000;
const mostThaws = 3;

type Verb = 'freeze' | 'thaw' | 'status';

export function createFreezing(
  { api, clock, kinds }: Pick<ClusterTools, 'api' | 'clock' | 'kinds'>,
  { orders, look }: { readonly orders: Orders; readonly look: Look },
): Freezing {
  /** In no queue: what holds a guest up may be that it stands still. */
  async function placeOf(order: OrderHead, signal: AbortSignal): Promise<GuestPlace> {
    orders.reach(order.node);
    const record = orders.record(order);
    if (record.kind === 'lxc')
      throw new DroverError(
        'unimplemented',
        `${kinds.lxc.runtime} has no freeze: only virtual machines have an agent to ask`,
        { subject: { instance: order.instanceId } },
      );
    return (await look.config(record, signal)).place;
  }

  async function say(verb: Verb, place: GuestPlace, signal: AbortSignal): Promise<unknown> {
    const answer = await api.call(`POST /nodes/{node}/qemu/{vmid}/agent/fsfreeze-${verb}`, place, {
      signal,
      timeoutMs: freezeTimeoutMs,
    });
    const { result } = rowOf(answer);
    // The agent's refusal comes as a result.
    const error = rowOf(rowOf(result)['error']);
    if (Object.keys(error).length > 0) throw refusal(verb, textOf(error['desc']));
    return result;
  }

  const isFrozen = async (place: GuestPlace, signal: AbortSignal): Promise<boolean> =>
    (await say('status', place, signal)) === 'frozen';

  /** Its answer was lost, not what was asked: the agent does not answer until it is done. */
  async function untilKnown(place: GuestPlace, signal: AbortSignal): Promise<boolean> {
    const endMs = clock.monotonicMs() + outcomeWithinMs;
    for (;;) {
      await clock.sleep(outcomeEveryMs, signal);
      try {
        return await isFrozen(place, signal);
      } catch (error) {
        const isBusy = isLost(error) || isKind(error, 'failed-precondition');
        if (signal.aborted || !isBusy || clock.monotonicMs() > endMs) throw error;
      }
    }
  }

  return {
    async freeze(order, signal) {
      const place = await placeOf(order, signal);
      if (await isFrozen(place, signal)) return true;
      try {
        await say('freeze', place, signal);
      } catch (error) {
        if (signal.aborted || !isLost(error)) throw error;
        if (!(await untilKnown(place, signal))) throw error;
      }
      return false;
    },
    async thaw(order, signal) {
      const place = await placeOf(order, signal);
      for (let tries = 1; ; tries += 1) {
        try {
          if (await isFrozen(place, signal)) await say('thaw', place, signal);
          return;
        } catch (error) {
          // Once more thaws nothing twice.
          if (signal.aborted || !isLost(error) || tries === mostThaws) throw error;
          await clock.sleep(outcomeEveryMs, signal);
        }
      }
    },
  };
}

function refusal(verb: Verb, text: string): DroverError {
  const desc = cleanText(text) || 'it does not say why';
  const known = verdictOf(text);
  const nextStep = /has been disabled/.test(text)
    ? `allow guest-fsfreeze-${verb} in the configuration of the guest's agent`
    : undefined;
  return new DroverError('failed-precondition', `the guest agent refuses fsfreeze-${verb}: ${desc}`, {
    reason: known?.reason === 'frozen' ? 'frozen' : 'guest-agent',
    ...(nextStep !== undefined && { nextStep }),
  });
}
