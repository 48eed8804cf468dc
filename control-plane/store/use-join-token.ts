import { DroverError } from '#shared/errors.ts';
import type { Node } from '#shared/model.ts';
import { newMetadata } from './new-metadata.ts';
import { revokeNodeCertificates } from './revoke-certificate.ts';
import type { Transaction } from './store.ts';

export interface UseJoinToken {
  readonly secretHash: string;
  /** UUIDv7, for a node that is new. */
  readonly nodeId: string;
  readonly incarnation: string;
  readonly certificateSerial: string;
  /** No certificate of a node lives longer: when the record of one that is revoked may go. */
  readonly certificateLifeMs: number;
}

/** What every refused token gets, so that none learns why. */
export const tokenRefused = (): DroverError =>
  new DroverError('permission-denied', 'the join token is unknown, used or expired', {
    nextStep: 'make a new one with `drover node token NODE`',
  });

/**
 * Spends the token and makes its node, all in one: of two hosts with one token, one joins. A node that is
 * replaced keeps its record, and its certificates are revoked. permission-denied.
 */
export function useJoinToken(tx: Transaction, use: UseJoinToken, nowMs: number): Node {
  const token = tx.get('join-token', use.secretHash);
  if (token === undefined || token.expiresAtMs <= nowMs) throw tokenRefused();
  const before = tx.named('node', token.node);
  if (before !== undefined && !token.replace) throw tokenRefused();
  if (before?.cluster !== undefined) throw tokenRefused();
  if (before !== undefined) revokeNodeCertificates(tx, before, use.certificateLifeMs, nowMs);
  tx.delete('join-token', use.secretHash);
  const node: Node = {
    metadata: before?.metadata ?? newMetadata({ name: token.node, id: use.nodeId }, nowMs),
    cordoned: before?.cordoned ?? false,
    facts: before?.facts,
    incarnation: use.incarnation,
    bootId: '',
    certificateSerial: use.certificateSerial,
  };
  tx.put('node', node.metadata.id, node);
  tx.event({
    atMs: nowMs,
    type: before === undefined ? 'node.joined' : 'node.replaced',
    severity: before === undefined ? 'info' : 'warning',
    subject: { node: token.node },
    message: `with the token that ${token.createdBy} made`,
  });
  return node;
}
