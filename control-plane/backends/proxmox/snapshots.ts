import { DroverError, isKind } from '#shared/errors.ts';
import type {
  ClusterGuest,
  InstanceId,
  InstanceState,
  Snapshot,
  SnapshotId,
  SnapshotKind,
  VolumeId,
} from '#shared/model.ts';
import type { OrderHead } from '../backend.ts';
import { rowsOf } from './answer-rows.ts';
import type { ClusterTools } from './cluster-memory.ts';
import { numberOf, textOf } from './guests/properties.ts';
import type { Look } from './look.ts';
import type { Marking } from './marking.ts';
import type { Orders } from './orders.ts';
import type { OwnGuests } from './own-guests.ts';
import { ask, perform } from './perform.ts';

/** What stands in a snapshot's description, so that it is found again as ours. */
interface Note {
  readonly id: SnapshotId;
  readonly name: string;
  readonly kind: SnapshotKind;
  readonly generation: number;
  readonly instanceId: InstanceId;
  readonly claims: readonly { readonly volumeId: VolumeId; readonly name: string }[];
}

/** Answers may be lost again and again. */
const mostTries = 3;
const kinds: readonly SnapshotKind[] = ['manual', 'hourly', 'daily', 'weekly', 'before-update'];

/** A name of the cluster's: a letter first, at most 40 characters. An id has 32 digits. */
export const snapshotName = (id: SnapshotId): string => `d${id.replaceAll('-', '')}`;

export const formatNote = ({ id, name, kind, generation, instanceId, claims }: Note): string =>
  JSON.stringify({ drover: 1, id, name, kind, generation, instance: instanceId, claims });

