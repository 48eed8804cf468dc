import { DroverError } from '#shared/errors.ts';
import type { Node } from '#shared/model.ts';
import { nodeSubject, revokeCertificate } from './revoke-certificate.ts';
import type { Snapshot, Transaction } from './store.ts';

export function foundNode(snapshot: Pick<Snapshot, 'named'>, name: string): Node {
  const node = snapshot.named('node', name);
  if (node !== undefined) return node;
  throw new DroverError('not-found', `there is no node ${name}`, {
    subject: { node: name },
    nextStep: 'see `drover get nodes`',
  });
}

/** The old certificate stays good for this long: the answer with the new one may be lost on its way. */
const overlapMs = 24 * 60 * 60 * 1000;

export interface RenewedCertificate {
  readonly node: string;
  /** Of the certificate that asked. */
  readonly callerSerial: string;
  readonly certificateSerial: string;
  readonly oldExpiresAtMs: number;
}

/**
 * A node renewed its certificate: the new one counts from now on. not-found; unauthenticated when the one
 * that asked has been revoked since, as by another host that took the node's name.
 */
export function putNodeCertificate(tx: Transaction, renewed: RenewedCertificate, nowMs: number): void {
  const node = foundNode(tx, renewed.node);
  const revoked = tx.get('revoked-certificate', renewed.callerSerial);
  if (revoked !== undefined && revoked.revokedAtMs <= nowMs) {
    throw new DroverError('unauthenticated', 'the certificate does not count: it was revoked', {
      subject: { node: renewed.node },
      nextStep: 'ask an administrator for a new join token',
    });
  }
  if (node.certificateSerial !== '') {
    revokeCertificate(tx, {
      serial: node.certificateSerial,
      subject: nodeSubject(renewed.node),
      revokedAtMs: nowMs + overlapMs,
      expiresAtMs: Math.max(renewed.oldExpiresAtMs, nowMs + overlapMs),
    });
  }
  tx.put('node', node.metadata.id, { ...node, certificateSerial: renewed.certificateSerial });
}
