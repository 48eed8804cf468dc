import { DroverError, isKind } from '#shared/errors.ts';
import type { ClusterGuest, InstanceState, Snapshot, SnapshotId, VolumeId } from '#shared/model.ts';
import type { OrderHead } from '../../backend.ts';
import { type Row, rowsOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { numberOf, textOf } from '../guests/properties.ts';
import type { Look } from '../life/look.ts';
import type { Marking } from '../identity/marking.ts';
import type { Orders } from '../life/orders.ts';
import type { OwnGuests } from '../life/own-guests.ts';
import { ask, checkedAgain, perform } from '../tasks/perform.ts';
import { formatNote, parseNote } from './snapshot-notes.ts';
import { createRollBack, noSuchSnapshot, snapshotName } from './roll-back.ts';

/** Answers may be lost again and again. */
const mostTries = 3;
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
  const { own, look, marking, orders } = parts;

  async function read(record: ClusterGuest, signal: AbortSignal): Promise<readonly Row[]> {
    const { place } = await look.config(record, signal);
    return rowsOf(await ask(tools, tools.kinds[record.kind].calls(place).snapshots(), signal));
  }

  const list = async (record: ClusterGuest, signal: AbortSignal): Promise<Snapshot[]> =>
    oursAmong(record, await read(record, signal));

  const oursAmong = (record: ClusterGuest, rows: readonly Row[]): Snapshot[] =>
    rows
      .flatMap((row) => snapshotOf(record, row) ?? [])
      .toSorted((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));

  function snapshotOf(record: ClusterGuest, row: Row): Snapshot | undefined {
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
        nextStep: 'name it otherwise',
      });
    const { place } = await look.config(record, signal);
    const claims = record.spec?.assigned.volumes ?? [];
    const { generation, instanceId } = record;
    const note = formatNote({ id, name, kind: 'manual', generation, instanceId, claims });
    const call = tools.kinds[record.kind].calls(place).takeSnapshot(snapshotName(id), note);
    try {
      await perform(
        tools,
        checkedAgain(call, () => look.config(record, signal)),
        place,
        signal,
      );
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

  async function remove(record: ClusterGuest, id: SnapshotId, signal: AbortSignal): Promise<void> {
    for (let tries = 0; tries < mostTries; tries += 1) {
      if ((await find(record, id, signal)) === undefined) return;
      const { place } = await look.config(record, signal);
      const call = tools.kinds[record.kind].calls(place).removeSnapshot(snapshotName(id));
      await perform(
        tools,
        checkedAgain(call, () => look.config(record, signal)),
        place,
        signal,
      );
    }
    if ((await find(record, id, signal)) !== undefined)
      throw new DroverError('unavailable', `snapshot ${id} is there still`, { subject: { snapshot: id } });
  }

  const rollBack = createRollBack(tools, { look, marking, read, oursAmong, remove });

  return {
    list,
    take: (order, wanted, signal) =>
      orders.withGuest(order, (record, limit) => take(record, wanted, limit), signal),
    async rollBack(order, id, signal) {
      await orders.withGuest(order, (record, limit) => rollBack(record, order, id, limit), signal);
      const state = own.state(order.instanceId);
      if (state === undefined) throw noSuchSnapshot(order.instanceId, id);
      return state;
    },
    remove: (order, id, signal) =>
      orders.withGuest(order, (record, limit) => remove(record, id, limit), signal),
  };
}
