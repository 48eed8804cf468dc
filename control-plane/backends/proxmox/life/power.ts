import { constants } from 'node:os';
import { asDroverError, DroverError, isKind } from '#shared/errors.ts';
import type { ClusterGuest, InstanceId } from '#shared/model.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { GuestCall, GuestCalls, GuestPlace } from '../guests/guest-kind.ts';
import { sidOf } from '../ha/ha-rules.ts';
import { isLeftToHa } from './guest-state.ts';
import type { Look } from './look.ts';
import type { Marking } from '../identity/marking.ts';
import type { OwnGuests } from './own-guests.ts';
import { performOnce } from '../tasks/begun-tasks.ts';
import { ask, checkedAgain, perform, type PerformEnd } from '../tasks/perform.ts';
import { taskTypeOf } from '../tasks/upid.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';

const { signals } = constants;
/** HA acts in its own time: its task ends before anything has happened. */
const haWithinMs = 120_000;
const haEveryMs = 3000;
/** What its node does after a machine's end may take a minute. */
const comesBackWithinMs = 90_000;
const comesBackEveryMs = 1000;
const leastShutdownS = 1;
/** Answers may be lost again and again. */
const mostAsks = 3;
/** How long it is asked to end by a signal. */
const termWithinS = 60;

export interface Power {
  /** Until it runs; nothing where it does. */
  start(record: ClusterGuest, signal: AbortSignal): Promise<void>;
  /** Asks first; after the grace it is ended. Until it has stopped; nothing where it has. */
  stop(record: ClusterGuest, graceMs: number, signal: AbortSignal): Promise<void>;
  /** Ends it now where it is being asked to stop for longer than this. Whether it was; HA ends by itself. */
  hurry(id: InstanceId, graceMs: number): boolean;
  /** unimplemented: guests of its kind cannot. */
  pause(record: ClusterGuest, signal: AbortSignal): Promise<void>;
  resume(record: ClusterGuest, signal: AbortSignal): Promise<void>;
  /**
   * As far as a cluster has signals: TERM asks it to end, KILL ends it, INT has it start anew, HUP resets a
   * machine. What its restart policy makes of an end is another matter. failed-precondition: nothing runs;
   * unimplemented: any other signal.
   */
  send(record: ClusterGuest, signalNumber: number, signal: AbortSignal): Promise<void>;
}

