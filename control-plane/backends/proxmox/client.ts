import { type Dispatcher, Pool } from 'undici';
import { DroverError } from '#shared/errors.ts';
import type { Address } from './addresses.ts';
import type { Answer } from './answers.ts';
import type { OpenPinned } from './certificates.ts';
import type { HttpRequest } from './requests.ts';

/** pveproxy ends a connection after 5 s of silence, and after 100 requests. */
const keepAliveMs = 4000;
const requestsPerConnection = 100;
const connectionsPerEndpoint = 16;

/** HTTP with one server, over the connections that it is given. */
export interface HttpClient {
  /**
   * One request and its answer. unavailable, reason "connection": none came; `acted` in the subject says
   * 'no' where nothing was sent. internal, reason "answer-size". The signal's reason, where it ended first
   * and something was sent.
   */
  send(request: HttpRequest, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Answer>;
  /** Ends when what is under way has ended. */
  retire(): Promise<void>;
  /** Ends now; what is under way fails of the error. */
  destroy(error: Error): Promise<void>;
}

export function httpClient(address: Address, open: OpenPinned): HttpClient {
  const pool = poolOf(address, open);
  return {
    send: (request, headers, signal) => exchange(pool, request, headers, signal),
    retire: () => pool.close(),
    destroy: (error) => pool.destroy(error),
  };
}

function poolOf(address: Address, open: OpenPinned): Pool {
  const never = new AbortController().signal;
  return new Pool(`https://${address.address}`, {
    connections: connectionsPerEndpoint,
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: keepAliveMs,
    keepAliveMaxTimeout: keepAliveMs,
    maxRequestsPerClient: requestsPerConnection,
    // The signal ends a call: it follows the clock.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: (_where, callback) => {
      open(address, never).then(
        (socket) => callback(null, socket),
        (error: Error) => callback(error, null),
      );
    },
  });
}

/** One request and its answer on one connection. Errors say in `acted` where nothing was sent. */
function exchange(
  pool: Pool,
  request: HttpRequest,
  headers: Readonly<Record<string, string>>,
  limit: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    if (limit.aborted) return reject(notSent(request, limit.reason));
    let controller: Dispatcher.DispatchController | undefined;
    let head: Omit<Answer, 'body'> | undefined;
    let size = 0;
    const chunks: Buffer[] = [];
    const settle = (end: () => void): void => {
      limit.removeEventListener('abort', giveUp);
      end();
    };
    const giveUp = (): void => {
      const reason = limit.reason as Error;
      settle(() => reject(controller === undefined ? notSent(request, reason) : reason));
      controller?.abort(reason);
    };
    limit.addEventListener('abort', giveUp, { once: true });
    const body = typeof request.body === 'function' ? request.body() : (request.body ?? null);
    pool.dispatch(
      { path: request.path, method: request.method, headers: { ...request.headers, ...headers }, body },
      {
        onRequestStart(started) {
          // Given up while it waited for a connection: it must not be sent any more.
          if (limit.aborted) return started.abort(limit.reason as Error);
          controller = started;
        },
        onResponseStart(_controller, status, received, reason = '') {
          const type = received['content-type'];
          if (status >= 200) head = { status, reason, contentType: typeof type === 'string' ? type : '' };
        },
        onResponseData(started, chunk) {
          size += chunk.length;
          if (size > request.answerLimitBytes) started.abort(tooLong(request));
          else chunks.push(chunk);
        },
        onResponseEnd() {
          const known = head ?? { status: 0, reason: '', contentType: '' };
          settle(() => resolve({ ...known, body: Buffer.concat(chunks) }));
        },
        onResponseError(_controller, error) {
          settle(() => reject(controller === undefined ? error : cutShort(request, error)));
        },
      },
    );
  });
}

const notSent = (request: HttpRequest, cause: unknown): DroverError =>
  new DroverError('unavailable', `${request.name} was given up before it was sent`, {
    reason: 'connection',
    subject: { acted: 'no' },
    cause,
  });

const tooLong = ({ name, answerLimitBytes }: HttpRequest): DroverError =>
  new DroverError('internal', `${name}: wanted an answer of up to ${answerLimitBytes} bytes, found more`, {
    reason: 'answer-size',
    subject: { method: name },
  });

function cutShort({ name }: HttpRequest, error: Error): DroverError {
  if (error instanceof DroverError) return error;
  return new DroverError('unavailable', `${name}: the connection was lost before the answer came`, {
    reason: 'connection',
    subject: { method: name },
    nextStep: 'what it did is unknown: look at the tasks of the node and at the guest',
    cause: error,
  });
}
