import { connect, type TLSSocket } from 'node:tls';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { Clock } from '#shared/clock.ts';
import { asDroverError, DroverError } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { Random } from '#shared/random.ts';
import { createBackoff } from '#shared/retry.ts';
import { sessionProtocol } from '#shared/tls.ts';
import { checkControlPlane, type NodeIdentity, splitAddress } from './identity.ts';

const connectMs = 15_000;
/** The control plane pings, too; whoever notices first cuts. */
const keepaliveMs = 10_000;
/** A session this long was a good one: the next attempt comes soon. */
const goodSessionMs = 30_000;

export interface SessionOptions {
  /** Read anew for each session: certificates are renewed meanwhile. */
  readonly identity: () => NodeIdentity;
  readonly address: () => string;
  /**
   * Adds the services; called once for each session, whose state they may keep. `onHello` must be called once
   * Hello has been answered.
   */
  readonly mountServices: (server: Server, onHello: () => void) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Keeps one session with the control plane: dials it, serves RuntimeService over that one connection, and
 * comes back when it ends, with back-off and jitter. Resolves when the signal ends it.
 */
export async function runSessions(options: SessionOptions): Promise<void> {
  const { clock, random, log, signal } = options;
  const backoff = createBackoff({ firstMs: 500, maxMs: 30_000, random });
  while (!signal.aborted) {
    const begunMs = clock.monotonicMs();
    const reason = await runSession(options).catch(asDroverError);
    if (signal.aborted) return;
    if (clock.monotonicMs() - begunMs >= goodSessionMs) backoff.reset();
    const delayMs = backoff.nextMs();
    log.warn({ event: 'session.ended', err: reason, address: options.address(), delayMs });
    await clock.sleep(delayMs, signal).catch(() => undefined);
  }
}

/** Resolves with why it ended. */
async function runSession(options: SessionOptions): Promise<Error> {
  const { log, signal } = options;
  const address = options.address();
  const socket = await dial(address, options);
  const server = new Server({
    'grpc.keepalive_time_ms': keepaliveMs,
    'grpc.keepalive_timeout_ms': keepaliveMs,
    'grpc.max_receive_message_length': 4 * 1024 * 1024,
  });
  let isOpen = false;
  options.mountServices(server, () => {
    if (!isOpen) log.info({ event: 'session.opened', address });
    isOpen = true;
  });
  const end = (): void => void socket.destroy();
  signal.addEventListener('abort', end, { once: true });
  try {
    const closed = closeOf(socket);
    if (!socket.destroyed) {
      server.createConnectionInjector(ServerCredentials.createInsecure()).injectConnection(socket);
    }
    const cause = await closed;
    return isOpen
      ? new DroverError('unavailable', `the session with ${address} was cut`, { cause })
      : turnedAway(address, cause);
  } finally {
    signal.removeEventListener('abort', end);
    server.forceShutdown();
    socket.destroy();
  }
}

/** Resolves when the socket is closed, with the error that closed it; also when that was before. */
async function closeOf(socket: TLSSocket): Promise<Error | undefined> {
  let cause = socket.errored ?? undefined;
  socket.on('error', (error) => (cause = error));
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  return cause;
}

/** With TLS 1.3 our side of the handshake is done before the other has looked at our certificate. */
const turnedAway = (address: string, cause: Error | undefined): DroverError =>
  new DroverError('unavailable', `${address} ended the connection without a Hello`, {
    cause,
    nextStep: 'its log says why, unless it is ending: see session.refused and connection.refused',
  });

function dial(address: string, { identity, clock, signal }: SessionOptions): Promise<TLSSocket> {
  const { host, port } = splitAddress(address);
  const { keyPem, certificate, authoritiesPem, fleetId } = identity();
  const limit = clock.timeout(connectMs, signal);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      key: keyPem,
      cert: certificate.pem,
      ca: authoritiesPem,
      ALPNProtocols: [sessionProtocol],
      minVersion: 'TLSv1.3',
      // The name in the certificate is the fleet's, whatever address leads there; looked at below.
      checkServerIdentity: () => undefined,
    });
    const settle = (): void => {
      limit.removeEventListener('abort', giveUp);
      socket.removeListener('close', onClose);
    };
    const fail = (cause: unknown): void => {
      settle();
      socket.destroy();
      const { message } = asDroverError(cause);
      reject(new DroverError('unavailable', `no session with ${address}: ${message}`, { cause }));
    };
    const giveUp = (): void => fail(limit.reason);
    const onClose = (): void => fail(new Error('the control plane closed the connection'));
    limit.addEventListener('abort', giveUp, { once: true });
    // Stays: an error between here and the session must not be nobody's.
    socket.on('error', fail);
    socket.once('close', onClose);
    socket.once('secureConnect', () => {
      try {
        checkControlPlane(socket.getPeerCertificate().raw, fleetId);
        if (socket.alpnProtocol !== sessionProtocol) throw new Error(`it does not speak ${sessionProtocol}`);
      } catch (error) {
        return fail(error);
      }
      settle();
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}
