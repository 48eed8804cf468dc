import { DroverError, isKind } from '#shared/errors.ts';
import type { ClusterGuestView, InstanceId } from '#shared/model.ts';
import { settleAdoptedGuest } from '../../../store/put-cluster-guest.ts';
import type { OrderHead } from '../../backend.ts';
import type { Adoptable } from '../../cluster-backend.ts';
import { pendingKeys } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { createGuestList } from '../observe/guest-list.ts';
import type { Fence } from '../identity/fence.ts';
import type { Configuration } from '../guests/guest-kind.ts';
import { textOf } from '../guests/properties.ts';
import type { Look } from './look.ts';
import type { Marking } from '../identity/marking.ts';
import { markOf, parseTags, readMark, withMark, withTags } from '../identity/marks.ts';
import { findGuest, readConfig } from '../observe/read-guests.ts';
import { noSuchGuest, type Orders } from './orders.ts';
import type { OwnGuests } from './own-guests.ts';
import { ask } from '../tasks/perform.ts';
import type { Settle } from './settle.ts';
import { specContext } from '../observe/storages.ts';
import type { Work } from './work.ts';

export interface Adoptions {
  guests(): ClusterGuestView[];
  /** As it is this moment, and what it would be. not-found. */
  inspect(vmid: number, signal: AbortSignal): Promise<Adoptable>;
  /** As ClusterBackend's of the same name. */
  adopt(
    guest: { readonly vmid: number; readonly digest: string },
    instance: { readonly id: InstanceId; readonly generation: number },
    signal: AbortSignal,
  ): Promise<void>;
  /** As ClusterBackend's of the same name. */
  release(order: OrderHead, signal: AbortSignal): Promise<void>;
}

/** Guests that were there before us: what they would be, and our mark on them and off again. */
export function createAdoptions(
  tools: ClusterTools,
  parts: {
    readonly own: OwnGuests;
    readonly look: Look;
    readonly fence: Fence;
    readonly marking: Marking;
    readonly settle: Settle;
    readonly orders: Orders;
    readonly work: Work;
  },
): Adoptions {
  const { memory, kinds, store, clock } = tools;
  const { own, look, fence, marking, settle, work } = parts;

  const list = createGuestList(tools, own);

  function obstaclesOf(config: Configuration, vmid: number): string[] {
    const mark = readMark(textOf(config['description']));
    if (mark === undefined) return [];
    fence.check(mark, vmid);
    if (mark.fleetId !== tools.fleetId) return [`it bears the mark of another fleet, ${mark.fleetId}`];
    const intent = own.record(mark.instanceId)?.intent ?? 'removed';
    return intent === 'removed' ? [] : [`it bears the mark of ${mark.instanceId}`];
  }

  async function inspect(vmid: number, signal: AbortSignal): Promise<Adoptable> {
    const row = await findGuest(tools, vmid, signal);
    const kind = kinds[row.kind];
    const place = { node: row.node, vmid };
    const config = await readConfig(tools, row, signal);
    const { spec, macs, notes, obstacles } = kind.spec(config, {
      ...specContext(memory, place, row.kind),
      networks: store.snapshot().list('network'),
    });
    const waiting = pendingKeys(await ask(tools, kind.calls(place).pending(), signal));
    return {
      guest: list.view(row),
      spec,
      macs,
      notes:
        waiting.length === 0 ? notes : [...notes, `changes wait for its next start: ${waiting.join(', ')}`],
      obstacles: [...obstacles, ...obstaclesOf(config, vmid)],
      digest: textOf(config['digest']),
    };
  }

  async function adopt(
    guest: { readonly vmid: number; readonly digest: string },
    { id, generation }: { readonly id: InstanceId; readonly generation: number },
    signal: AbortSignal,
  ): Promise<void> {
    const instance = store.snapshot().get('instance', id);
    const record = own.record(id);
    if (instance === undefined || record === undefined) throw noSuchGuest(id);
    const row = await findGuest(tools, guest.vmid, signal);
    const owner = list.ownerOf(row);
    if (owner !== undefined && owner !== id)
      throw new DroverError('already-exists', `guest ${guest.vmid} is instance ${owner} already`, {
        subject: { instance: owner },
      });
    const mark = markOf({
      instanceId: id,
      fleetId: tools.fleetId,
      epoch: tools.fleetEpoch,
      project: instance.metadata.project,
      workload: instance.workload,
      vmid: guest.vmid,
      generation,
    });
    const kind = kinds[row.kind];
    const place = { node: row.node, vmid: guest.vmid };
    const isMarked = (config: Configuration): boolean =>
      readMark(textOf(config['description']))?.instanceId === id &&
      parseTags(config['tags']).includes(mark.tag);
    await marking.write(
      kind,
      place,
      (config) =>
        isMarked(config)
          ? undefined
          : {
              description: withMark(textOf(config['description']), mark),
              tags: withTags(parseTags(config['tags']), mark),
            },
      guest.digest,
      signal,
    );
    own.see(id, { ...place, presence: 'present' });
    await store.transact((tx) => settleAdoptedGuest(tx, id, instance.spec, clock.nowMs()));
    await look.status(record, signal);
    await settle.furnish(record, await look.config(record, signal), signal);
    own.tell(id);
  }

  async function release({ instanceId }: OrderHead, signal: AbortSignal): Promise<void> {
    const record = own.record(instanceId);
    if (record === undefined) throw noSuchGuest(instanceId);
    await work.alone(instanceId, async () => {
      try {
        await marking.clear(record, signal);
      } catch (error) {
        // Gone, or without our mark already: there is nothing to take away.
        if (!isKind(error, 'not-found')) throw error;
      }
      own.forget(instanceId);
    });
  }

  return {
    guests: list.all,
    inspect,
    adopt: (guest, instance, signal) =>
      work.alone(instance.id, () => adopt(guest, instance, AbortSignal.any([signal, tools.signal]))),
    release,
  };
}
