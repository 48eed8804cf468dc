import { type FileHandle, open } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import { unlessStalled } from './stall.ts';

export interface WebOptions {
  readonly clock: Clock;
  /** Whether a host ("host:port") may be asked without TLS. */
  readonly isInsecure: (host: string) => boolean;
  /** An answer of which nothing comes for this long is given up. */
  readonly stallMs: number;
}

export interface Download {
  readonly url: string;
  /** Written anew. */
  readonly file: string;
  readonly maxBytes: number;
  /** Undefined while unknown; another size is data-loss. */
  readonly sizeBytes: number | undefined;
  readonly onBytes: (done: number, total: number) => void;
}

/**
 * Fetches from web servers; TLS is verified, and what is too long is cut off. not-found, permission-denied,
 * unavailable, deadline-exceeded (stalled), data-loss (another size than was announced), resource-exhausted
 * (above the limit).
 */
export interface Web {
  readText(url: string, maxBytes: number, signal: AbortSignal): Promise<string>;
  /** A connection that breaks is taken up again where it was, as long as each attempt brings something. */
  download(request: Download, signal: AbortSignal): Promise<void>;
}

const maxRedirects = 5;
const maxAttempts = 5;

/** The one door to node:http and node:https in the agent. */
export function createWeb({ clock, isInsecure, stallMs }: WebOptions): Web {
  function checkUrl(text: string, from?: URL): URL {
    const url = new URL(text, from);
    const subject = { image: url.host };
    if (url.protocol === 'https:') return url;
    if (url.protocol === 'http:' && from?.protocol !== 'https:' && isInsecure(url.host)) return url;
    const nextStep = 'use https, or add the host to insecureImageServers of the agent';
    throw new DroverError('permission-denied', `${url.host} may not be asked over ${url.protocol}//`, {
      subject,
      nextStep,
    });
  }

  async function get(text: string, fromByte: number, signal: AbortSignal): Promise<http.IncomingMessage> {
    let url = checkUrl(text);
    for (let count = 0; count <= maxRedirects; count += 1) {
      const answer = await ask(url, fromByte, signal);
      const { statusCode = 0, headers } = answer;
      if (![301, 302, 303, 307, 308].includes(statusCode) || headers.location === undefined) return answer;
      answer.destroy();
      url = checkUrl(headers.location, url);
    }
    throw new DroverError('unavailable', `${url.host} sends from one place to the next without end`);
  }

  /** From where the file ends; gives where it ends then. */
  async function fetchPart(
    handle: FileHandle,
    request: Download,
    part: { readonly fromByte: number; readonly onBytes: Download['onBytes'] },
    signal: AbortSignal,
  ): Promise<number> {
    const { url, maxBytes, sizeBytes } = request;
    const answer = await get(url, part.fromByte, signal);
    const destroy = (): void => void answer.destroy(signal.reason);
    signal.addEventListener('abort', destroy, { once: true });
    try {
      let done = checkAnswer(answer, url, part.fromByte);
      const length = Number(answer.headers['content-length'] ?? Number.NaN);
      const total = sizeBytes ?? (Number.isSafeInteger(length) ? done + length : 0);
      const most = Math.min(maxBytes, sizeBytes ?? maxBytes);
      if (total > maxBytes) throw tooLong(url, maxBytes);
      for await (const chunk of answer as AsyncIterable<Buffer>) {
        if (done + chunk.length > most) throw tooLong(url, most);
        await handle.write(chunk, 0, chunk.length, done);
        done += chunk.length;
        part.onBytes(done, total);
      }
      await handle.truncate(done);
      return done;
    } finally {
      signal.removeEventListener('abort', destroy);
      answer.destroy();
    }
  }

  async function download(request: Download, signal: AbortSignal): Promise<void> {
    await using handle = await open(request.file, 'w', 0o600);
    let done = 0;
    for (let attempt = 1, whole = false; !whole; attempt += 1) {
      const fromByte = done;
      const onBytes = (now: number, total: number): void => {
        done = now;
        request.onBytes(now, total);
      };
      try {
        done = await fetchPart(handle, request, { fromByte, onBytes }, signal);
        whole = true;
      } catch (error) {
        if (signal.aborted || attempt === maxAttempts || done <= fromByte || !isBroken(error)) {
          throw webError(error, request.url, signal);
        }
      }
    }
    if (request.sizeBytes === undefined || done === request.sizeBytes) return;
    throw new DroverError('data-loss', `${request.url}: wanted ${request.sizeBytes} bytes, found ${done}`);
  }

  async function readText(url: string, maxBytes: number, signal: AbortSignal): Promise<string> {
    const parts: Buffer[] = [];
    let bytes = 0;
    const read = async (own: AbortSignal): Promise<void> => {
      const answer = await get(url, 0, own);
      const destroy = (): void => void answer.destroy(own.reason);
      own.addEventListener('abort', destroy, { once: true });
      try {
        checkAnswer(answer, url, 0);
        for await (const chunk of answer as AsyncIterable<Buffer>) {
          bytes += chunk.length;
          if (bytes > maxBytes) throw tooLong(url, maxBytes);
          parts.push(chunk);
        }
      } catch (error) {
        throw webError(error, url, own);
      } finally {
        own.removeEventListener('abort', destroy);
        answer.destroy();
      }
    };
    const watch = { clock, signal, stallMs, measure: async () => bytes, onMeasured: () => undefined };
    await unlessStalled(read, watch);
    return Buffer.concat(parts).toString('utf8');
  }

  return {
    readText,
    async download(request, signal) {
      let [seen, announced] = [0, 0];
      const onBytes = (done: number, total: number): void => {
        [seen, announced] = [done, total];
      };
      // A few times a second is enough for whoever looks on.
      const onMeasured = (measured: number): void => request.onBytes(measured, announced);
      const watch = { clock, signal, stallMs, measure: async () => seen, onMeasured };
      await unlessStalled((own) => download({ ...request, onBytes }, own), watch);
      request.onBytes(seen, announced);
    },
  };
}

