import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '#shared/clock.ts';
import { type KeyedCertificate, createAuthority, createKey, issueCertificate } from '#shared/tls.ts';

export interface ReceivedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
  /** Which connection of the server it came over, from zero. */
  readonly connection: number;
}

/** Answers a request; false: it stays without an answer. */
export type Handler = (request: ReceivedRequest, response: ServerResponse) => void | false;

export interface HttpsServer extends AsyncDisposable {
  readonly address: string;
  /** Upper-case SHA-256 of its certificate. */
  fingerprint: string;
  readonly requests: ReceivedRequest[];
  /** Connections whose TLS stood. */
  connections(): number;
  /** Those that are open now. */
  open(): number;
  handler: Handler;
  /** A new certificate of the same or of another authority, for connections to come; good from then on. */
  rotate(authority: KeyedCertificate, hosts?: readonly string[], shiftMs?: number): Promise<void>;
  /** From now on bodies of requests are not read. */
  pauseBodies(): void;
  /** Ends all connections and listens no more. */
  stop(): Promise<void>;
  /** Listens again where it did. */
  listen(): Promise<void>;
}

const lifeMs = 3_600_000;

export const testAuthority = (commonName = 'Test authority'): Promise<KeyedCertificate> =>
  createAuthority({ commonName, nowMs: systemClock.nowMs(), lifeMs });

async function certificateOf(authority: KeyedCertificate, hosts: readonly string[], shiftMs = 0) {
  const key = await createKey();
  const identity = {
    fleetId: '0197c0de-0000-7000-8000-000000000000',
    role: 'control-plane',
    name: 'pve1',
  } as const;
  const { pem } = await issueCertificate({
    authority,
    subject: key,
    identity,
    hosts,
    nowMs: systemClock.nowMs() + shiftMs,
    lifeMs,
  });
  return { cert: pem, key: key.keyPem, fingerprint: new X509Certificate(pem).fingerprint256 };
}

/** A real HTTPS server on loopback that keeps what it was asked. */
export async function startHttpsServer(
  authority: KeyedCertificate,
  handler: Handler,
  hosts: readonly string[] = ['127.0.0.1'],
): Promise<HttpsServer> {
  const first = await certificateOf(authority, hosts);
  const requests: ReceivedRequest[] = [];
  const sockets = new Map<object, number>();
  let connections = 0;
  let paused = false;
  let port = 0;
  const server: Server = createServer({ cert: first.cert, key: first.key, keepAliveTimeout: 60_000 });
  server.on('secureConnection', (socket) => {
    sockets.set(socket, connections);
    connections += 1;
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => undefined);
  server.on('request', (incoming: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    incoming.on('error', () => undefined);
    if (paused) return;
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', () => {
      const request = {
        method: incoming.method ?? '',
        url: incoming.url ?? '',
        headers: incoming.headers,
        body: Buffer.concat(chunks),
        connection: sockets.get(incoming.socket) ?? -1,
      };
      requests.push(request);
      world.handler(request, response);
    });
  });
  const listen = (): Promise<void> =>
    new Promise((resolve) =>
      server.listen(port, '127.0.0.1', () => {
        ({ port } = server.address() as AddressInfo);
        resolve();
      }),
    );
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  await listen();
  const world: HttpsServer = {
    address: `127.0.0.1:${port}`,
    fingerprint: first.fingerprint,
    requests,
    handler,
    connections: () => connections,
    open: () => sockets.size,
    async rotate(other, names = hosts, shiftMs = 0) {
      const { cert, key, fingerprint } = await certificateOf(other, names, shiftMs);
      server.setSecureContext({ cert, key });
      world.fingerprint = fingerprint;
    },
    pauseBodies: () => {
      paused = true;
    },
    stop,
    listen,
    [Symbol.asyncDispose]: stop,
  };
  return world;
}

/** As pveproxy writes it. */
export function answerJson(response: ServerResponse, body: unknown, status = 200, reason = 'OK'): void {
  const text = body === '' ? '' : JSON.stringify(body);
  response.writeHead(status, reason, {
    'content-type': 'application/json;charset=UTF-8',
    'content-length': Buffer.byteLength(text),
    ...(status === 200 ? {} : { connection: 'close' }),
  });
  response.end(text);
}
