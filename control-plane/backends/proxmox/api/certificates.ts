import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { type SecureContext, type TLSSocket, connect, createSecureContext } from 'node:tls';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { ClusterTrust } from '#shared/model.ts';
import { type Address, parseEndpoint } from './addresses.ts';
import { cleanText } from './words.ts';

/** To a host on the other side of the world, on a bad day. */
export const connectTimeoutMs = 5000;

/** Opens a connection to a server that has shown the certificate we trust; nothing was sent on it. */
export type OpenPinned = (address: Address, signal: AbortSignal) => Promise<TLSSocket>;

/**
 * Fails closed: whoever gets a socket may send its secrets. invalid-argument: an authority that is no
 * certificate, or no fingerprint at all.
 *
 * failed-precondition, reason "certificate": the server shows another certificate than was pinned. What
 * keeps the connection from standing comes as Node says it.
 */
export function pinnedConnector(trust: ClusterTrust): OpenPinned {
  const context = contextOf(trust);
  /** What each showed when it was last trusted. */
  const trusted = new Map<string, string>();
  return async (address, signal) => {
    const { socket, shown } = await openUnverified(address, context, signal);
    const was = trusted.get(address.address);
    const problem =
      shown === undefined ? noCertificate(address) : problemWith(socket, shown, { trust, address, was });
    if (problem !== undefined) {
      socket.destroy();
      throw problem;
    }
    if (shown !== undefined) trusted.set(address.address, shown.fingerprint256);
    return socket;
  };
}

/**
 * SHA-256 of whatever certificate a server shows: for a person to compare. Sends nothing.
 *
 * invalid-argument: no address; unavailable, reason "connection".
 */
export async function fingerprintOf(endpoint: string, clock: Clock, signal: AbortSignal): Promise<string> {
  const address = parseEndpoint(endpoint);
  try {
    const limit = clock.timeout(connectTimeoutMs, signal);
    const { socket, shown } = await openUnverified(address, createSecureContext(), limit);
    socket.destroy();
    if (shown === undefined) throw noCertificate(address);
    return shown.fingerprint256;
  } catch (error) {
    throw connectionError(error, address);
  }
}

const connectionWords: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EHOSTUNREACH: 'no route to it',
  ENETUNREACH: 'no route to its network',
  ETIMEDOUT: 'no connection in time',
  ENOTFOUND: 'its name is not known',
  EAI_AGAIN: 'its name could not be looked up',
  EPROTO: 'it does not speak TLS',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'it does not speak TLS',
};

/** What kept a connection from standing, as a person reads it; nothing was sent on it. */
export function connectionError(error: unknown, { address }: Address): DroverError {
  if (error instanceof DroverError) return error;
  const { code, name, message } = error as NodeJS.ErrnoException;
  const known = connectionWords[String(code)];
  const late = name === 'TimeoutError' ? 'no connection in time' : undefined;
  return new DroverError('unavailable', `${address}: ${known ?? late ?? cleanText(message, 200)}`, {
    reason: 'connection',
    subject: { endpoint: address, acted: 'no' },
    nextStep: 'check the address, and the network between here and there',
    cause: error,
  });
}

function contextOf(trust: ClusterTrust): SecureContext {
  if (trust.kind === 'fingerprints') {
    const pin = /^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/;
    const wrong = trust.sha256.find((text) => !pin.test(text));
    if (wrong !== undefined || trust.sha256.length === 0) {
      const found = wrong === undefined ? 'none' : `"${cleanText(wrong, 100)}"`;
      throw new DroverError(
        'invalid-argument',
        `a fingerprint is SHA-256 in upper-case hex with colons, found ${found}`,
      );
    }
    return createSecureContext();
  }
  try {
    // Parsed first: OpenSSL takes a text without any certificate for an empty list.
    void new X509Certificate(trust.pem);
    return createSecureContext({ ca: trust.pem });
  } catch (cause) {
    throw new DroverError('invalid-argument', "the cluster's authority is not a certificate in PEM", {
      cause,
      nextStep: 'give the content of /etc/pve/pve-root-ca.pem of any of its nodes',
    });
  }
}

