import type { InstanceId } from '#shared/model.ts';
import type { GuestMark } from '../guests/guest-kind.ts';

/** Whose a guest is, as its description tells. */
export interface Mark {
  readonly instanceId: InstanceId;
  readonly fleetId: string;
  /** Of the control plane that wrote it; zero: from before there were any. */
  readonly epoch: number;
  readonly project: string;
  readonly workload: string;
  /** The number it was made under: a clone or a restored copy has another one. */
  readonly vmid: number;
  readonly generation: number;
}

const tagStart = 'drover-';
const lineStart = 'drover:instance=';

/** The tag of an instance's guest: the last twelve digits of its id are its random tail. */
export const tagOf = (instanceId: string): string => `${tagStart}${instanceId.slice(-12)}`;

/** One that names an instance of a fleet. */
export const isOurTag = (tag: string): boolean => /^drover-[0-9a-f]{12}$/.test(tag);

const epochStart = 'drover-e';
const epochPattern = /^drover-e([1-9]\d{0,8})$/;

/**
 * Tells the list of all guests that a newer control plane of a fleet has them. None is older than the first
 * epoch, so that needs none.
 */
export const epochTagOf = (epoch: number): string | undefined =>
  epoch > 1 ? `${epochStart}${epoch}` : undefined;

/** The highest that these tell of; zero: none. */
export const epochAmong = (tags: readonly string[]): number =>
  Math.max(0, ...tags.map((tag) => Number(epochPattern.exec(tag)?.[1] ?? 0)));

/** Whatever we write. */
export const isMarkTag = (tag: string): boolean => isOurTag(tag) || epochPattern.test(tag);

/** All tags of a mark. */
export const tagsOfMark = ({ tag, epochTag }: GuestMark): string[] =>
  epochTag === undefined ? [tag] : [tag, epochTag];

/** Names are encoded: whatever they are, the line has its parts where they belong. */
export function markOf(mark: Mark): GuestMark {
  const workload = `${encodeURIComponent(mark.project)}/${encodeURIComponent(mark.workload)}`;
  const line =
    `${lineStart}${mark.instanceId} fleet=${encodeURIComponent(mark.fleetId)} epoch=${mark.epoch}` +
    ` workload=${workload} vmid=${mark.vmid} generation=${mark.generation}`;
  const epochTag = epochTagOf(mark.epoch);
  return { tag: tagOf(mark.instanceId), line, ...(epochTag !== undefined && { epochTag }) };
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The last mark of a description; undefined: there is none. */
export function readMark(description: string): Mark | undefined {
  const line = linesOf(description).findLast((each) => each.startsWith(lineStart));
  if (line === undefined) return undefined;
  const parts = new Map(line.slice('drover:'.length).split(' ').map(splitAtEquals));
  const [project = '', workload = ''] = (parts.get('workload') ?? '').split('/').map(decoded);
  const instanceId = parts.get('instance') ?? '';
  if (!uuid.test(instanceId)) return undefined;
  return {
    instanceId: instanceId as InstanceId,
    fleetId: decoded(parts.get('fleet') ?? ''),
    epoch: wholeOf(parts.get('epoch')),
    project,
    workload,
    vmid: wholeOf(parts.get('vmid')),
    generation: wholeOf(parts.get('generation')),
  };
}

/** The description with this mark alone, as its last line. */
export const withMark = (description: string, { line }: GuestMark): string => {
  const rest = withoutMark(description);
  return rest === '' ? line : `${rest}\n${line}`;
};

export const withoutMark = (description: string): string =>
  linesOf(description)
    .filter((line) => !line.startsWith(lineStart))
    .join('\n')
    .trimEnd();

/** Tags come separated by whatever the version and the client preferred. */
export const parseTags = (text: unknown): string[] =>
  typeof text === 'string' ? text.split(/[;,\s]/).filter((tag) => tag !== '') : [];

export const withTags = (tags: readonly string[], mark: GuestMark): string =>
  [...tags.filter((each) => !isMarkTag(each)), ...tagsOfMark(mark)].join(';');

export const withoutTags = (tags: readonly string[]): string =>
  tags.filter((each) => !isMarkTag(each)).join(';');

const linesOf = (text: string): string[] => text.split('\n');

function splitAtEquals(part: string): [string, string] {
  const at = part.indexOf('=');
  return at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)];
}

/** What is no encoding of ours stands for itself. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const wholeOf = (text: string | undefined): number => {
  const value = Number(text);
  return Number.isSafeInteger(value) && value > 0 ? value : 0;
};