/** Undefined: not ours, or of a version that we do not know. */
export function parseNote(text: string): Note | undefined {
  let found: Readonly<Record<string, unknown>>;
  try {
    found = JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
  if (typeof found !== 'object' || found === null || found['drover'] !== 1) return undefined;
  const { id, name, instance, generation, claims } = found;
  const kind = kinds.find((each) => each === found['kind']);
  const areTexts = [id, name, instance].every((each) => typeof each === 'string');
  if (kind === undefined || !areTexts || typeof generation !== 'number' || !Array.isArray(claims))
    return undefined;
  return {
    id: id as SnapshotId,
    name: name as string,
    kind,
    generation,
    instanceId: instance as InstanceId,
    claims: claims.filter(isClaim),
  };
}

const isClaim = (each: unknown): each is Note['claims'][number] =>
  typeof each === 'object' &&
  each !== null &&
  typeof (each as Note['claims'][number]).name === 'string' &&
  typeof (each as Note['claims'][number]).volumeId === 'string';

export interface Snapshots {
  take(
    order: OrderHead,
    wanted: { readonly id: SnapshotId; readonly name: string },
    signal: AbortSignal,
  ): Promise<Snapshot>;
  list(record: ClusterGuest, signal: AbortSignal): Promise<Snapshot[]>;
  rollBack(order: OrderHead, id: SnapshotId, signal: AbortSignal): Promise<InstanceState>;
  remove(order: OrderHead, id: SnapshotId, signal: AbortSignal): Promise<void>;
}

/** Snapshots of guests, as their cluster makes them: ours alone, others are left alone. */
export function createSnapshots(
  tools: ClusterTools,
  parts: {
    readonly own: OwnGuests;
    readonly look: Look;
    readonly marking: Marking;
    readonly orders: Orders;
  },
): Snapshots {
  const { store, clock } = tools;
  const { own, look, marking, orders } = parts;

  async function list(record: ClusterGuest, signal: AbortSignal): Promise<Snapshot[]> {
    const { place } = await look.config(record, signal);
    const answer = await ask(tools, tools.kinds[record.kind].calls(place).snapshots(), signal);
    const rows = rowsOf(answer);
    return rows
      .flatMap((row) => snapshotOf(record, row) ?? [])
      .toSorted((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
  }

  function snapshotOf(record: ClusterGuest, row: Readonly<Record<string, unknown>>): Snapshot | undefined {
    const note = parseNote(textOf(row['description']).trim());
    if (note === undefined || note.instanceId !== record.instanceId) return undefined;
    if (textOf(row['name']) !== snapshotName(note.id)) return undefined;
    const root = { volumeId: record.instanceId as VolumeId, name: 'root' };
    return {
      id: note.id,
      name: note.name,
      instanceId: record.instanceId,
      kind: note.kind,
      createdAtMs: numberOf(row['snaptime']) * 1000,
      // The API tells of no sizes.
      volumes: [root, ...note.claims].map((volume) => ({ ...volume, bytes: 0 })),
      // All disks of one guest at one moment: a container is frozen for it, a machine's disks are held.
      crashInconsistent: false,
      pauseMs: 0,
      generation: note.generation,
    };
  }

  async function find(record: ClusterGuest, id: SnapshotId, signal: AbortSignal) {
    return (await list(record, signal)).find((each) => each.id === id);
  }

  async function take(
    record: ClusterGuest,
    { id, name }: { readonly id: SnapshotId; readonly name: string },
    signal: AbortSignal,
  ): Promise<Snapshot> {
    const there = await list(record, signal);
    const same = there.find((each) => each.id === id);
    if (same !== undefined) return same;
    if (there.some((each) => each.name === name))
      throw new DroverError('already-exists', `there is a snapshot ${name} already`, {
        subject: { instance: record.instanceId, snapshot: name },
      });
    const { place } = await look.config(record, signal);
    const claims = record.spec?.assigned.volumes ?? [];
    const { generation, instanceId } = record;
    const note = formatNote({ id, name, kind: 'manual', generation, instanceId, claims });
    const call = tools.kinds[record.kind].calls(place).takeSnapshot(snapshotName(id), note);
    try {
      await perform(tools, call, place, signal);
    } catch (error) {
      // An answer that was lost before: it is there.
      if (!isKind(error, 'already-exists')) throw error;
    }
    const made = await find(record, id, signal);
    if (made !== undefined) return made;
    throw new DroverError('unavailable', `snapshot ${name} is not there`, {
      subject: { instance: record.instanceId, snapshot: id },
    });
  }

  /** The configuration is the snapshot's then: its mark may be older than the guest is ours. */
  async function markAgain(record: ClusterGuest, signal: AbortSignal): Promise<void> {
    await marking.complete(record, await look.config(record, signal), signal);
  }

  /** Set back twice is set back: nobody else is at the guest between the two. */
  async function setBack(record: ClusterGuest, id: SnapshotId, signal: AbortSignal): Promise<void> {
    const { place } = await look.config(record, signal);
    const calls = tools.kinds[record.kind].calls(place);
    const call = calls.rollback(snapshotName(id), record.intent === 'run');
    const end = await perform(tools, call, place, signal);
    if (end === 'lost') await perform(tools, call, place, signal);
  }

  async function removeAll(record: ClusterGuest, some: readonly Snapshot[], signal: AbortSignal) {
    for (const { id } of some) await remove(record, id, signal);
  }

  async function remove(record: ClusterGuest, id: SnapshotId, signal: AbortSignal): Promise<void> {
    for (let tries = 0; tries < mostTries; tries += 1) {
      if ((await find(record, id, signal)) === undefined) return;
      const { place } = await look.config(record, signal);
      const call = tools.kinds[record.kind].calls(place).removeSnapshot(snapshotName(id));
      await perform(tools, call, place, signal);
    }
    if ((await find(record, id, signal)) !== undefined)
      throw new DroverError('unavailable', `snapshot ${id} is there still`, { subject: { snapshot: id } });
  }

  /** Its configuration went back with it: it is made to be as its spec says again. */
  async function settleAgain(instanceId: InstanceId): Promise<void> {
    await store.transact((tx) => {
      const record = tx.get('cluster-guest', instanceId);
      if (record === undefined || record.intent !== 'run') return;
      const { appliedGeneration: _applied, ...rest } = record;
      tx.put('cluster-guest', instanceId, { ...rest, changedAtMs: clock.nowMs() });
    });
  }

  async function rollBack(record: ClusterGuest, id: SnapshotId, signal: AbortSignal): Promise<void> {
    const there = await list(record, signal);
    const at = there.findIndex((each) => each.id === id);
    if (at < 0) throw noSuchSnapshot(record.instanceId, id);
    const later = there.slice(at + 1).toReversed();
    try {
      await setBack(record, id, signal);
    } catch (error) {
      // Some storages go back to their newest snapshot alone. Whatever else is in the way, nothing is lost.
      if (!isKind(error, 'failed-precondition') || error.reason !== 'newer-snapshots') throw error;
      await removeAll(record, later, signal);
      await setBack(record, id, signal);
    }
    await markAgain(record, signal);
    // As everywhere in a fleet: what came after it goes with what was done since.
    await removeAll(record, later, signal);
    await look.status(record, signal);
  }

  return {
    list,
    take: (order, wanted, signal) =>
      orders.withGuest(order, (record, limit) => take(record, wanted, limit), signal),
    async rollBack(order, id, signal) {
      await orders.withGuest(
        order,
        async (record, limit) => {
          await rollBack(record, id, limit);
          await settleAgain(record.instanceId);
        },
        signal,
      );
      const state = own.state(order.instanceId);
      if (state === undefined) throw noSuchSnapshot(order.instanceId, id);
      return state;
    },
    remove: (order, id, signal) =>
      orders.withGuest(order, (record, limit) => remove(record, id, limit), signal),
  };
}

const noSuchSnapshot = (instance: InstanceId, id: SnapshotId): DroverError =>
  new DroverError('not-found', `there is no snapshot ${id} of ${instance}`, {
    subject: { instance, snapshot: id },
  });
