import type { InstanceId, Snapshot, SnapshotId, SnapshotKind, VolumeId } from '#shared/model.ts';
import type { FoundSnapshot, SnapshotNote } from '../volumes/volume-driver.ts';

/**
 * What is written beside each volume's part of a snapshot, so that the whole is found again from its parts.
 */
export interface Note {
  readonly name: string;
  readonly kind: SnapshotKind;
  readonly instanceId: InstanceId;
  readonly generation: number;
  /** How many volumes it has. */
  readonly parts: number;
  readonly createdAtMs: number;
  /** Taken at one moment, without a pause of the guest. */
  readonly atOnce: boolean;
}

const kinds: readonly SnapshotKind[] = ['manual', 'hourly', 'daily', 'weekly', 'before-update'];

export const formatNote = (note: Note): SnapshotNote =>
  JSON.stringify({
    v: 1,
    n: note.name,
    k: note.kind,
    i: note.instanceId,
    g: note.generation,
    c: note.parts,
    t: Math.round(note.createdAtMs),
    a: note.atOnce ? 1 : 0,
  });

/** Undefined: not one of ours, or of a version that we do not know. */
export function parseNote(text: SnapshotNote): Note | undefined {
  let stored: Record<string, unknown>;
  try {
    stored = JSON.parse(text) as Record<string, unknown>;
  } catch {
    return undefined;
  }
  if (stored === null || typeof stored !== 'object') return undefined;
  const { v, n, k, i, g, c, t, a } = stored;
  const kind = kinds.find((each) => each === k);
  const texts = [n, i].every((each) => typeof each === 'string');
  const numbers = [g, c, t].every((each) => Number.isSafeInteger(each));
  if (v !== 1 || kind === undefined || !texts || !numbers) return undefined;
  return {
    name: n as string,
    kind,
    instanceId: i as InstanceId,
    generation: g as number,
    parts: c as number,
    createdAtMs: t as number,
    atOnce: a === 1,
  };
}

/** A snapshot put together from the parts that pools hold. */
export interface FoundSet {
  readonly snapshot: Omit<Snapshot, 'crashInconsistent' | 'pauseMs'>;
  /** All its volumes were there when it was taken, and have their part still. */
  readonly isWhole: boolean;
  readonly atOnce: boolean;
}

/** Oldest first. Parts that are not ours are left out; `nameOf` a data volume: its claim's. */
export function gatherSets(
  found: readonly FoundSnapshot[],
  nameOf: (volumeId: VolumeId) => string,
): FoundSet[] {
  const sets = new Map<
    SnapshotId,
    { note: Note; volumes: { volumeId: VolumeId; name: string; bytes: number }[] }
  >();
  for (const { id, volumeId, note: text, bytes } of found) {
    const note = parseNote(text);
    if (note === undefined) continue;
    const set = sets.get(id) ?? { note, volumes: [] };
    const name = volumeId === note.instanceId ? 'root' : nameOf(volumeId);
    set.volumes.push({ volumeId, name, bytes });
    sets.set(id, set);
  }
  return [...sets]
    .map(([id, { note, volumes }]) => ({
      snapshot: {
        id,
        name: note.name,
        kind: note.kind,
        instanceId: note.instanceId,
        createdAtMs: note.createdAtMs,
        generation: note.generation,
        volumes: volumes.toSorted((a, b) => (rank(a.name) < rank(b.name) ? -1 : 1)),
      },
      isWhole: volumes.length === note.parts,
      atOnce: note.atOnce,
    }))
    .toSorted(
      (a, b) => a.snapshot.createdAtMs - b.snapshot.createdAtMs || (a.snapshot.id < b.snapshot.id ? -1 : 1),
    );
}

/** The root first. */
const rank = (name: string): string => (name === 'root' ? '' : name);
