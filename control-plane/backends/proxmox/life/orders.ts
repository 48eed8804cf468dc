import { constants } from 'node:os';
import { DroverError } from '#shared/errors.ts';
import type { ClusterGuest, InstanceId, InstanceSpec, InstanceState, NodeName } from '#shared/model.ts';
import { claimGuest, putGuestIntent, putGuestRemoved } from '../../../store/put-cluster-guest.ts';
import type { OrderHead } from '../../backend.ts';
import { type ClusterTools, type NodeMemory, nodeCalled, versionOf } from '../cluster-memory.ts';
import type { GuestKind } from '../guests/guest-kind.ts';
import { movingMessage } from './guest-state.ts';
import { tagOf } from '../identity/marks.ts';
import type { OwnGuests } from './own-guests.ts';
import type { Power } from './power.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';
import { nextVmid, vmidChooser } from '../identity/vmids.ts';
import type { Work } from './work.ts';

/** What is ordered of the guests of one cluster. */
export interface Orders {
  ensure(order: OrderHead, spec: InstanceSpec, signal: AbortSignal): Promise<InstanceState>;
  stop(order: OrderHead, graceMs: number | undefined, signal: AbortSignal): Promise<InstanceState>;
  remove(order: OrderHead, graceMs: number | undefined, signal: AbortSignal): Promise<void>;
  pause(order: OrderHead, signal: AbortSignal): Promise<InstanceState>;
  resume(order: OrderHead, signal: AbortSignal): Promise<InstanceState>;
  send(order: OrderHead, signalNumber: number, signal: AbortSignal): Promise<void>;
  /** Takes part in its cluster now. unavailable. */
  reach(name: NodeName): NodeMemory;
  /** A guest of ours that is there or will be. not-found; failed-precondition: it is being removed. */
  record(order: Pick<OrderHead, 'instanceId'>): ClusterGuest;
  /** Alone with a guest of ours whose node answers; tells what came of it. */
  withGuest<Result>(
    order: Pick<OrderHead, 'instanceId' | 'node'>,
    act: (record: ClusterGuest, signal: AbortSignal) => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result>;
}

export function createOrders(
  tools: ClusterTools,
  { own, power, work }: { readonly own: OwnGuests; readonly power: Power; readonly work: Work },
): Orders {
  const { store, clock, memory, kinds, api, name: cluster } = tools;

  function reach(name: NodeName): NodeMemory {
    const node = nodeCalled(memory, name);
    const subject = { node: name, cluster, acted: 'no' };
    if (!memory.connected)
      throw new DroverError('unavailable', `${cluster} does not answer: ${memory.message}`, {
        subject,
        nextStep: `drover cluster test ${cluster}`,
      });
    if (node?.told === 'connected' && node.online) return node;
    throw new DroverError('unavailable', `node ${name} takes no part in ${cluster}`, {
      subject,
      nextStep: `drover cluster describe ${cluster} tells its nodes`,
    });
  }

  function kindOf({ runtime }: InstanceSpec): GuestKind {
    const kind = Object.values(kinds).find((each) => each.runtime === runtime);
    if (kind !== undefined) return kind;
    const known = Object.values(kinds).map((each) => each.runtime);
    throw new DroverError(
      'unimplemented',
      `nodes of ${cluster} have no runtime ${runtime}; there are ${known.join(', ')}`,
      { subject: { runtime } },
    );
  }

  function checkSpec(kind: GuestKind, spec: InstanceSpec): void {
    const cannot = kind.cannot(spec, versionOf(memory));
    if (cannot.length === 0) return;
    throw new DroverError('unimplemented', `${kind.runtime} cannot have ${cannot.join('; ')}`, {
      subject: { runtime: kind.runtime },
      nextStep: 'leave that out of its spec, or have it on plain hosts',
    });
  }

  /** Our records may be older than its guest, where the store was restored: it is that one, and no second. */
  function ownNumber(id: InstanceId, { kind }: GuestKind): number | undefined {
    const tag = tagOf(id);
    const [only, ...others] = memory.guests.filter((row) => row.kind === kind && row.tags.includes(tag));
    return others.length === 0 ? only?.vmid : undefined;
  }

  const stateOf = (id: InstanceId): InstanceState => {
    const state = own.state(id);
    if (state === undefined) throw noSuchGuest(id);
    return state;
  };

  function record({ instanceId }: Pick<OrderHead, 'instanceId'>): ClusterGuest {
    const found = own.record(instanceId);
    if (found === undefined || found.intent === 'removed') throw noSuchGuest(instanceId);
    if (found.intent !== 'remove') return found;
    throw new DroverError('failed-precondition', `instance ${instanceId} is being removed`, {
      subject: { instance: instanceId },
      reason: 'removed',
    });
  }

  /** An order is tried at once, whatever failed before. */
  function begin(id: InstanceId, graceMs?: number): void {
    const guest = own.of(id);
    guest.failures = 0;
    guest.run = { ...guest.run, failure: undefined };
    if (graceMs === undefined) return;
    guest.graceMs = graceMs;
    power.hurry(id, graceMs);
  }

  /** What is moving is not stopped or removed before it is there. */
  function tellWaiting(id: InstanceId): void {
    const { movingTo, sight } = own.of(id);
    if (movingTo === undefined) return;
    own.tell(id);
    tools.relay(sight, movingMessage(movingTo, true));
  }

  /** What kept it from being done, where it was not. */
  function failureOf(id: InstanceId, what: string): DroverError {
    const { run } = own.of(id);
    return new DroverError('unavailable', run.failure?.message ?? `it is not ${what} yet`, {
      subject: { instance: id, cluster },
    });
  }

  async function withGuest<Result>(
    order: Pick<OrderHead, 'instanceId' | 'node'>,
    act: (found: ClusterGuest, signal: AbortSignal) => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    reach(order.node);
    const id = order.instanceId;
    record(order);
    const limit = AbortSignal.any([signal, tools.signal]);
    const done = work.alone(id, async () => act(record(order), limit));
    try {
      return await unlessAborted(done, signal);
    } finally {
      own.tell(id);
      work.kick(id);
    }
  }

  return {
    reach,
    record,
    withGuest,
    async ensure({ node, instanceId, generation }, spec, signal) {
      reach(node);
      const kind = kindOf(spec);
      checkSpec(kind, spec);
      const isNew = own.record(instanceId) === undefined;
      const number = isNew ? ownNumber(instanceId, kind) : undefined;
      const from = isNew && number === undefined ? await nextVmid(api, signal) : Number.NaN;
      const choose = vmidChooser(memory, from);
      const chooseVmid = (claimed: ReadonlySet<number>): number =>
        number !== undefined && !claimed.has(number) ? number : choose(claimed);
      const claim = { instanceId, generation, cluster, kind: kind.kind, node, spec, chooseVmid };
      const { result } = await store.transact((tx) => claimGuest(tx, claim, clock.nowMs()));
      if (result.appliedGeneration !== generation) begin(instanceId);
      own.tell(instanceId);
      work.kick(instanceId);
      return stateOf(instanceId);
    },
    async stop({ node, instanceId, generation }, graceMs, signal) {
      reach(node);
      const intent = 'stop' as const;
      await store.transact((tx) => putGuestIntent(tx, { instanceId, generation, intent }, clock.nowMs()));
      begin(instanceId, graceMs);
      tellWaiting(instanceId);
      await unlessAborted(work.finish(instanceId), signal);
      const state = stateOf(instanceId);
      if (state.phase !== 'stopped') throw failureOf(instanceId, 'stopped');
      return state;
    },
    async remove({ node, instanceId, generation }, graceMs, signal) {
      reach(node);
      const found = own.record(instanceId);
      if (found === undefined || found.intent === 'removed') {
        const gone = { instanceId, cluster, node, generation };
        await store.transact((tx) => putGuestRemoved(tx, gone, clock.nowMs()));
        return;
      }
      const intent = 'remove' as const;
      await store.transact((tx) => putGuestIntent(tx, { instanceId, generation, intent }, clock.nowMs()));
      begin(instanceId, graceMs);
      own.of(instanceId).making?.abort(notWanted(instanceId));
      tellWaiting(instanceId);
      await unlessAborted(work.finish(instanceId), signal);
      const after = own.record(instanceId);
      if (after !== undefined && after.intent !== 'removed') throw failureOf(instanceId, 'removed');
    },
    send: (order, number, signal) => {
      const isHurried = number === constants.signals.SIGKILL && power.hurry(order.instanceId, 0);
      const act = (found: ClusterGuest, limit: AbortSignal): Promise<void> =>
        isHurried ? power.stop(found, 0, limit) : power.send(found, number, limit);
      return withGuest(order, act, signal);
    },
    async pause(order, signal) {
      await withGuest(order, (found, limit) => power.pause(found, limit), signal);
      return stateOf(order.instanceId);
    },
    async resume(order, signal) {
      await withGuest(order, (found, limit) => power.resume(found, limit), signal);
      return stateOf(order.instanceId);
    },
  };
}

export const noSuchGuest = (instance: InstanceId): DroverError =>
  new DroverError('not-found', `there is no guest of instance ${instance}`, { subject: { instance } });

const notWanted = (instance: InstanceId): DroverError =>
  new DroverError(
    'aborted',
    `instance ${instance} is to go: what waits for its turn is not begun, and what makes it ends`,
    { subject: { instance } },
  );
