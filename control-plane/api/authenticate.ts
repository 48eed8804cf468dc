import type { PeerCertificate } from 'node:tls';
import { DroverError } from '#shared/errors.ts';
import type { Caller } from '#shared/model.ts';
import { parseIdentity } from '#shared/tls.ts';
import type { Revocation } from '../identity/revocation.ts';

/** Whoever has no certificate. */
export const anonymous = 'anonymous';

export interface Authenticated {
  readonly who: Caller | typeof anonymous;
  /** Of the certificate that says so, in lower-case hex; empty for whoever has none. */
  readonly certificateSerial: string;
}

/**
 * Who calls: the name in a certificate that the handshake verified. Asked anew for each call, since a
 * connection may outlive its certificate. unauthenticated.
 */
export function authenticate(
  peer: PeerCertificate | undefined,
  revocation: Pick<Revocation, 'refusalOf'>,
): Authenticated {
  if (peer === undefined) return { who: anonymous, certificateSerial: '' };
  const identity = parseIdentity(peer.raw);
  if (identity === undefined) throw refused('it names nobody of a fleet');
  const reason = revocation.refusalOf(identity);
  if (reason !== undefined) throw refused(reason);
  const { role, name, serial } = identity;
  if (role === 'control-plane') throw refused('it is a server certificate');
  return { who: { role, name }, certificateSerial: serial };
}

const refused = (why: string): DroverError =>
  new DroverError('unauthenticated', `the certificate does not count: ${why}`, {
    nextStep: 'ask an administrator for a new context, or for a new join token',
  });
