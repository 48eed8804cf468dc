/** One node's API on loopback: TLS, its own certificate, there or not there. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:https';
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import { systemClock } from '#shared/clock.ts';
import { createAuthority, createKey, issueCertificate } from '#shared/tls.ts';
import type { KeyedCertificate } from '#shared/tls.ts';
import { answerRequest } from './http.ts';
import type { HttpSurroundings } from './http.ts';
import { answerUpgrade } from './upgrade.ts';
import type { WorldNode } from './node-model.ts';

const lifeMs = 2 * 365 * 24 * 60 * 60 * 1000;

/** Certificates are of the real day: handshakes know no other. */
export const createClusterAuthority = (): Promise<KeyedCertificate> =>
  createAuthority({ commonName: 'Proxmox Virtual Environment', nowMs: systemClock.nowMs(), lifeMs });

export interface Endpoint {
  /** "127.0.3.11:40123". */
  readonly address: string;
  readonly port: number;
  /** A new key and certificate, of this authority. */
  rotate(authority: KeyedCertificate): Promise<void>;
  /** Refuses or ignores connections, and drops those there are. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Drops what is open and accepts anew: a restarted pveproxy. */
  dropConnections(): void;
  close(): Promise<void>;
}

interface Keys {
  readonly key: string;
  readonly cert: string;
  readonly fingerprint: string;
}

async function newKeys(authority: KeyedCertificate, node: WorldNode): Promise<Keys> {
  const key = await createKey();
  const certificate = await issueCertificate({
    authority,
    subject: key,
    identity: { fleetId: '00000000-0000-4000-8000-000000000000', role: 'control-plane', name: node.name },
    hosts: [node.name, `${node.name}.rig.test`, node.ip, '127.0.0.1', 'localhost'],
    nowMs: systemClock.nowMs(),
    lifeMs,
  });
  const hex = createHash('sha256').update(certificate.der).digest('hex').toUpperCase();
  return {
    key: key.keyPem,
    cert: certificate.pem + authority.certificate.pem,
    fingerprint: (hex.match(/../g) ?? []).join(':'),
  };
}

/** Listens on the node's address; rejects where the port is taken there. */
export async function openEndpoint(
  surroundings: HttpSurroundings,
  node: WorldNode,
  authority: KeyedCertificate,
  port: number,
): Promise<Endpoint> {
  const sockets = new Set<Socket>();
  const keys = await newKeys(authority, node);
  node.fingerprint = keys.fingerprint;
  const server = createServer({ ...keys, keepAliveTimeout: 5000 }, (request, response) => {
    answerRequest(surroundings, node.name, request, response).catch(() => request.socket.destroy());
  });
  server.on('upgrade', (request, socket, head: Buffer) => {
    answerUpgrade(surroundings, node.name, request, socket, head).catch(() => socket.destroy());
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await listen(server, node.ip, port);
  const bound = server.address();
  const taken = typeof bound === 'object' && bound !== null ? bound.port : port;

  function dropConnections(): void {
    for (const socket of sockets) socket.destroy();
  }
  function stop(): Promise<void> {
    return new Promise((resolve) => {
      if (!server.listening) return resolve();
      server.close(() => resolve());
      dropConnections();
    });
  }
  return {
    address: node.ip.includes(':') ? `[${node.ip}]:${taken}` : `${node.ip}:${taken}`,
    port: taken,
    dropConnections,
    async rotate(by) {
      const fresh = await newKeys(by, node);
      server.setSecureContext(fresh);
      node.fingerprint = fresh.fingerprint;
      dropConnections();
    },
    stop,
    start: () => listen(server, node.ip, taken),
    close: stop,
  };
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
