import {
  type ChannelCredentials,
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type ServiceDefinition,
  makeClientConstructor,
} from '@grpc/grpc-js';
import { deadlineAfter } from '#shared/clock.ts';
import { drained } from '#shared/drained.ts';
import { fromStatus } from '#shared/rpc-errors.ts';
import type { RequestOf, ResponseOf, Service } from '#shared/rpc-server.ts';

export interface CallOptions {
  /** Cancels the call; it then throws unavailable, since what the peer did is not known. */
  readonly signal?: AbortSignal | undefined;
  /** From now, in milliseconds. Calls without one wait for ever. */
  readonly deadlineMs?: number | undefined;
}

export interface Duplex<Request, Response> {
  /** Resolves when the peer has room for more. */
  send(message: Request): Promise<void>;
  /** No more messages from this side. */
  end(): void;
  readonly output: AsyncIterable<Response>;
}

/** A service as promises and async iterables. Every failure is a DroverError. */
export type RpcClient<S extends Service> = {
  readonly [Name in keyof S]: S[Name] extends { requestStream: true }
    ? (options?: CallOptions) => Duplex<RequestOf<S[Name]>, ResponseOf<S[Name]>>
    : S[Name] extends { responseStream: true }
      ? (request: RequestOf<S[Name]>, options?: CallOptions) => AsyncIterable<ResponseOf<S[Name]>>
      : (request: RequestOf<S[Name]>, options?: CallOptions) => Promise<ResponseOf<S[Name]>>;
} & { close(): void };

/** Largest message either way. Bulk goes in streams of small messages. */
export const messageBytesMax = 4 * 1024 * 1024;

type Untyped = Record<string, (...args: unknown[]) => unknown>;

/** A client over its own connection, or over one that another client has already. */
export function createClient<S extends Service>(
  service: S,
  target: string | Client,
  credentials: ChannelCredentials,
  options: ChannelOptions = {},
): RpcClient<S> {
  const Constructor = makeClientConstructor(service as unknown as ServiceDefinition, 'Drover');
  const address = target instanceof Client ? '' : target;
  const client = new Constructor(address, credentials, {
    'grpc.max_receive_message_length': messageBytesMax,
    'grpc.max_send_message_length': messageBytesMax,
    ...(target instanceof Client ? { channelOverride: target.getChannel() } : {}),
    ...options,
  });
  const calls: Record<string, unknown> = { close: () => client.close() };
  const untyped = client as unknown as Untyped;
  for (const [name, method] of Object.entries(service)) {
    const call = (...args: unknown[]): unknown => untyped[name]?.apply(client, args);
    if (method.requestStream) calls[name] = (opts: CallOptions = {}) => duplex(call, opts);
    else if (method.responseStream)
      calls[name] = (request: unknown, opts: CallOptions = {}) => serverStream(call, request, opts);
    else calls[name] = (request: unknown, opts: CallOptions = {}) => unary(call, request, opts);
  }
  return calls as RpcClient<S>;
}

type AnyCall = (...args: unknown[]) => unknown;
type Cancellable = { cancel(): void };

function unary(call: AnyCall, request: unknown, options: CallOptions): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const started = call(request, callOptions(options), (error: unknown, response: unknown) => {
      release();
      if (error) reject(fromStatus(error));
      else resolve(response);
    }) as Cancellable;
    const release = cancelOn(options.signal, started);
  });
}

async function* serverStream(call: AnyCall, request: unknown, options: CallOptions): AsyncGenerator<unknown> {
  const stream = call(request, callOptions(options)) as ClientReadableStream<unknown>;
  yield* readAll(stream, cancelOn(options.signal, stream));
}

/** Ends the call whichever way the reader leaves. */
async function* readAll(stream: ClientReadableStream<unknown>, release: () => void): AsyncGenerator<unknown> {
  // A reader that has left must not turn the cancel's own error into an uncaught one.
  stream.on('error', () => {});
  try {
    for await (const message of stream) yield message;
  } catch (error) {
    throw fromStatus(error);
  } finally {
    release();
    stream.cancel();
  }
}

function duplex(call: AnyCall, options: CallOptions): Duplex<unknown, unknown> {
  const stream = call(callOptions(options)) as ClientDuplexStream<unknown, unknown>;
  const release = cancelOn(options.signal, stream);
  const output = readAll(stream, release);
  return {
    output,
    send: async (message) => {
      if (stream.writableEnded || stream.destroyed) return;
      if (!stream.write(message)) await drained(stream);
    },
    end: () => stream.end(),
  };
}

function callOptions({ deadlineMs }: CallOptions): object {
  return deadlineMs === undefined ? {} : { deadline: deadlineAfter(deadlineMs) };
}

function cancelOn(signal: AbortSignal | undefined, call: Cancellable): () => void {
  if (signal === undefined) return () => {};
  const cancel = (): void => call.cancel();
  if (signal.aborted) cancel();
  signal.addEventListener('abort', cancel, { once: true });
  return () => signal.removeEventListener('abort', cancel);
}
