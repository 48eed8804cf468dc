import type { Node } from '#shared/model.ts';
import type { RevokedCertificate, Transaction } from './store.ts';

/** Ends a certificate at `revokedAtMs`, which may lie ahead; an earlier end that was set before stays. */
export function revokeCertificate(tx: Transaction, revoked: RevokedCertificate): void {
  const before = tx.get('revoked-certificate', revoked.serial);
  if (before !== undefined && before.revokedAtMs <= revoked.revokedAtMs) return;
  tx.put('revoked-certificate', revoked.serial, revoked);
}

/** How certificates of a node are named in what is revoked. */
export const nodeSubject = (name: string): string => `node/${name}`;

/**
 * Ends at once every certificate of a node: the one that counts, and those before it that had a while left.
 */
export function revokeNodeCertificates(tx: Transaction, node: Node, lifeMs: number, nowMs: number): void {
  const { name } = node.metadata;
  const subject = nodeSubject(name);
  const ending = tx
    .list('revoked-certificate')
    .filter((one) => one.subject === subject && one.revokedAtMs > nowMs);
  for (const one of ending) revokeCertificate(tx, { ...one, revokedAtMs: nowMs });
  if (node.certificateSerial === '') return;
  revokeCertificate(tx, {
    serial: node.certificateSerial,
    subject,
    revokedAtMs: nowMs,
    expiresAtMs: nowMs + lifeMs,
  });
  tx.event({
    atMs: nowMs,
    type: 'certificate.revoked',
    severity: 'info',
    subject: { node: name },
    message: `serial number ${node.certificateSerial}`,
  });
}
