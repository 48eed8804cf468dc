import { once } from 'node:events';
import type { PeerCertificate } from 'node:tls';
import type {
  Deadline,
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { toStatus } from '#shared/rpc-errors.ts';

/** A service as ts-proto describes it: `typeof RuntimeServiceService`. */
export type Service = Record<string, Method>;
interface Method {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly requestDeserialize: (value: Buffer) => unknown;
  readonly responseDeserialize: (value: Buffer) => unknown;
}
export type RequestOf<M extends Method> = ReturnType<M['requestDeserialize']>;
export type ResponseOf<M extends Method> = ReturnType<M['responseDeserialize']>;

export interface CallContext {
  /** Aborts when the caller goes away or its deadline passes. */
  readonly signal: AbortSignal;
  /** "/drover.fleet.v1.FleetService/Apply". */
  readonly method: string;
  /** The caller's certificate, verified; undefined on a plain socket and for callers without one. */
  readonly peer: PeerCertificate | undefined;
  /** Wall clock, milliseconds since 1970 UTC; undefined where the caller set none. */
  readonly deadlineMs: number | undefined;
}

/** One handler for each method, from parsed messages to messages; a missing one does not compile. */
export type Handlers<S extends Service, Context extends CallContext = CallContext> = {
  readonly [Name in keyof S]: S[Name] extends { requestStream: true }
    ? (requests: AsyncIterable<RequestOf<S[Name]>>, context: Context) => AsyncIterable<ResponseOf<S[Name]>>
    : S[Name] extends { responseStream: true }
      ? (request: RequestOf<S[Name]>, context: Context) => AsyncIterable<ResponseOf<S[Name]>>
      : (request: RequestOf<S[Name]>, context: Context) => Promise<ResponseOf<S[Name]>>;
};

export interface MountOptions<Context extends CallContext> {
  /**
   * Runs before every call: authenticates, authorizes, and gives the handler its context. What it throws is
   * the answer.
   */
  readonly guard: (context: CallContext) => Promise<Context> | Context;
  /** Hears of every call that failed, for the log. */
  readonly onError?: (error: unknown, context: CallContext) => void;
}

type AnyHandler<Context> = (input: unknown, context: Context) => unknown;
type AnyCall = ServerUnaryCall<unknown, unknown> &
  ServerWritableStream<unknown, unknown> &
  ServerDuplexStream<unknown, unknown>;

/**
 * Adds a service to a server: errors, cancellation and back-pressure are dealt with here, once for all
 * methods.
 */
export function mount<S extends Service, Context extends CallContext = CallContext>(
  server: Server,
  service: S,
  handlers: Handlers<S, Context>,
  options: MountOptions<Context>,
): void {
  const implementation: UntypedServiceImplementation = {};
  for (const [name, method] of Object.entries(service)) {
    const handler = handlers[name] as unknown as AnyHandler<Context>;
    implementation[name] = method.responseStream
      ? streamCall(method, handler, options)
      : unaryCall(method, handler, options);
  }
  server.addService(service as unknown as ServiceDefinition, implementation);
}

function unaryCall<Context extends CallContext>(
  method: Method,
  handler: AnyHandler<Context>,
  { guard, onError }: MountOptions<Context>,
): UntypedServiceImplementation[string] {
  const handle = async (
    call: AnyCall,
    callback: (error: unknown, value?: unknown) => void,
  ): Promise<void> => {
    const context = contextOf(call, method);
    try {
      callback(null, await handler(call.request, await guard(context)));
    } catch (error) {
      onError?.(error, context);
      callback(toStatus(error));
    }
  };
  return handle as unknown as UntypedServiceImplementation[string];
}

function streamCall<Context extends CallContext>(
  method: Method,
  handler: AnyHandler<Context>,
  { guard, onError }: MountOptions<Context>,
): UntypedServiceImplementation[string] {
  const handle = async (call: AnyCall): Promise<void> => {
    const context = contextOf(call, method);
    try {
      // A handler may stop reading before it stops answering: leaving its loop must not end the call.
      const input = method.requestStream ? call.iterator({ destroyOnReturn: false }) : call.request;
      const answers = handler(input, await guard(context)) as AsyncIterable<unknown>;
      await writeAll(call, answers, context.signal);
      call.end();
    } catch (error) {
      if (call.cancelled) return;
      onError?.(error, context);
      call.emit('error', toStatus(error));
    }
  };
  return handle as unknown as UntypedServiceImplementation[string];
}

/** Waits for a slow reader instead of piling up what it does not read. */
async function writeAll(call: AnyCall, answers: AsyncIterable<unknown>, signal: AbortSignal): Promise<void> {
  for await (const answer of answers) {
    if (signal.aborted) return;
    if (!call.write(answer)) await once(call, 'drain', { signal });
  }
}

function contextOf(call: AnyCall, { path }: Method): CallContext {
  const gone = new AbortController();
  call.on('cancelled', () => gone.abort());
  if (call.cancelled) gone.abort();
  return {
    signal: gone.signal,
    method: path,
    peer: call.getAuthContext().sslPeerCertificate,
    deadlineMs: deadlineMsOf(call.getDeadline()),
  };
}

function deadlineMsOf(deadline: Deadline): number | undefined {
  const ms = typeof deadline === 'number' ? deadline : deadline.getTime();
  return Number.isFinite(ms) ? ms : undefined;
}
