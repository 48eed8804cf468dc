import { DroverError } from '#shared/errors.ts';
import { cleanText } from './words.ts';

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

/** "UPID:NODE:PID:PSTART:STARTTIME:TYPE:ID:USER:", numbers in hex (PVE::UPID). internal: another text. */
export function parseUpid(text: unknown): Upid {
  const form =
    /^UPID:([A-Za-z0-9][A-Za-z0-9-]{0,62}):[0-9A-F]{8}:[0-9A-F]{8,9}:([0-9A-F]{8}):([^:\s]{1,64}):([^:\s]{0,256}):([^:\s]{1,128}):$/i;
  const [, node, startedAt, type, id, user] = (typeof text === 'string' ? form.exec(text) : null) ?? [];
  if (node === undefined || type === undefined || id === undefined || user === undefined) {
    const found = typeof text === 'string' ? JSON.stringify(cleanText(text, 120)) : typeof text;
    throw new DroverError('internal', `wanted a task's id, found ${found}`, { reason: 'garbage' });
  }
  return {
    text: String(text),
    node,
    startedAtMs: Number.parseInt(startedAt ?? '', 16) * 1000,
    type,
    id,
    user,
  };
}
