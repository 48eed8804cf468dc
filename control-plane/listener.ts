import { constants } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import tls, { type TLSSocket } from 'node:tls';
import type { Clock } from '#shared/clock.ts';
import { asDroverError, DroverError } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { NodeName } from '#shared/model.ts';
import { type KeyedCertificate, parseIdentity, sessionProtocol } from '#shared/tls.ts';
import type { CertifiedConnection, CertifiedIdentity, Revocation } from './identity/revocation.ts';

export interface Listener {
  /** "host:port", as bound. */
  readonly address: string;
  close(): Promise<void>;
}

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly server: KeyedCertificate;
  /** PEM; whose certificates are believed. */
  readonly authority: string;
  readonly revocation: Revocation;
  readonly clock: Clock;
  readonly log: Log;
  /** A connection that speaks gRPC; without a certificate it may ask little. */
  readonly serve: (socket: TLSSocket) => void;
  /** An agent's session. */
  readonly acceptSession: (socket: Duplex, node: NodeName) => Promise<void>;
}

const handshakeTimeoutMs = 10_000;
/** Enough to join and to ask for health; what is left open longer only takes room. */
const strangerMs = 60_000;
const connectionsMax = 10_000;

/**
 * The one port: mutual TLS 1.3 for people, programs and agents. A certificate that is not ours, or no longer
 * counts, ends the connection at once; none at all is let through as a stranger. The name of the protocol
 * says what follows: gRPC to us, or a session over which we call the agent.
 */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const { server: own, log } = options;
  const sockets = new Set<TLSSocket>();
  const server = tls.createServer({
    cert: own.certificate.pem,
    key: own.keyPem,
    ca: options.authority,
    requestCert: true,
    // A stranger has none; a wrong one is refused in greet(), where the log can say whose it was.
    rejectUnauthorized: false,
    minVersion: 'TLSv1.3',
    // A resumed session would skip the certificate.
    secureOptions: constants.SSL_OP_NO_TICKET,
    ALPNProtocols: ['h2', sessionProtocol],
    handshakeTimeout: handshakeTimeoutMs,
  });
  server.maxConnections = connectionsMax;
  server.on('secureConnection', (socket: TLSSocket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    // 'close' follows, and whoever uses the socket hears of it.
    socket.on('error', () => {});
    greet(socket, options);
  });
  server.on('tlsClientError', (error, socket) => {
    log.debug({ event: 'handshake.failed', remote: socket.remoteAddress, reason: error.message });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(cannotListen(options, cause)));
    server.listen({ host: options.host, port: options.port }, resolve);
  });
  const { address, port } = server.address() as AddressInfo;
  return {
    address: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

const cannotListen = ({ host, port }: ListenerOptions, cause: Error): DroverError =>
  new DroverError('unavailable', `cannot listen on ${host}:${port}: ${cause.message}`, {
    cause,
    nextStep: 'choose another address with --listen',
  });

function greet(socket: TLSSocket, options: ListenerOptions): void {
  const { revocation, clock, serve } = options;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    if (socket.alpnProtocol !== 'h2') return refuse(socket, options, 'it has no certificate');
    socket.once(
      'close',
      clock.after(strangerMs, () => socket.destroy()),
    );
    return serve(socket);
  }
  if (!socket.authorized) return refuse(socket, options, String(socket.authorizationError));
  const identity = parseIdentity(certificate.raw);
  if (identity === undefined) return refuse(socket, options, 'its certificate names nobody of a fleet');
  const reason = revocation.refusalOf(identity);
  if (reason !== undefined) return refuse(socket, options, reason);
  keep(socket, identity, options);
  if (socket.alpnProtocol === 'h2') return serve(socket);
  openSession(socket, identity, options);
}

/** The connection lives as long as its certificate counts. */
function keep(socket: TLSSocket, identity: CertifiedIdentity, { revocation, log }: ListenerOptions): void {
  const connection: CertifiedConnection = {
    identity,
    end(why) {
      log.warn({ event: 'connection.ended', role: identity.role, name: identity.name, reason: why });
      socket.destroy();
    },
  };
  revocation.connections.add(connection);
  socket.once('close', () => revocation.connections.delete(connection));
}

function openSession(socket: TLSSocket, identity: CertifiedIdentity, options: ListenerOptions): void {
  if (socket.alpnProtocol !== sessionProtocol || identity.role !== 'node') {
    return refuse(socket, options, `${identity.role}/${identity.name} may not open a session`);
  }
  options.acceptSession(socket, identity.name as NodeName).catch((caught: unknown) => {
    options.log.error({ event: 'session.failed', node: identity.name, err: asDroverError(caught) });
    socket.destroy();
  });
}

function refuse(socket: TLSSocket, { log }: ListenerOptions, reason: string): void {
  const certificate = socket.getPeerX509Certificate();
  log.warn({
    event: 'connection.refused',
    reason,
    remote: socket.remoteAddress,
    subject: certificate?.subject,
    issuer: certificate?.issuer,
    serial: certificate?.serialNumber,
  });
  socket.destroy();
}