interface Shown {
  readonly socket: TLSSocket;
  readonly shown: X509Certificate | undefined;
}

/** The certificate is not looked at here, only kept: callers compare it before anything is written. */
function openUnverified(
  { host, port }: Address,
  secureContext: SecureContext,
  signal: AbortSignal,
): Promise<Shown> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const socket = connect({
      host,
      port,
      secureContext,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: false,
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    const fail = (error: Error): void => {
      signal.removeEventListener('abort', giveUp);
      socket.destroy();
      reject(error);
    };
    const giveUp = (): void => fail(signal.reason as Error);
    signal.addEventListener('abort', giveUp, { once: true });
    const end = (): void => fail(new Error('the server closed the connection before its TLS stood'));
    socket.setNoDelay(true).setKeepAlive(true, 60_000);
    socket
      .once('error', fail)
      .once('close', end)
      .once('secureConnect', () => {
        signal.removeEventListener('abort', giveUp);
        socket.off('error', fail).off('close', end);
        // Between us and whoever takes the socket over, an error must not be an uncaught one.
        socket.on('error', () => undefined);
        // Node gives it once for each connection.
        resolve({ socket, shown: socket.getPeerX509Certificate() });
      });
  });
}

function problemWith(
  socket: TLSSocket,
  shown: X509Certificate,
  wanted: { readonly trust: ClusterTrust; readonly address: Address; readonly was: string | undefined },
): DroverError | undefined {
  const { trust, address, was } = wanted;
  const name = address.address;
  if (trust.kind === 'authority') {
    return socket.authorized ? undefined : notOfAuthority(socket, trust.pem, shown, name);
  }
  if (trust.sha256.includes(shown.fingerprint256)) return undefined;
  const pinned = was ?? someOf(trust.sha256);
  return refused(
    `the certificate of ${name} is not the pinned one: pinned was ${pinned}, it shows ${describe(shown)}`,
    { endpoint: name, pinned, found: shown.fingerprint256 },
  );
}

const noCertificate = ({ address }: Address): DroverError =>
  refused(`${address} shows no certificate`, { endpoint: address });

/** A large cluster has many, and the message is for people. */
const someOf = (pins: readonly string[]): string =>
  pins.slice(0, 3).join(' or ') + (pins.length > 3 ? ` or one of ${pins.length - 3} others` : '');

function notOfAuthority(socket: TLSSocket, pem: string, shown: X509Certificate, name: string): DroverError {
  const authority = new X509Certificate(pem);
  const code = String(socket.authorizationError);
  const subject = { endpoint: name, pinned: authority.fingerprint256, found: shown.fingerprint256 };
  const why = (): string => {
    if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
      return `is for other names: ${cleanText(shown.subjectAltName ?? 'none', 200)}`;
    }
    if (code === 'CERT_HAS_EXPIRED') return `was good until ${shown.validTo}`;
    if (code === 'CERT_NOT_YET_VALID') return `is good only from ${shown.validFrom}`;
    return `is not of the pinned authority ${describe(authority)}`;
  };
  return refused(`the certificate of ${name} ${why()}; it shows ${describe(shown)}`, subject);
}

/** Names in a certificate are whatever its maker wrote. */
const describe = ({ subject, fingerprint256 }: X509Certificate): string =>
  `${fingerprint256} (${cleanText((subject ?? '').replaceAll('\n', ', '), 120)})`;

const refused = (message: string, subject: Readonly<Record<string, string>>): DroverError =>
  new DroverError('failed-precondition', message, {
    reason: 'certificate',
    subject: { ...subject, acted: 'no' },
    nextStep:
      'compare it on that node (`openssl x509 -noout -fingerprint -sha256 -in` pveproxy-ssl.pem or ' +
      'pve-ssl.pem in /etc/pve/local); only if they are the same, pin the new one',
  });
