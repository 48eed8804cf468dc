import type { SnapshotId, VolumeId } from '#shared/model.ts';
import type { Dataset } from './zfs-tool.ts';
import type { IdRange } from './volume-driver.ts';

/**
 * What tells our datasets from others': user properties that are set on them, in the same call that makes
 * them. Children inherit user properties, so one counts only where it is set itself. Texts are base64url:
 * tools print values as they are, line breaks included.
 */
export const mark = {
  kind: 'drover:kind',
  id: 'drover:id',
  /** "BASE-SIZE", or "BASE-SIZE-from-BASE-SIZE" while some files have the older owners still. */
  range: 'drover:range',
  image: 'drover:image',
  snapshot: 'drover:snapshot',
  notes: ['drover:note0', 'drover:note1'],
  /** On a volume: the snapshot that is being received into it. */
  receiving: 'drover:receiving',
  mountRoot: 'drover:mount-root',
  written: 'drover:written',
} as const;

export type VolumeKind = 'root' | 'data';

export const volumeProperties = [
  mark.kind,
  mark.id,
  mark.range,
  mark.image,
  mark.receiving,
  mark.snapshot,
  'refquota',
  'userrefs',
  'origin',
  'type',
] as const;
export const snapshotProperties = [
  mark.snapshot,
  mark.range,
  ...mark.notes,
  'creation',
  'used',
  'createtxg',
] as const;

export interface RangeMark {
  readonly range: IdRange;
  readonly from: IdRange | undefined;
}

const formatIds = ({ base, size }: IdRange): string => `${base}-${size}`;
export const formatRange = (range: IdRange, from?: IdRange): string =>
  from === undefined ? formatIds(range) : `${formatIds(range)}-from-${formatIds(from)}`;

export function parseRange(text: string | undefined): RangeMark | undefined {
  const match = /^(\d{1,10})-(\d{1,10})(?:-from-(\d{1,10})-(\d{1,10}))?$/.exec(text ?? '');
  if (match === null) return undefined;
  const [base, size] = [Number(match[1]), Number(match[2])];
  const from = match[3] === undefined ? undefined : { base: Number(match[3]), size: Number(match[4]) };
  return { range: { base, size }, from };
}

export const isSameRange = (one: IdRange, other: IdRange): boolean =>
  one.base === other.base && one.size === other.size;

export const encodeText = (text: string): string => Buffer.from(text).toString('base64url');
export const decodeText = (text: string): string => Buffer.from(text, 'base64url').toString();

const noteChars = 800;

/** A note in as many properties as it needs; older ZFS takes about a kilobyte in each. */
export function noteMarks(note: string): string[] {
  const text = encodeText(note);
  return mark.notes
    .map((property, place) => [property, text.slice(place * noteChars, (place + 1) * noteChars)] as const)
    .filter(([, part]) => part !== '')
    .map(([property, part]) => `${property}=${part}`);
}

export const noteOf = (dataset: Dataset): string =>
  decodeText(mark.notes.map((property) => dataset.local(property) ?? '').join(''));

export const snapshotMarks = (id: SnapshotId, note: string, range: string): string[] => [
  ...noteMarks(note),
  `${mark.range}=${range}`,
  `${mark.snapshot}=${id}`,
];

export const volumeMarks = (volume: {
  readonly kind: VolumeKind;
  readonly id: VolumeId;
  readonly range: string;
  readonly image: string;
}): string[] => [
  `${mark.kind}=${volume.kind}`,
  `${mark.id}=${volume.id}`,
  `${mark.range}=${volume.range}`,
  ...(volume.image === '' ? [] : [`${mark.image}=${volume.image}`]),
];

const mib = 1024 * 1024;
export const formatQuota = (diskMib: number): string => `refquota=${diskMib === 0 ? 'none' : `${diskMib}M`}`;
export const parseQuotaMib = (value: string | undefined): number => Math.round(Number(value ?? 0) / mib) || 0;