function ask(url: URL, fromByte: number, signal: AbortSignal): Promise<http.IncomingMessage> {
  const headers = {
    'user-agent': 'drover',
    'accept-encoding': 'identity',
    ...(fromByte > 0 && { range: `bytes=${fromByte}-` }),
  };
  return new Promise((resolve, reject) => {
    const { get } = url.protocol === 'https:' ? https : http;
    const request = get(url, { headers, signal, agent: false, maxHeaderSize: 32_768 }, resolve);
    request.on('error', reject);
  });
}

/** Where in the file the answer begins: a server that knows no ranges sends the whole again. */
function checkAnswer(answer: http.IncomingMessage, url: string, fromByte: number): number {
  const { statusCode = 0, headers } = answer;
  if (statusCode === 200) return 0;
  if (statusCode === 206) {
    const start = Number(/^bytes (\d{1,15})-/.exec(headers['content-range'] ?? '')?.[1] ?? Number.NaN);
    if (start === fromByte) return start;
    throw new DroverError('unavailable', `${url}: asked from byte ${fromByte} on, got another part`);
  }
  const message = `${url} answered ${statusCode}`;
  if (statusCode === 404 || statusCode === 410) throw new DroverError('not-found', message);
  if (statusCode === 401 || statusCode === 403) throw new DroverError('permission-denied', message);
  throw new DroverError('unavailable', message);
}

const tooLong = (url: string, maxBytes: number): DroverError =>
  new DroverError('resource-exhausted', `${url} sends more than ${maxBytes} bytes`);

/** Whether to go on where it broke off: our own refusals are final. */
const isBroken = (error: unknown): boolean => !(error instanceof DroverError) && !isLocal(error);

const isLocal = (error: unknown): boolean =>
  ['ENOSPC', 'EDQUOT', 'EIO'].includes((error as NodeJS.ErrnoException).code ?? '');

function webError(error: unknown, url: string, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof DroverError || isLocal(error)) return error;
  const { host } = new URL(url);
  const { code = '', message } = error as NodeJS.ErrnoException;
  const nextStep = /CERT|SELF_SIGNED|UNABLE_TO_|ALTNAME/.test(code)
    ? 'name the authority of its certificate in NODE_EXTRA_CA_CERTS of the agent'
    : 'try again later';
  return new DroverError('unavailable', `${host} cannot be reached: ${message || code}`, {
    cause: error,
    nextStep,
  });
}
