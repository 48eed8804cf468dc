import { chmod, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import { NodeServiceService } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { createClient } from '#shared/rpc-client.ts';
import {
  type Certificate,
  createRequest,
  parseCertificate,
  parseIdentity,
  parseJoinToken,
  publicKeyPin,
} from '#shared/tls.ts';
import { readIfThere, writeDurably } from './host/durable-file.ts';

/** Who this node is in its fleet. */
export interface NodeIdentity {
  readonly fleetId: string;
  readonly node: string;
  /** "host:port" of the control plane, as the join token said. */
  readonly address: string;
  readonly certificate: Certificate;
  readonly keyPem: string;
  /** PEM, one after another. */
  readonly authoritiesPem: string;
}

/** One file, so that key and certificate never disagree. */
interface Stored {
  readonly fleetId: string;
  readonly node: string;
  readonly address: string;
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly authoritiesPem: string;
}

const callMs = 15_000;
const identityFile = (stateDir: string): string => path.join(stateDir, 'identity', 'identity.json');

/** Undefined before the node has joined. data-loss: the file is there and is not what an agent writes. */
export async function readIdentity(stateDir: string): Promise<NodeIdentity | undefined> {
  const file = identityFile(stateDir);
  const text = await readIfThere(file);
  if (text === undefined) return undefined;
  try {
    const { certificatePem, ...rest } = JSON.parse(text) as Stored;
    return { ...rest, certificate: parseCertificate(certificatePem) };
  } catch (cause) {
    throw new DroverError('data-loss', `${file} is not what an agent writes`, {
      cause,
      nextStep: 'make a token with `drover node token NODE --replace` and join again',
    });
  }
}

/**
 * Trades a join token for an identity. The secret leaves this host only on a connection whose authority is
 * the one that the token pins. permission-denied: the token or the peer is not good. unavailable: nobody
 * answers.
 */
export async function join(
  tokenText: string,
  options: { readonly stateDir: string; readonly incarnation: string; readonly name: string },
): Promise<NodeIdentity> {
  const { stateDir, incarnation, name } = options;
  const token = parseJoinToken(tokenText);
  if (name !== '' && name !== token.node) {
    throw new DroverError(
      'invalid-argument',
      `the token is for node ${token.node}, this agent is called ${name}`,
    );
  }
  const authority = await fetchAuthority(token.address, token.pin);
  const { csr, keyPem } = await createRequest();
  const client = createNodeClient(token.address, { authoritiesPem: authority.pem });
  try {
    const request = { secret: token.secret, csr: Buffer.from(csr), incarnation };
    const answer = await client.join(request, { deadlineMs: callMs });
    return await keep(stateDir, {
      fleetId: answer.fleetId,
      node: answer.node,
      address: token.address,
      certificatePem: parseCertificate(answer.certificate).pem,
      keyPem,
      authoritiesPem: answer.authorities.map((der) => parseCertificate(der).pem).join(''),
    });
  } finally {
    client.close();
  }
}

/** A new key and certificate, kept before they are used. */
export async function renew(stateDir: string, old: NodeIdentity, address: string): Promise<NodeIdentity> {
  const { csr, keyPem } = await createRequest();
  const client = createNodeClient(address, old);
  try {
    const answer = await client.renewCertificate({ csr: Buffer.from(csr) }, { deadlineMs: callMs });
    return await keep(stateDir, {
      fleetId: old.fleetId,
      node: old.node,
      address: old.address,
      certificatePem: parseCertificate(answer.certificate).pem,
      keyPem,
      authoritiesPem: answer.authorities.map((der) => parseCertificate(der).pem).join(''),
    });
  } finally {
    client.close();
  }
}

/** From two thirds of its life on. */
export function isDueForRenewal({ certificate }: NodeIdentity, clock: Clock): boolean {
  const { notBeforeMs, notAfterMs } = certificate;
  return clock.nowMs() >= notBeforeMs + (2 / 3) * (notAfterMs - notBeforeMs);
}

/** Throws permission-denied unless the certificate speaks for this fleet's control plane. */
export function checkControlPlane(der: Uint8Array, fleetId: string | undefined): void {
  const identity = parseIdentity(der);
  const right = identity?.role === 'control-plane' && (fleetId === undefined || identity.fleetId === fleetId);
  if (right) return;
  const found = identity === undefined ? 'nobody of ours' : `${identity.role} of fleet ${identity.fleetId}`;
  throw new DroverError('permission-denied', `wanted the control plane, found ${found}`);
}

async function keep(stateDir: string, stored: Stored): Promise<NodeIdentity> {
  const file = identityFile(stateDir);
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await chmod(path.dirname(file), 0o700);
  await writeDurably(file, `${JSON.stringify(stored, undefined, 2)}\n`, 0o600);
  const { certificatePem, ...rest } = stored;
  return { ...rest, certificate: parseCertificate(certificatePem) };
}

function createNodeClient(
  address: string,
  identity: {
    readonly authoritiesPem: string;
    readonly keyPem?: string;
    readonly certificate?: Certificate;
    readonly fleetId?: string;
  },
) {
  const { authoritiesPem, keyPem, certificate, fleetId } = identity;
  const key = keyPem === undefined ? null : Buffer.from(keyPem);
  const chain = certificate === undefined ? null : Buffer.from(certificate.pem);
  const channel = credentials.createSsl(Buffer.from(authoritiesPem), key, chain, {
    // The name in the certificate is the fleet's, whatever address leads there.
    checkServerIdentity: (_host, peer) => verdict(() => checkControlPlane(peer.raw, fleetId)),
  });
  return createClient(NodeServiceService, address, channel, {
    'grpc.ssl_target_name_override': 'control-plane.drover',
  });
}

function verdict(check: () => void): Error | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    return error as Error;
  }
}

/** The certificate of the authority that the pin names, as the peer shows it. Nothing is sent to the peer. */
async function fetchAuthority(address: string, pin: string): Promise<Certificate> {
  const socket = await openUnverified(address);
  try {
    for (const certificate of chainOf(socket)) {
      if (publicKeyPin(certificate) === pin) return parseCertificate(certificate);
    }
  } finally {
    socket.destroy();
  }
  throw new DroverError(
    'permission-denied',
    `${address} is not the control plane that the token was made by`,
    {
      nextStep: 'check the address, or make a new token with `drover node token NODE`',
    },
  );
}

function chainOf(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let current: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (current?.raw !== undefined && chain.length < 5) {
    chain.push(current.raw);
    const next: DetailedPeerCertificate | undefined = current.issuerCertificate;
    current = next === current ? undefined : next;
  }
  return chain;
}

function openUnverified(address: string): Promise<TLSSocket> {
  const { host, port } = splitAddress(address);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      minVersion: 'TLSv1.3',
    });
    const fail = (cause: Error): void => {
      socket.destroy();
      reject(new DroverError('unavailable', `cannot reach ${address}: ${cause.message}`, { cause }));
    };
    socket.setTimeout(callMs, () => fail(new Error(`no answer within ${callMs} ms`)));
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      resolve(socket);
    });
  });
}

/** "host:port" or "[address]:port"; checked where it was read. */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':');
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(address.slice(colon + 1)) };
}
