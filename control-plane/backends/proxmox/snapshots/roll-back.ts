import { DroverError, isKind } from '#shared/errors.ts';
import type { ClusterGuest, InstanceId, Snapshot, SnapshotId } from '#shared/model.ts';
import { noteRollBack, patchGuest } from '../../../store/put-cluster-guest.ts';
import type { OrderHead } from '../../backend.ts';
import type { Row } from '../api/answer-rows.ts';
import { begunSince, isKept, lastEnded, type ListedTask, tasksOf, upidsOf } from '../tasks/begun-tasks.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { GuestPlace } from '../guests/guest-kind.ts';
import { numberOf, textOf } from '../guests/properties.ts';
import type { Look } from '../life/look.ts';
import type { Marking } from '../identity/marking.ts';
import { checkedAgain, perform } from '../tasks/perform.ts';
import { taskTypeOf } from '../tasks/upid.ts';

/** Answers may be lost again and again. */
const mostTries = 3;

/** A name of the cluster's: a letter first, at most 40 characters. An id has 32 digits. */
export const snapshotName = (id: SnapshotId): string => `d${id.replaceAll('-', '')}`;

/** `order`: repeated with the same request id, nothing is done again. */
export type RollBack = (
  record: ClusterGuest,
  order: Pick<OrderHead, 'requestId'>,
  id: SnapshotId,
  signal: AbortSignal,
) => Promise<void>;

interface Parts {
  readonly look: Look;
  readonly marking: Marking;
  /** All snapshots of a guest as its cluster lists them. */
  read(record: ClusterGuest, signal: AbortSignal): Promise<readonly Row[]>;
  /** Ours among them, the oldest first. */
  oursAmong(record: ClusterGuest, rows: readonly Row[]): readonly Snapshot[];
  remove(record: ClusterGuest, id: SnapshotId, signal: AbortSignal): Promise<void>;
}

/**
 * Sets a guest back. What it did since is lost each time, so that this is done once for each order: whether
 * it was begun is noted before it is asked for, and read from the tasks of its node where nobody told.
 */
export function createRollBack(tools: ClusterTools, parts: Parts): RollBack {
  const { store, clock, tasks, kinds } = tools;
  const { look, marking, read, oursAmong, remove } = parts;

  const tasksAt = ({ kind }: ClusterGuest, place: GuestPlace, signal: AbortSignal): Promise<ListedTask[]> =>
    tasksOf(tools, place, taskTypeOf(kind, 'rollback'), signal);

  /** What was begun for the same order before; undefined: nothing, or nobody knows of it. */
  function begunBefore(
    { instanceId }: ClusterGuest,
    requestId: string,
    id: SnapshotId,
  ): ClusterGuest['rollBack'] {
    const now = store.snapshot().get('cluster-guest', instanceId)?.rollBack;
    return now?.requestId === requestId && now.snapshot === id ? now : undefined;
  }

  /** Until it is set back, or it is known why not. */
  async function setBack(
    record: ClusterGuest,
    requestId: string,
    id: SnapshotId,
    signal: AbortSignal,
  ): Promise<void> {
    let noted = begunBefore(record, requestId, id);
    for (let tries = 0; tries < mostTries; tries += 1) {
      const { place } = await look.config(record, signal);
      const at = { node: noted?.node ?? place.node, vmid: place.vmid };
      const begun = noted && begunSince(noted.before, await tasksAt(record, at, signal));
      if (begun !== undefined) return void (await tasks.wait(begun, { signal }));
      await checkKept(record, noted, signal);
      const last = await lastEnded(tools, place.node, signal);
      const listed = upidsOf(await tasksAt(record, place, signal));
      const before = last === undefined ? listed : [...listed, last];
      noted = { requestId, snapshot: id, node: place.node, before };
      await note(record.instanceId, noted);
      const call = kinds[record.kind].calls(place).rollback(snapshotName(id), record.intent === 'run');
      const checked = checkedAgain(call, () => look.config(record, signal));
      if ((await perform(tools, checked, place, signal)) === 'done') return;
    }
    throw new DroverError('unavailable', `it could not be set back: ${mostTries} answers were lost`, {
      subject: { instance: record.instanceId, snapshot: id },
    });
  }

  /** Where its tasks of then are gone, nobody knows whether it was begun; twice would lose what is new. */
  async function checkKept(
    { instanceId, vmid }: ClusterGuest,
    noted: ClusterGuest['rollBack'],
    signal: AbortSignal,
  ): Promise<void> {
    const last = noted?.before.at(-1);
    if (noted === undefined || last === undefined || (await isKept(tools, last, signal))) return;
    throw new DroverError(
      'failed-precondition',
      `whether guest ${vmid} was set back cannot be known: ${noted.node} has forgotten its tasks of then`,
      {
        subject: { instance: instanceId, snapshot: noted.snapshot },
        reason: 'task-lost',
        nextStep: 'look at the guest; where it was not, ask for it once more',
      },
    );
  }

  /** Its configuration goes back with it: it is made as its spec says again, also after a crash of ours. */
  const note = (instanceId: InstanceId, rollBack: NonNullable<ClusterGuest['rollBack']>): Promise<unknown> =>
    store.transact((tx) => noteRollBack(tx, instanceId, rollBack, clock.nowMs()));

  async function removeAll(record: ClusterGuest, some: readonly Snapshot[], signal: AbortSignal) {
    for (const { id } of some) await remove(record, id, signal);
  }

  async function noteDone({ instanceId }: ClusterGuest): Promise<void> {
    await store.transact((tx) => {
      const rollBack = tx.get('cluster-guest', instanceId)?.rollBack;
      if (rollBack !== undefined)
        patchGuest(tx, instanceId, { rollBack: { ...rollBack, done: true } }, clock.nowMs());
    });
  }

  return async (record, { requestId }, id, signal) => {
    if (begunBefore(record, requestId, id)?.done === true) return look.status(record, signal);
    const rows = await read(record, signal);
    const ours = oursAmong(record, rows);
    const target = ours.find((each) => each.id === id);
    if (target === undefined) throw noSuchSnapshot(record.instanceId, id);
    if (begunBefore(record, requestId, id) === undefined) refuseForVolumes(record, target);
    const after = new Set(namesAfter(rows, snapshotName(id)));
    const later = ours.filter((each) => after.has(snapshotName(each.id))).toReversed();
    try {
      await setBack(record, requestId, id, signal);
    } catch (error) {
      // Some storages go back to their newest snapshot alone. Whatever else is in the way, nothing is lost.
      if (!isKind(error, 'failed-precondition') || error.reason !== 'newer-snapshots') throw error;
      refuseForOthers(record, rows, ours, id);
      await removeAll(record, later, signal);
      await note(record.instanceId, { requestId: '', snapshot: id, node: '', before: [] });
      await setBack(record, requestId, id, signal);
    }
    await marking.complete(record, await look.config(record, signal), signal);
    // As everywhere in a fleet: what came after it goes with what was done since.
    await removeAll(record, later, signal);
    await noteDone(record);
    await look.status(record, signal);
  };
}

