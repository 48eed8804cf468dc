// tsyringe, beneath x509, throws at load without it.
import 'reflect-metadata';
import { createHash, createPrivateKey, X509Certificate as NodeCertificate, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { dateOf } from './clock.ts';
import { DroverError } from './errors.ts';

x509.cryptoProvider.set(webcrypto as typeof crypto);

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const subjectAlternativeName = '2.5.29.17';
/**
 * A certificate is already good this long before it was made: hosts whose clocks are behind must be able to
 * join.
 */
const backdateMs = 5 * 60_000;

/** The application protocol of an agent's session; everybody else speaks "h2". */
export const sessionProtocol = 'drover-session/1';

const identityRoles = ['admin', 'operator', 'viewer', 'node', 'control-plane'] as const;
type IdentityRole = (typeof identityRoles)[number];

/** Who a certificate speaks for: its URI name "drover://FLEET/ROLE/NAME". */
export interface Identity {
  readonly fleetId: string;
  readonly role: IdentityRole;
  readonly name: string;
}

export interface Certificate {
  readonly pem: string;
  readonly der: Uint8Array;
  /** Lower-case hex without leading zeros. */
  readonly serial: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** A certificate and the private key that belongs to it. */
export interface KeyedCertificate {
  readonly certificate: Certificate;
  /** PKCS#8. */
  readonly keyPem: string;
}

export interface Key {
  /** PKCS#8. */
  readonly keyPem: string;
  readonly pair: webcrypto.CryptoKeyPair;
}

/** A new P-256 key. */
export async function createKey(): Promise<Key> {
  const pair = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const der = await crypto.subtle.exportKey('pkcs8', pair.privateKey);
  return { pair, keyPem: x509.PemConverter.encode(der, 'PRIVATE KEY') };
}

/** A certificate authority: self-signed, P-256, may sign certificates and nothing below it may. */
export async function createAuthority(options: {
  readonly commonName: string;
  readonly nowMs: number;
  readonly lifeMs: number;
}): Promise<KeyedCertificate> {
  const key = await createKey();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: [{ CN: [options.commonName] }],
    notBefore: dateOf(options.nowMs - backdateMs),
    notAfter: dateOf(options.nowMs + options.lifeMs),
    signingAlgorithm: algorithm,
    keys: key.pair,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(key.pair.publicKey),
    ],
  });
  return { certificate: describeCertificate(certificate), keyPem: key.keyPem };
}

/**
 * PKCS#10, DER, for a new or a given key. What it asks for is not read: the signer decides what the
 * certificate says.
 */
export async function createRequest(key?: Key): Promise<{ csr: Uint8Array; keyPem: string }> {
  const used = key ?? (await createKey());
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: ['drover'] }],
    keys: used.pair,
    signingAlgorithm: algorithm,
  });
  return { csr: new Uint8Array(request.rawData), keyPem: used.keyPem };
}

/**
 * Signs a certificate for the key of a request, or for a key of our own. Servers get the server usage alone
 * and everybody else the client usage alone, so that no node can pass for the control plane.
 * invalid-argument: the request is not one, is not signed with its own key, or is for another kind of key
 * than P-256.
 */
export async function issueCertificate(options: {
  readonly authority: KeyedCertificate;
  readonly subject: Uint8Array | Key;
  readonly identity: Identity;
  /** DNS names and addresses, for servers. */
  readonly hosts?: readonly string[];
  readonly nowMs: number;
  readonly lifeMs: number;
}): Promise<Certificate> {
  const { authority, identity, nowMs } = options;
  const publicKey = await subjectKey(options.subject);
  const usage = identity.role === 'control-plane' ? 'serverAuth' : 'clientAuth';
  const issuer = new x509.X509Certificate(authority.certificate.pem);
  const certificate = await x509.X509CertificateGenerator.create({
    subject: [{ CN: [`${identity.role}/${identity.name}`] }],
    issuer: issuer.subjectName,
    notBefore: dateOf(nowMs - backdateMs),
    notAfter: dateOf(Math.min(nowMs + options.lifeMs, issuer.notAfter.getTime())),
    signingAlgorithm: algorithm,
    publicKey,
    signingKey: await importSigningKey(authority.keyPem),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[usage]], false),
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: formatIdentity(identity) },
        ...(options.hosts ?? []).map(hostName),
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return describeCertificate(certificate);
}

async function subjectKey(subject: Uint8Array | Key): Promise<x509.PublicKey> {
  if (!(subject instanceof Uint8Array)) return x509.PublicKey.create(subject.pair.publicKey);
  const request = parseRequest(subject);
  const wanted = request.publicKey.algorithm as { name: string; namedCurve?: string };
  if (wanted.name !== 'ECDSA' || wanted.namedCurve !== 'P-256') {
    throw new DroverError('invalid-argument', `the request needs an ECDSA P-256 key, found ${wanted.name}`);
  }
  if (!(await request.verify())) {
    throw new DroverError('invalid-argument', 'the certificate request is not signed with its own key');
  }
  return request.publicKey;
}

