import { DroverError } from '#shared/errors.ts';
import type { Node } from '#shared/model.ts';
import type { JoinToken, Transaction } from './store.ts';

/** Whatever joined under its name would take its place. */
export function checkHasNoCluster(node: Node | undefined): void {
  if (node?.cluster === undefined) return;
  const { name } = node.metadata;
  throw new DroverError(
    'already-exists',
    `${name} is a node of the cluster ${node.cluster}: it has no agent`,
    {
      subject: { node: name, cluster: node.cluster },
      nextStep: 'choose another name',
    },
  );
}

/**
 * Keeps a join token by its secret's hash; an older one for the same name goes, so that one name has one way
 * in. already-exists: the name is taken, and its host is not to be replaced.
 */
export function putJoinToken(tx: Transaction, token: JoinToken, nowMs: number): void {
  const before = tx.named('node', token.node);
  checkHasNoCluster(before);
  const taken = before !== undefined;
  if (taken && !token.replace) {
    throw new DroverError('already-exists', `there is a node ${token.node} already`, {
      subject: { node: token.node },
      nextStep: 'choose another name, or ask for a token that replaces it (--replace)',
    });
  }
  for (const { secretHash, node } of tx.list('join-token')) {
    if (node === token.node) tx.delete('join-token', secretHash);
  }
  tx.put('join-token', token.secretHash, token);
  tx.event({
    atMs: nowMs,
    type: 'join-token.created',
    severity: 'info',
    subject: { node: token.node },
    message: `${token.createdBy} made a token for ${token.node}${token.replace ? ', to replace it' : ''}`,
  });
}