/** A data volume that came later would be detached, and an empty one would be made in its place. */
function refuseForVolumes({ instanceId, spec }: ClusterGuest, { id, volumes }: Snapshot): void {
  const had = new Set(volumes.map(({ volumeId }) => volumeId));
  const later = (spec?.assigned.volumes ?? []).filter(({ volumeId }) => !had.has(volumeId));
  if (later.length === 0) return;
  const names = later.map(({ name }) => name).join(', ');
  throw new DroverError(
    'failed-precondition',
    `volume ${names} is newer than that snapshot: going back would take it out of the guest`,
    {
      subject: { instance: instanceId, snapshot: id },
      reason: 'newer-volumes',
      nextStep:
        'take it out of the spec first, if that is meant: what is on it stays with the guest, detached',
    },
  );
}

/** Nothing is removed for a step back that others' snapshots stand in the way of anyway. */
function refuseForOthers(
  { instanceId, vmid }: ClusterGuest,
  rows: readonly Row[],
  ours: readonly Snapshot[],
  id: SnapshotId,
): void {
  const own = new Set(ours.map((each) => snapshotName(each.id)));
  const others = namesAfter(rows, snapshotName(id)).filter((name) => !own.has(name));
  if (others.length === 0) return;
  throw new DroverError(
    'failed-precondition',
    `its storage goes back to its newest snapshot alone, and ${others.join(', ')} of guest ${vmid} ` +
      'came after it',
    {
      subject: { instance: instanceId, snapshot: id },
      reason: 'newer-snapshots',
      nextStep: 'remove them in the cluster, where they were made; nothing was removed',
    },
  );
}

/**
 * Those that were taken after one of them: what comes of it, nothing that it comes from, and of all else what
 * has a later time. Each has the time of the node that it was taken on, and guests move.
 */
function namesAfter(rows: readonly Row[], name: string): string[] {
  const byName = new Map(rows.map((row) => [textOf(row['name']), row]));
  const originsOf = (of: string): ReadonlySet<string> => {
    const seen = new Set<string>();
    let parent = textOf(byName.get(of)?.['parent']);
    while (parent !== '' && !seen.has(parent)) {
      seen.add(parent);
      parent = textOf(byName.get(parent)?.['parent']);
    }
    return seen;
  };
  const origins = originsOf(name);
  const takenAt = numberOf(byName.get(name)?.['snaptime']);
  return [...byName]
    .filter(([each]) => each !== 'current' && each !== name && !origins.has(each))
    .filter(([each, row]) => originsOf(each).has(name) || numberOf(row['snaptime']) > takenAt)
    .map(([each]) => each);
}

export const noSuchSnapshot = (instance: InstanceId, id: SnapshotId): DroverError =>
  new DroverError('not-found', `there is no snapshot ${id} of ${instance}`, {
    subject: { instance, snapshot: id },
  });
