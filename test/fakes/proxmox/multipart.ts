/** Uploads: fields first, then one file named "filename". */
import { createHash } from 'node:crypto';
import type { UploadedFile } from './route.ts';

export interface Multipart {
  readonly fields: Readonly<Record<string, string>>;
  readonly file: UploadedFile;
}

const keptBytes = 1024 ** 2;

/** The only fields, in the only order: each is looked for once, at the beginning of what is left. */
const fieldOrder = ['content', 'checksum-algorithm', 'checksum'];

/**
 * Undefined where Proxmox hangs up without an answer: no file part named "filename" with a content type,
 * or other fields before it, or in another order. Fields after the file are not read.
 */
export function parseMultipart(body: Buffer, boundary: string): Multipart | undefined {
  const fields: Record<string, string> = {};
  const delimiter = Buffer.from(`--${boundary}`);
  let order = fieldOrder;
  let at = body.indexOf(delimiter);
  while (at >= 0) {
    const begin = at + delimiter.length + 2;
    const headEnd = body.indexOf('\r\n\r\n', begin);
    if (headEnd < 0) return undefined;
    const head = body.toString('utf8', begin, headEnd);
    const name = /[; ]name="([^"]*)"/.exec(head)?.[1];
    const filename = /filename="([^"]*)"/.exec(head)?.[1];
    const next = body.indexOf(Buffer.from(`\r\n--${boundary}`), headEnd + 4);
    if (name === undefined || next < 0) return undefined;
    const content = body.subarray(headEnd + 4, next);
    if (filename === undefined) {
      if (!order.includes(name)) return undefined;
      order = order.slice(order.indexOf(name) + 1);
      fields[name] = content.toString('utf8').trim();
    } else
      return name === 'filename' && /content-type:/i.test(head)
        ? { fields, file: fileOf(filename, content) }
        : undefined;
    at = next + 2;
  }
  return undefined;
}

function fileOf(filename: string, content: Buffer): UploadedFile {
  return {
    name: 'filename',
    filename,
    bytes: content.length,
    sha256: createHash('sha256').update(content).digest('hex'),
    content: content.length <= keptBytes ? Uint8Array.from(content) : new Uint8Array(),
  };
}
