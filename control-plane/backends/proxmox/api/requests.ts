import { DroverError } from '#shared/errors.ts';
import { Readable } from 'node:stream';
import type { UploadFile } from '../cluster-api.ts';
import type { EncodedCall } from '../schema/encode.ts';
import type { MethodName } from '../schema/methods.ts';

/** A request, but for what lets it in. */
export interface HttpRequest {
  readonly name: MethodName;
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  /** A stream begins anew each time. */
  readonly body: string | (() => Readable) | undefined;
  readonly write: boolean;
  readonly answerLimitBytes: number;
}

const root = '/api2/json';
/** AnyEvent.pm: limit_max_post, and limit_max_header_size less what other headers take. */
const bodyLimitBytes = 512 * 1024;
const pathLimitBytes = 7000;
const answerLimitBytes = 8 * 1024 * 1024;
/** What grows with the cluster. */
const longAnswers: ReadonlySet<string> = new Set(['GET /cluster/resources', 'GET /cluster/tasks']);
const longAnswerLimitBytes = 64 * 1024 * 1024;

const encode = (text: string): string =>
  encodeURIComponent(text.toWellFormed()).replace(
    /[!'()*]/g,
    (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`,
  );

/**
 * Parameters of GET and DELETE go into the query, those of POST and PUT into a form: the API takes nothing
 * else. invalid-argument: longer than it takes; nothing was sent.
 */
export function requestOf(name: MethodName, { path, pairs }: EncodedCall): HttpRequest {
  const method = name.slice(0, name.indexOf(' ')) as HttpRequest['method'];
  const form = pairs.map(([key, value]) => `${encode(key)}=${encode(value)}`).join('&');
  const inBody = method === 'POST' || method === 'PUT';
  const query = inBody || form === '' ? '' : `?${form}`;
  const request: HttpRequest = {
    name,
    method,
    path: `${root}${path}${query}`,
    headers: inBody ? { 'content-type': 'application/x-www-form-urlencoded' } : {},
    body: inBody ? form : undefined,
    write: method !== 'GET',
    answerLimitBytes: longAnswers.has(name) ? longAnswerLimitBytes : answerLimitBytes,
  };
  if (request.path.length > pathLimitBytes)
    refuse(name, 'a query', pathLimitBytes, request.path.length, pairs);
  // Percent-encoded, so of one byte a character.
  if (inBody && form.length > bodyLimitBytes) refuse(name, 'a form', bodyLimitBytes, form.length, pairs);
  return request;
}

function refuse(
  name: string,
  what: string,
  limit: number,
  found: number,
  pairs: EncodedCall['pairs'],
): never {
  const longest = pairs.toSorted((one, other) => other[1].length - one[1].length)[0]?.[0] ?? '';
  throw new DroverError(
    'invalid-argument',
    `${name} takes ${what} of up to ${limit} bytes, found ${found}; the longest part is ${longest}`,
    { reason: 'too-long', subject: { method: name, field: longest, acted: 'no' } },
  );
}

/**
 * Multipart, with the fields before the file and a length that is known: the API takes no other. The bytes
 * are read as they are sent. invalid-argument: a name that the form cannot carry, or a file of another length
 * than was said.
 */
export function uploadOf(
  path: string,
  fields: readonly (readonly [name: string, value: string])[],
  file: UploadFile,
  boundary: string,
): HttpRequest {
  if (!/^[A-Za-z0-9][A-Za-z0-9._+-]{0,254}$/.test(file.name)) {
    throw new DroverError(
      'invalid-argument',
      `a file's name has letters, digits and . _ + - only, found ${JSON.stringify(file.name.slice(0, 80))}`,
      { subject: { field: 'filename', acted: 'no' } },
    );
  }
  const texts = fields.map(
    ([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  const head = Buffer.from(
    `${texts.join('')}--${boundary}\r\nContent-Disposition: form-data; name="filename"; ` +
      `filename="${file.name}"\r\nContent-Type: application/octet-stream\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  return {
    name: 'POST /nodes/{node}/storage/{storage}/upload',
    method: 'POST',
    path: `${root}${path}`,
    headers: {
      'content-type': `multipart/form-data; boundary=${boundary}`,
      'content-length': String(head.length + file.bytes + tail.length),
    },
    body: () => Readable.from(partsOf(head, file, tail), { objectMode: false }),
    write: true,
    answerLimitBytes,
  };
}

async function* partsOf(head: Buffer, file: UploadFile, tail: Buffer): AsyncGenerator<Uint8Array> {
  yield head;
  let sent = 0;
  for await (const chunk of file.open()) {
    sent += chunk.length;
    if (sent > file.bytes) throw otherLength(file, `more than that`);
    yield chunk;
  }
  if (sent !== file.bytes) throw otherLength(file, `${sent}`);
  yield tail;
}

const otherLength = (file: UploadFile, found: string): DroverError =>
  new DroverError('invalid-argument', `${file.name}: wanted ${file.bytes} bytes, found ${found}`, {
    reason: 'length',
    subject: { field: file.name },
  });
