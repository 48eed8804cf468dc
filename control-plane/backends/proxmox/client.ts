import { type Dispatcher, Pool, WebSocket } from 'undici';
import { DroverError } from '#shared/errors.ts';
import type { Address } from './api/addresses.ts';
import type { Answer } from './api/answers.ts';
import type { OpenPinned } from './api/certificates.ts';
import { createByteQueue } from './api/byte-queue.ts';
import type { ByteSocket } from './cluster-api.ts';
import type { HttpRequest } from './api/requests.ts';

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

/** What may wait to be sent: a person types less. */
const mostUnsentBytes = 1024 * 1024;

/**
 * A websocket over a connection of its own. The signal ends the opening alone. pveproxy ends a connection
 * whose frames are longer than 128 KiB or in pieces: so long is nothing that is sent here.
 */
export async function openByteSocket(
  address: Address,
  { path, headers, name }: Pick<HttpRequest, 'path' | 'headers' | 'name'>,
  open: OpenPinned,
  signal: AbortSignal,
): Promise<ByteSocket> {
  const dispatcher = poolOf(address, open);
  const url = `wss://${address.address}${path}`;
  const socket = new WebSocket(url, { dispatcher, headers, protocols: ['binary'] });
  socket.binaryType = 'arraybuffer';
  const received = createByteQueue();
  const opened = Promise.withResolvers<void>();
  socket.onopen = () => opened.resolve();
  socket.onmessage = ({ data }) => received.put(new Uint8Array(data as ArrayBuffer));
  socket.onerror = ({ error }) => opened.reject(notOpened(name, error));
  socket.onclose = () => {
    opened.reject(notOpened(name, undefined));
    received.end();
    void dispatcher.destroy();
  };
  const giveUp = (): void => opened.reject(signal.reason as Error);
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    await opened.promise;
  } catch (error) {
    socket.close();
    void dispatcher.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
  return {
    received: received.read(),
    send(data) {
      if (socket.readyState !== WebSocket.OPEN)
        throw new DroverError('failed-precondition', `${name}: the connection has ended`);
      if (socket.bufferedAmount > mostUnsentBytes)
        throw new DroverError('resource-exhausted', `${name}: the other side takes no more`);
      socket.send(data);
    },
    close: () => {
      received.end();
      socket.close();
      void dispatcher.destroy();
    },
  };
}

function notOpened(name: string, cause: unknown): DroverError {
  for (let error = cause; error instanceof Error; error = error.cause)
    if (error instanceof DroverError) return error;
  return new DroverError('unavailable', `${name}: the cluster did not open the connection`, {
    reason: 'connection',
    cause,
  });
}
