import { DroverError, isKind } from '#shared/errors.ts';
import type { ClusterGuest, InstanceSpec } from '#shared/model.ts';
import { claimOtherVmid, patchGuest } from '../../../store/put-cluster-guest.ts';
import { pendingKeys } from '../api/answer-rows.ts';
import { type ClusterTools, nodeCalled } from '../cluster-memory.ts';
import type { GuestCall, GuestChanges, GuestPlace } from '../guests/guest-kind.ts';
import { copyInTurn } from '../images/copies.ts';
import type { Images } from '../images/images.ts';
import { halfMadeError, isHalfMade, leaveHalfMade } from './half-made.ts';
import type { FoundConfig, Look } from './look.ts';
import type { FindMarked } from '../identity/find-marked.ts';
import type { Marking } from '../identity/marking.ts';
import type { OwnGuests } from './own-guests.ts';
import { ask, checkedAgain, perform, type PerformEnd } from '../tasks/perform.ts';
import { settleCopies, settleTasks } from '../tasks/settle-tasks.ts';
import type { Power } from './power.ts';
import { specContext, storageKey } from '../observe/storages.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';
import { vmidChooser } from '../identity/vmids.ts';

/** Somebody else may take the number that we chose, again and again. */
const mostNumbers = 20;
/** What is made half by somebody, perhaps by us, is waited for. */
const halfMadeForMs = 30_000;
/** Answers may be lost again and again. */
const mostRounds = 5;

export interface Settle {
  /** Makes the guest, or makes it be as its newest spec says, and starts it. May be repeated. */
  run(record: ClusterGuest, signal: AbortSignal): Promise<void>;
  /** Reads what its configuration says of it, and its addresses where they are not set by hand. */
  furnish(record: ClusterGuest, found: FoundConfig, signal: AbortSignal): Promise<void>;
}