/** Each of its calls looks at the guest itself, before and after: what is so already is no failure. */
export function createPower(
  tools: ClusterTools,
  { own, look, marking }: { readonly own: OwnGuests; readonly look: Look; readonly marking: Marking },
): Power {
  const { kinds, clock } = tools;
  const statusOf = ({ instanceId }: ClusterGuest) => own.of(instanceId).sight.status;

  /** Its mark is looked at each time: its number may have become the number of somebody else's guest. */
  async function callsOf(
    record: ClusterGuest,
    signal: AbortSignal,
  ): Promise<{ readonly place: GuestPlace; readonly calls: GuestCalls }> {
    const found = await look.config(record, signal);
    await marking.renew(record, found, signal);
    const { place } = found;
    return { place, calls: kinds[record.kind].calls(place) };
  }

  /** What it refuses because of how the guest is, a look at the guest explains better. */
  async function change(
    record: ClusterGuest,
    callOf: (calls: GuestCalls) => GuestCall,
    isDone: () => boolean,
    signal: AbortSignal,
    graceMs = 0,
  ): Promise<void> {
    const { place, calls } = await callsOf(record, signal);
    let refusal: DroverError | undefined;
    let end: PerformEnd = 'done';
    try {
      const call = checkedAgain(callOf(calls), () => look.config(record, signal));
      end = await perform(tools, call, place, signal);
    } catch (error) {
      if (!isKind(error, 'failed-precondition', 'not-found', 'deadline-exceeded')) throw error;
      refusal = error;
    }
    await lookUntil(record, isDone, graceMs + haWithinMs, signal);
    if (isDone()) return;
    throw refusal ?? (end === 'lost' ? answerLost(record) : noChange(record));
  }

  const answerLost = (record: ClusterGuest): DroverError =>
    new DroverError('unavailable', `the answer was lost, and it is ${statusOf(record)} still`, {
      reason: 'answer-lost',
    });

  /** HA does nothing more with what it failed at. */
  function noChange(record: ClusterGuest): DroverError {
    const { haState, vmid } = own.of(record.instanceId).sight;
    const sid = sidOf({ kind: record.kind, vmid });
    const isStuck = haState === 'error';
    const words = isStuck ? ', and HA has given it up' : '';
    return new DroverError('unavailable', `it is ${statusOf(record)} still${words}`, {
      reason: 'no-change',
      ...(isStuck && { nextStep: `have HA begin anew with it: \`ha-manager set ${sid} --state disabled\`` }),
    });
  }

  async function lookUntil(
    record: ClusterGuest,
    isDone: () => boolean,
    withinMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const endMs = clock.monotonicMs() + withinMs;
    await look.status(record, signal);
    const isAtIt = (): boolean => {
      const { sight } = own.of(record.instanceId);
      return isLeftToHa(sight) && sight.haState !== 'error';
    };
    while (!isDone() && isAtIt() && clock.monotonicMs() < endMs) {
      await clock.sleep(haEveryMs, signal);
      await look.status(record, signal);
    }
  }

  /**
   * Its restart policy may not take for an end of its own what the list saw meanwhile: the task of a machine
   * ends with the machine, which its node starts again somewhat later.
   */
  async function reboot(
    record: ClusterGuest,
    calls: GuestCalls,
    place: GuestPlace,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      const type = taskTypeOf(record.kind, 'reboot');
      const call = checkedAgain(calls.reboot(termWithinS), () => look.config(record, signal));
      await performOnce(tools, call, { place, type }, signal);
    } finally {
      if (!signal.aborted) await look.status(record, signal);
    }
    const endMs = clock.monotonicMs() + comesBackWithinMs;
    while (statusOf(record) === 'stopped' && clock.monotonicMs() < endMs) {
      await clock.sleep(comesBackEveryMs, signal);
      await look.status(record, signal);
    }
    if (statusOf(record) === 'stopped')
      throw new DroverError('unavailable', 'it has ended, and its node has not started it again', {
        subject: { instance: record.instanceId },
      });
  }

  async function sendOnce(
    record: ClusterGuest,
    calls: GuestCalls,
    place: GuestPlace,
    number: number,
    signal: AbortSignal,
  ): Promise<void> {
    const call = checkedAgain(signalCall(calls, record, number), () => look.config(record, signal));
    const type = taskTypeOf(record.kind, number === signals.SIGKILL ? 'stop' : 'reset');
    await performOnce(tools, call, { place, type }, signal);
  }

  /** Until it has stopped, or somebody wants it ended sooner. */
  async function askToStop(
    record: ClusterGuest,
    graceMs: number,
    isDown: () => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const guest = own.of(record.instanceId);
    const timeoutS = Math.max(leastShutdownS, Math.ceil(graceMs / 1000));
    const asked = change(record, (calls) => calls.shutdown(timeoutS, true), isDown, signal, graceMs);
    const enough = new AbortController();
    guest.asking = { enough, untilMs: clock.monotonicMs() + graceMs };
    try {
      await unlessAborted(asked, enough.signal);
    } finally {
      guest.asking = undefined;
    }
  }

  /** 'not heeded': it was asked, and did not, or could not. Nothing is ended that was not asked before. */
  async function askUntilHeard(
    record: ClusterGuest,
    graceMs: number,
    isDown: () => boolean,
    signal: AbortSignal,
  ): Promise<'down' | 'not heeded'> {
    for (let tries = 1; ; tries += 1) {
      try {
        await askToStop(record, graceMs, isDown, signal);
        return 'down';
      } catch (error) {
        const { reason } = asDroverError(error);
        if (reason === 'answer-lost' && tries < mostAsks) continue;
        if (signal.aborted || !mayEnd(error)) throw error;
        return 'not heeded';
      }
    }
  }

  return {
    hurry(id, graceMs) {
      const { asking, sight } = own.of(id);
      if (asking === undefined || isLeftToHa(sight)) return false;
      if (clock.monotonicMs() + graceMs >= asking.untilMs) return false;
      asking.enough.abort(new DroverError('aborted', 'it is to be ended sooner'));
      return true;
    },
    async start(record, signal) {
      const isUp = (): boolean => statusOf(record) === 'running' || statusOf(record) === 'paused';
      await look.status(record, signal);
      if (isUp()) return;
      const { node } = own.of(record.instanceId).sight;
      const start = (): Promise<void> => change(record, (calls) => calls.start(), isUp, signal);
      await tools.limits.run({ node }, signal, start);
    },
    async stop(record, graceMs, signal) {
      const isDown = (): boolean => statusOf(record) === 'stopped';
      await look.status(record, signal);
      if (isDown()) return;
      if (graceMs > 0 && statusOf(record) === 'running') {
        const end = await askUntilHeard(record, graceMs, isDown, signal);
        if (end === 'down') return;
      }
      if (isDown()) return;
      const { sight } = own.of(record.instanceId);
      await change(record, (calls) => calls.stop(isLeftToHa(sight)), isDown, signal);
    },
    async send(record, number, signal) {
      await look.status(record, signal);
      const { sight } = own.of(record.instanceId);
      const subject = { instance: record.instanceId };
      if (sight.status !== 'running')
        throw new DroverError('failed-precondition', `nothing runs in it: it is ${sight.status}`, {
          subject,
        });
      if (isLeftToHa(sight))
        throw new DroverError('failed-precondition', 'HA has it: a stop would be its last word', {
          subject,
          nextStep: 'stop it with Drover, or ask HA',
        });
      const { place, calls } = await callsOf(record, signal);
      // Nobody waits for what is only asked for.
      if (number === signals.SIGTERM) await ask(tools, calls.shutdown(termWithinS, false), signal);
      else if (number === signals.SIGINT) await reboot(record, calls, place, signal);
      else await sendOnce(record, calls, place, number, signal);
    },
    async pause(record, signal) {
      await look.status(record, signal);
      const isPaused = (): boolean => statusOf(record) === 'paused';
      if (isPaused()) return;
      await change(record, (calls) => offered(calls.pause(), record, 'pause'), isPaused, signal);
    },
    async resume(record, signal) {
      await look.status(record, signal);
      const isRunning = (): boolean => statusOf(record) === 'running';
      if (isRunning()) return;
      await change(record, (calls) => offered(calls.resume(), record, 'resume'), isRunning, signal);
    },
  };
}

