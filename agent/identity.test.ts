import { mkdtemp, rm, stat } from 'node:fs/promises';
import { type AddressInfo } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { NodeServiceService } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { type Handlers, mount } from '#shared/rpc-server.ts';
import {
  createAuthority,
  createKey,
  formatJoinToken,
  issueCertificate,
  publicKeyPin,
  type Identity,
} from '#shared/tls.ts';
import { checkControlPlane, isDueForRenewal, join, readIdentity } from './identity.ts';
import { systemClock } from '#shared/clock.ts';

const fleetId = '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0001';
const life = { nowMs: Date.now(), lifeMs: 3_600_000 };

/** A control plane that answers nothing but Join, under a certificate of the given role. */
async function serveJoin(role: Identity['role']) {
  const authority = await createAuthority({ commonName: 'test', ...life });
  const key = await createKey();
  const own = await issueCertificate({
    authority,
    subject: key,
    identity: { fleetId, role, name: 'main' },
    hosts: ['127.0.0.1'],
    ...life,
  });
  const secrets: string[] = [];
  const grpc = new Server();
  const handlers = {
    join: async ({ secret, csr }: { secret: string; csr: Uint8Array }) => {
      secrets.push(secret);
      const identity = { fleetId, role: 'node', name: 'h1' } as const;
      const certificate = await issueCertificate({
        authority,
        subject: new Uint8Array(csr),
        identity,
        ...life,
      });
      const authorities = [Buffer.from(authority.certificate.der)];
      return { certificate: Buffer.from(certificate.der), authorities, fleetId, node: 'h1' };
    },
  } as unknown as Handlers<typeof NodeServiceService>;
  mount(grpc, NodeServiceService, handlers, { guard: (context) => context });
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure());
  const sockets = new Set<TLSSocket>();
  const { pem: ca } = authority.certificate;
  const server = createServer(
    { cert: own.pem, key: key.keyPem, ca, ALPNProtocols: ['h2'], minVersion: 'TLSv1.3' },
    (socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      injector.injectConnection(socket);
    },
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stateDir = await mkdtemp(path.join(os.tmpdir(), 'drover-identity-'));
  return {
    address,
    secrets,
    stateDir,
    pin: publicKeyPin(ca),
    async [Symbol.asyncDispose]() {
      grpc.forceShutdown();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
      await rm(stateDir, { recursive: true, force: true });
    },
  };
}

type Peer = Awaited<ReturnType<typeof serveJoin>>;
const joinAt = ({ address, stateDir }: Peer, pin: string, name = '') =>
  join(formatJoinToken({ address, pin, secret: 'sesame', node: 'h1' }), { stateDir, incarnation: 'i', name });

describe('joining', () => {
  it('trades the token for an identity that is kept, for root alone', async () => {
    await using peer = await serveJoin('control-plane');
    const identity = await joinAt(peer, peer.pin);
    expect(identity).toMatchObject({ fleetId, node: 'h1', address: peer.address });
    expect(await readIdentity(peer.stateDir)).toEqual(identity);
    const { mode } = await stat(path.join(peer.stateDir, 'identity/identity.json'));
    expect(mode & 0o777).toBe(0o600);
    expect(isDueForRenewal(identity, systemClock)).toBe(false);
    expect(isDueForRenewal(identity, { ...systemClock, nowMs: () => Date.now() + 3_000_000 })).toBe(true);
  });

  it('never tells the secret to a peer that the token does not pin', async () => {
    await using peer = await serveJoin('control-plane');
    await expect(joinAt(peer, '0'.repeat(64))).rejects.toMatchObject({ kind: 'permission-denied' });
    expect(peer.secrets).toEqual([]);
  });

  it('never tells the secret to a node of the same fleet', async () => {
    await using peer = await serveJoin('node');
    await expect(joinAt(peer, peer.pin)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(peer.secrets).toEqual([]);
  });

  it('refuses a token for another node', async () => {
    await using peer = await serveJoin('control-plane');
    await expect(joinAt(peer, peer.pin, 'h2')).rejects.toMatchObject({ kind: 'invalid-argument' });
    expect(peer.secrets).toEqual([]);
  });
});

it('only a control plane of the fleet passes for one', async () => {
  const authority = await createAuthority({ commonName: 'test', ...life });
  const make = async (role: Identity['role']): Promise<Uint8Array> => {
    const identity = { fleetId, role, name: 'x' };
    return (await issueCertificate({ authority, subject: await createKey(), identity, ...life })).der;
  };
  const right = await make('control-plane');
  expect(() => checkControlPlane(right, fleetId)).not.toThrow();
  expect(() => checkControlPlane(right, '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0002')).toThrow(
    /wanted the control plane/,
  );
  const node = await make('node');
  expect(() => checkControlPlane(node, fleetId)).toThrow(/wanted the control plane/);
});