export function createSettle(
  tools: ClusterTools,
  parts: { readonly own: OwnGuests; readonly look: Look; readonly marking: Marking } & {
    readonly findMarked: FindMarked;
    readonly power: Power;
    readonly images: Images;
  },
): Settle {
  const { store, clock, kinds, memory, limits, log, name: cluster } = tools;
  const { own, look, findMarked, marking, power, images } = parts;

  function nodeToMakeOn(record: ClusterGuest): string {
    const found = nodeCalled(memory, record.node);
    if (found?.online === true) return found.node;
    throw new DroverError('unavailable', `node ${record.node} does not take part in ${cluster}`, {
      subject: { node: record.node, acted: 'no' },
    });
  }

  /** Its own configuration, or why the number cannot be had: somebody else's guest has it. */
  async function whoseIs(record: ClusterGuest, signal: AbortSignal): Promise<'ours' | 'free' | 'taken'> {
    const endMs = clock.monotonicMs() + halfMadeForMs;
    while (true) {
      const found = await look.atItsNumber(record, signal);
      if (found === undefined) return 'free';
      const isHalf = isHalfMade(found);
      if (!isHalf) return found.isOurs ? 'ours' : 'taken';
      // What is being made may have no mark yet: it may be ours, of a lost answer or of before a crash.
      // Written down since.
      const { source, begunVmid } = own.record(record.instanceId) ?? record;
      if (clock.monotonicMs() > endMs) {
        const isBegun = begunVmid === record.vmid;
        if (found.isOurs || (isBegun && source !== undefined)) throw halfMadeError(record, found);
        if (isBegun) await leaveHalfMade(tools, record, found);
        return 'taken';
      }
      await settleTasks(tools, found.place, signal);
      if (source !== undefined) await settleCopies(tools, source, signal);
    }
  }

  async function takeOtherNumber(record: ClusterGuest): Promise<ClusterGuest> {
    const choose = vmidChooser(memory, record.vmid + 1);
    const { result } = await store.transact((tx) =>
      claimOtherVmid(tx, record.instanceId, choose, clock.nowMs()),
    );
    log.warn({
      event: 'guest.renumbered',
      cluster,
      instance: record.instanceId,
      from: record.vmid,
      to: result.vmid,
    });
    return result;
  }

  const isTaken = (vmid: number): boolean => memory.guests.some((row) => row.vmid === vmid);

  async function note(
    { instanceId }: ClusterGuest,
    patch: Parameters<typeof patchGuest>[2],
  ): Promise<ClusterGuest | undefined> {
    const { result } = await store.transact((tx) => patchGuest(tx, instanceId, patch, clock.nowMs()));
    return result;
  }

  async function create(record: ClusterGuest, spec: InstanceSpec, signal: AbortSignal): Promise<void> {
    const kind = kinds[record.kind];
    const place = { node: nodeToMakeOn(record), vmid: record.vmid };
    const unwanted = own.of(record.instanceId).making?.signal ?? signal;
    const either = AbortSignal.any([signal, unwanted]);
    const image = await unlessAborted(images.place(kind.kind, place.node, spec, either), either);
    const context = { ...specContext(memory, place, record.kind), image, mark: marking.markFor(record) };
    const call = kind.create(spec, context);
    const at = image.kind === 'guest' ? { node: image.node, vmid: image.vmid } : place;
    const source = image.kind === 'guest' ? at : undefined;
    const wasBegun = own.record(record.instanceId)?.begunVmid === record.vmid;
    const make = async () => {
      // Not before: while it waits, others may take its number. A copy is made by a task of its source.
      await note(record, { begunVmid: record.vmid, ...(source !== undefined && { source }) });
      return perform(tools, call, at, signal, unwanted);
    };
    try {
      const storage = () => storageKey(memory, place.node, context.storageOf(spec.rootPool));
      await (image.kind === 'guest'
        ? copyInTurn(tools, image, place.node, either, make)
        : limits.run({ node: place.node, storages: [storage()] }, either, make));
    } catch (error) {
      // Whoever was quicker has it, unless it is what we began before.
      if (isKind(error, 'already-exists') && !wasBegun) await note(record, { begunVmid: 0 });
      if (isKind(error, 'already-exists') && source !== undefined) await settleCopies(tools, source, signal);
      throw error;
    }
  }

  async function createAndLook(record: ClusterGuest, spec: InstanceSpec, signal: AbortSignal) {
    try {
      await create(record, spec, signal);
    } catch (error) {
      if (!isKind(error, 'already-exists')) throw error;
    }
    return whoseIs(record, signal);
  }

  /** Until a guest with our mark is there. A number that somebody else has by now is given up. */
  async function make(first: ClusterGuest, spec: InstanceSpec, signal: AbortSignal): Promise<ClusterGuest> {
    const moved = await findMarked.elsewhere(first, signal);
    if (moved !== undefined) return moved;
    let record = first;
    if (first.source !== undefined) await settleCopies(tools, first.source, signal);
    for (let tries = 0; tries < mostNumbers; tries += 1) {
      // Begun before a crash, or unknown to a store that was restored: it is there, and not made again.
      const before = isTaken(record.vmid) ? await whoseIs(record, signal) : 'free';
      const whose = before === 'free' ? await createAndLook(record, spec, signal) : before;
      if (whose === 'ours') return (await note(record, { made: true })) ?? record;
      if (whose === 'taken') record = await takeOtherNumber(record);
      if (whose === 'free')
        throw new DroverError('unavailable', 'it was made, and is not there', {
          subject: { instance: record.instanceId },
        });
    }
    throw new DroverError('aborted', `${mostNumbers} numbers in a row were taken by others`);
  }

  async function makeWhileWanted(record: ClusterGuest, spec: InstanceSpec, signal: AbortSignal) {
    const guest = own.of(record.instanceId);
    guest.making = new AbortController();
    return make(record, spec, signal).finally(() => (guest.making = undefined));
  }

  /** Whether anything was changed. A configuration that another writer changed meanwhile is read anew. */
  async function configure(record: ClusterGuest, spec: InstanceSpec, signal: AbortSignal): Promise<boolean> {
    const kind = kinds[record.kind];
    let isChanged = false;
    let found = await look.config(record, signal);
    if (await marking.complete(record, found, signal)) found = await look.config(record, signal);
    const changesNow = () => kind.changes(spec, found.config, specContext(memory, found.place, record.kind));
    for (let rounds = 0; rounds < mostRounds; rounds += 1) {
      const changes = changesNow();
      refuse(record, changes);
      if (!isAny(changes) && changes.grow.length === 0) return isChanged;
      // What keeps it from being started anew, or ends us, may come before that is done.
      if (!isChanged) await note(record, { configuredFor: record.generation });
      isChanged = true;
      if (isLifted(changes)) {
        await perform(tools, lifting, found.place, signal);
        found = await look.config(record, signal);
        continue;
      }
      const ends: (PerformEnd | 'waits')[] = [await performOrWait(changing, found.place, signal)];
      for (const { disk, sizeGib } of changes.grow) {
        const grow = checkedAgain(kind.calls(found.place).grow(disk, sizeGib), () =>
          look.config(record, signal),
        );
        ends.push(await perform(tools, grow, found.place, signal));
      }
      if (ends.every((end) => end === 'done') && changes.again !== true) return true;
      found = await look.config(record, signal);
    }
    throw new DroverError('unavailable', `its configuration was changed ${mostRounds} times, to no end`, {
      subject: { instance: record.instanceId, vmid: String(record.vmid) },
      nextStep: `see in ${cluster} what else changes guest ${record.vmid}`,
    });

    /** What is protected has its disks changed in no call, not even in the one that lifts it. */
    async function lifting() {
      found = await look.config(record, signal);
      const change = { set: {}, unset: ['protection'] };
      return isLifted(changesNow()) ? kind.calls(found.place).configure(change, found.digest) : undefined;
    }

    async function changing() {
      found = await look.config(record, signal);
      const changes = changesNow();
      return isAny(changes) ? kind.calls(found.place).configure(changes, found.digest) : undefined;
    }
  }

  /** 'waits': a device that the system inside does not let go of; it is gone once that has ended. */
  async function performOrWait(
    call: () => Promise<GuestCall | undefined>,
    place: GuestPlace,
    signal: AbortSignal,
  ): Promise<PerformEnd | 'waits'> {
    try {
      return await perform(tools, call, place, signal);
    } catch (error) {
      if (isKind(error, 'failed-precondition') && error.reason === 'hotplug') return 'waits';
      throw error;
    }
  }

  function refuse({ instanceId }: ClusterGuest, { refused }: GuestChanges): void {
    if (refused.length === 0) return;
    throw new DroverError('failed-precondition', `it cannot become so: ${refused.join('; ')}`, {
      subject: { instance: instanceId },
      nextStep: 'a new instance of another workload can be so',
    });
  }

  /** Something of it counts only after a start. */
  async function isPending(record: ClusterGuest, place: GuestPlace, signal: AbortSignal): Promise<boolean> {
    const answer = await ask(tools, kinds[record.kind].calls(place).pending(), signal);
    return pendingKeys(answer).length > 0;
  }

  async function furnish(record: ClusterGuest, { config, place }: FoundConfig, signal: AbortSignal) {
    const kind = kinds[record.kind];
    const guest = own.of(record.instanceId);
    const fixed = kind.fixedAddresses(config);
    const { limits: set, notEnforced } = kind.limits(config);
    const rootPool = kind.rootStorage(config);
    const areFixed = fixed.length > 0 || !Object.keys(config).some((key) => /^net\d+$/.test(key));
    let addresses = fixed;
    try {
      if (!areFixed && guest.sight.status === 'running')
        addresses = kind.seenAddresses(await ask(tools, kind.calls(place).addresses(), signal));
    } catch (error) {
      // A guest without its agent, or one that just came up: told without addresses.
      if (signal.aborted) throw error;
    }
    guest.furnishing = { limits: set, notEnforced, rootPool, addresses, areFixed };
  }

  return {
    furnish,
    async run(first, signal) {
      const { instanceId, generation } = first;
      const spec = first.spec ?? store.snapshot().get('instance', instanceId)?.spec;
      if (spec === undefined) throw new DroverError('internal', `${instanceId} has no spec`);
      const record = first.made === true ? first : await makeWhileWanted(first, spec, signal);
      await look.status(record, signal);
      const isChanged = (await configure(record, spec, signal)) || first.configuredFor === generation;
      const found = await look.config(record, signal);
      const isUp = own.of(instanceId).sight.status !== 'stopped';
      if (isChanged && isUp && (await isPending(record, found.place, signal)))
        await power.stop(record, spec.stopGraceMs, signal);
      await power.start(record, signal);
      await furnish(record, found, signal);
      // A newer spec may have come meanwhile: then this one is not the last word.
      await note(record, { made: true, appliedGeneration: generation });
    },
  };
}

const isLifted = ({ set, unset }: GuestChanges): boolean =>
  unset.includes('protection') && Object.keys(set).length + unset.length > 1;

const isAny = ({ set, unset }: GuestChanges): boolean => Object.keys(set).length + unset.length > 0;