/** What keeps us from asking keeps us from ending it too, or has not been heard by it at all. */
const mayEnd = (error: unknown): boolean => {
  const { kind, reason } = asDroverError(error);
  if (kind === 'unavailable') return reason === 'no-change';
  if (kind === 'aborted') return reason !== 'locked' && reason !== 'digest';
  return kind !== 'unauthenticated' && kind !== 'permission-denied';
};

function signalCall(calls: GuestCalls, { kind }: ClusterGuest, number: number): GuestCall {
  const call =
    number === signals.SIGKILL ? calls.stop(false) : number === signals.SIGHUP ? calls.reset() : undefined;
  if (call !== undefined) return call;
  const known = kind === 'lxc' ? 'TERM, KILL and INT (reboot)' : 'TERM, KILL, INT (reboot) and HUP (reset)';
  throw new DroverError('unimplemented', `its cluster has no signal ${number}; there are ${known}`);
}

function offered(call: GuestCall | undefined, { kind }: ClusterGuest, what: string): GuestCall {
  if (call !== undefined) return call;
  const why =
    kind === 'lxc'
      ? `proxmox-lxc cannot ${what}: suspend is an experiment there, one directory for all of a node`
      : `proxmox-vm cannot ${what}: its cluster offers no way`;
  throw new DroverError('unimplemented', why);
}
