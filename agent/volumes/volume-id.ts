import { DroverError } from '#shared/errors.ts';
import type { SnapshotId, VolumeId } from '#shared/model.ts';
import type { SnapshotNote } from './volume-driver.ts';

const idText = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
/** Version 8 where the control plane derives it from a request, so that a repeated one says the same. */
const snapshotText = /^[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const maxNoteBytes = 900;

export const isVolumeId = (text: string): text is VolumeId => idText.test(text);
export const isSnapshotId = (text: string): text is SnapshotId => snapshotText.test(text);

/** The last line before paths and tools: ids are checked again. invalid-argument. */
export function checkVolumeId(id: VolumeId): VolumeId {
  if (isVolumeId(id)) return id;
  throw new DroverError('invalid-argument', `not a volume id: ${JSON.stringify(String(id).slice(0, 100))}`);
}

/** invalid-argument. */
export function checkSnapshotId(id: SnapshotId): SnapshotId {
  if (isSnapshotId(id)) return id;
  throw new DroverError('invalid-argument', `not a snapshot id: ${JSON.stringify(String(id).slice(0, 100))}`);
}

/** invalid-argument. */
export function checkNote(note: SnapshotNote): SnapshotNote {
  const bytes = Buffer.byteLength(note);
  if (bytes <= maxNoteBytes) return note;
  throw new DroverError('invalid-argument', `a note of ${bytes} bytes; at most ${maxNoteBytes} fit`);
}

export const noVolume = (id: VolumeId): DroverError =>
  new DroverError('not-found', `no volume ${id} in this pool`, { subject: { volume: id } });

export const noSnapshot = (id: VolumeId, snapshot: SnapshotId): DroverError =>
  new DroverError('not-found', `volume ${id} has no snapshot ${snapshot}`, {
    subject: { volume: id, snapshot },
  });

export const isTaken = (id: VolumeId): DroverError =>
  new DroverError('already-exists', `there is a volume ${id} already`, { subject: { volume: id } });

export const otherNote = (id: VolumeId, snapshot: SnapshotId): DroverError =>
  new DroverError('already-exists', `volume ${id} has a snapshot ${snapshot} with another note`, {
    subject: { volume: id, snapshot },
  });

export const isMountedStill = (id: VolumeId): DroverError =>
  new DroverError('failed-precondition', `volume ${id} is mounted; it must be released first`, {
    subject: { volume: id },
  });
