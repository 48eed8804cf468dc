import type { InstanceId, SnapshotId, SnapshotKind, VolumeId } from '#shared/model.ts';

/** What stands in a snapshot's description, so that it is found again as ours. */
interface Note {
  readonly id: SnapshotId;
  readonly name: string;
  readonly kind: SnapshotKind;
  readonly generation: number;
  readonly instanceId: InstanceId;
  readonly claims: readonly { readonly volumeId: VolumeId; readonly name: string }[];
}

const kinds: readonly SnapshotKind[] = ['manual', 'hourly', 'daily', 'weekly', 'before-update'];

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
