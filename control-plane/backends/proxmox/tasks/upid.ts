import { DroverError } from '#shared/errors.ts';
import { cleanText } from '../api/words.ts';

/** What a task's id tells. */
export interface Upid {
  readonly text: string;
  /** Where it runs: not always the node that was asked for it. */
  readonly node: string;
  readonly startedAtMs: number;
  /** "vzstart". */
  readonly type: string;
  /** The VMID, the storage, or nothing. */
  readonly id: string;
  /** "drover@pve!fleet". */
  readonly user: string;
}

/** Whether what was asked for is done by a task. */
export const isUpid = (answer: unknown): answer is string =>
  typeof answer === 'string' && answer.startsWith('UPID:');

/** How tasks of guests are called: "vzreboot" of a container, "qmreboot" of a machine. */
export const taskTypeOf = (kind: 'lxc' | 'qemu', what: string): string =>
  `${kind === 'lxc' ? 'vz' : 'qm'}${what}`;

const hex = /^[0-9A-Fa-f]{8,9}$/;
const forms = [
  /^UPID$/,
  /^[A-Za-z0-9][A-Za-z0-9-]{0,62}$/,
  hex,
  hex,
  hex,
  /^\S{1,64}$/,
  /^\S{0,256}$/,
  /^\S{1,128}$/,
  /^$/,
];

/** "UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER:", numbers in hex (PVE::UPID). internal: another text. */
export function parseUpid(text: unknown): Upid {
  const parts = typeof text === 'string' && text.length < 1000 ? text.split(':') : [];
  if (parts.length !== forms.length || !forms.every((form, place) => form.test(parts[place] ?? ''))) {
    const found = typeof text === 'string' ? JSON.stringify(cleanText(text, 120)) : typeof text;
    throw new DroverError('internal', `wanted a task's id, found ${found}`, { reason: 'garbage' });
  }
  const [, node = '', , , startedAt = '', type = '', id = '', user = ''] = parts;
  return { text: String(text), node, startedAtMs: Number.parseInt(startedAt, 16) * 1000, type, id, user };
}