function parseRequest(csr: Uint8Array): x509.Pkcs10CertificateRequest {
  try {
    return new x509.Pkcs10CertificateRequest(Uint8Array.from(csr));
  } catch (cause) {
    throw new DroverError('invalid-argument', 'the certificate request is not PKCS#10 in DER', { cause });
  }
}

function importSigningKey(keyPem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(keyPem).export({ format: 'der', type: 'pkcs8' });
  return crypto.subtle.importKey('pkcs8', Uint8Array.from(der), algorithm, false, ['sign']);
}

function hostName(host: string): { type: 'ip' | 'dns'; value: string } {
  return { type: /^[0-9.]+$|:/.test(host) ? 'ip' : 'dns', value: host };
}

/** From PEM or DER. invalid-argument. */
export function parseCertificate(source: string | Uint8Array): Certificate {
  try {
    return describeCertificate(
      new x509.X509Certificate(typeof source === 'string' ? source : Uint8Array.from(source)),
    );
  } catch (cause) {
    throw new DroverError('invalid-argument', 'not an X.509 certificate in PEM or DER', { cause });
  }
}

function describeCertificate(certificate: x509.X509Certificate): Certificate {
  return {
    pem: `${certificate.toString('pem')}\n`,
    der: new Uint8Array(certificate.rawData),
    serial: normalSerial(certificate.serialNumber),
    notBeforeMs: certificate.notBefore.getTime(),
    notAfterMs: certificate.notAfter.getTime(),
  };
}

const normalSerial = (serial: string): string => serial.toLowerCase().replace(/^0+(?=.)/, '');

/**
 * Whom a certificate speaks for, read from the DER itself. Says nothing of whether it is to be believed: the
 * handshake does. Undefined where there is not exactly one name of ours in it.
 */
export function parseIdentity(
  der: Uint8Array,
): (Identity & { readonly serial: string; readonly notAfterMs: number }) | undefined {
  const certificate = new x509.X509Certificate(Uint8Array.from(der));
  const extension = certificate.getExtension(subjectAlternativeName);
  const names = (extension as x509.SubjectAlternativeNameExtension | null)?.names.items ?? [];
  const [uri, ...more] = names.filter(({ type }) => type === 'url').map(({ value }) => value);
  if (uri === undefined || more.length > 0) return undefined;
  const identity = parseIdentityUri(uri);
  if (identity === undefined) return undefined;
  return {
    ...identity,
    serial: normalSerial(certificate.serialNumber),
    notAfterMs: certificate.notAfter.getTime(),
  };
}

const formatIdentity = ({ fleetId, role, name }: Identity): string => `drover://${fleetId}/${role}/${name}`;

function parseIdentityUri(uri: string): Identity | undefined {
  const match = /^drover:\/\/([0-9a-f-]{36})\/([a-z-]+)\/([a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?)$/.exec(uri);
  const [, fleetId, role, name] = match ?? [];
  const known = identityRoles.find((candidate) => candidate === role);
  if (fleetId === undefined || known === undefined || name === undefined) return undefined;
  return { fleetId, role: known, name };
}

/** Hex of SHA-256 over the public key (SubjectPublicKeyInfo): what a join token pins. From PEM or DER. */
export function publicKeyPin(certificate: string | Uint8Array): string {
  const { publicKey } = new NodeCertificate(certificate);
  return createHash('sha256')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest('hex');
}

/** What a join token carries; its text is "drover1." and base64url of JSON. */
export interface JoinTokenText {
  /** "host:port". */
  readonly address: string;
  /** publicKeyPin of the authority. */
  readonly pin: string;
  readonly secret: string;
  readonly node: string;
}

export function formatJoinToken({ address, pin, secret, node }: JoinTokenText): string {
  const body = JSON.stringify({ a: address, c: pin, s: secret, n: node });
  return `drover1.${Buffer.from(body).toString('base64url')}`;
}

/** invalid-argument; the message never repeats the token. */
export function parseJoinToken(text: string): JoinTokenText {
  const [, body] = /^drover1\.([A-Za-z0-9_-]{1,2000})$/.exec(text.trim()) ?? [];
  const fields = body === undefined ? undefined : parseJsonObject(Buffer.from(body, 'base64url').toString());
  const { a: address, c: pin, s: secret, n: node } = fields ?? {};
  const whole = [address, pin, secret, node].every((field) => typeof field === 'string');
  if (!whole || !/^[0-9a-f]{64}$/.test(String(pin)) || !/^\S+:\d{1,5}$/.test(String(address))) {
    throw new DroverError('invalid-argument', 'this is not a whole join token', {
      nextStep: 'copy the whole line that `drover node token NODE` printed',
    });
  }
  return { address: String(address), pin: String(pin), secret: String(secret), node: String(node) };
}

function parseJsonObject(text: string): Record<'a' | 'c' | 's' | 'n', unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null
      ? (value as Record<'a' | 'c' | 's' | 'n', unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
