import { overlaps, parseCidr } from '#shared/addresses.ts';
import { DroverError } from '#shared/errors.ts';
import type { Network, NetworkSpec } from '#shared/model.ts';
import type { Change } from '#shared/wire/fleet.ts';
import type { NetworkDocument } from '#shared/wire/network-document.ts';
import { isSameData } from './canonical.ts';
import { chosenIn, heldIn, instancesIn, someNames, whyNotIn, workloadsIn } from './network-use.ts';
import { newMetadata } from './new-metadata.ts';
import type { Transaction } from './store.ts';

export interface PutNetwork {
  readonly document: NetworkDocument;
  /** UUIDv7, for a network that is new. */
  readonly networkId: string;
  readonly caller: string;
}

export interface PutNetworkResult {
  readonly networkId: string;
  readonly change: Change;
}

/**
 * Makes a network as one document says; a document that changes nothing writes nothing. Guests keep what
 * they were given until they are made anew. aborted: it is not at the revision that was expected;
 * failed-precondition: it would take away what instances hold, or get in the way of another network.
 */
export function putNetwork(tx: Transaction, put: PutNetwork, nowMs: number): PutNetworkResult {
  const { document, caller, networkId } = put;
  const { project, name, labels, annotations, spec } = document;
  const before = tx.named('network', name, project);
  checkExpectation(before, document);
  if (before !== undefined) {
    const isSame = isSameData(
      [before.spec, before.metadata.labels, before.metadata.annotations],
      [spec, labels, annotations],
    );
    if (isSame) return { networkId: before.metadata.id, change: 'unchanged' };
  }
  const fresh = { ...newMetadata({ project, name, id: networkId }, nowMs), generation: 0 };
  const head = before?.metadata ?? fresh;
  const isSameSpec = before !== undefined && isSameData(before.spec, spec);
  const generation = head.generation + (isSameSpec ? 0 : 1);
  const network: Network = { metadata: { ...head, labels, annotations, generation }, spec };
  checkNeighbours(tx, network);
  if (before !== undefined && !isSameSpec) checkUsers(tx, before, network);
  tx.put('network', head.id, network, project);
  const change = before === undefined ? 'created' : 'changed';
  tx.event(
    {
      atMs: nowMs,
      type: `network.${change}`,
      severity: 'info',
      subject: { network: name },
      message: `${name} was ${change} by ${caller}`,
    },
    project,
  );
  return { networkId: head.id, change };
}

function checkExpectation(before: Network | undefined, { name, expectedRevision }: NetworkDocument): void {
  const revision = before?.metadata.revision ?? 0;
  if (expectedRevision === 0 || revision === expectedRevision) return;
  const found = before === undefined ? 'there is no such network' : `it is at ${revision}`;
  throw new DroverError('aborted', `${name} was expected at revision ${expectedRevision}, but ${found}`, {
    subject: { network: name },
    reason: 'revision-changed',
    nextStep: 'read it anew, then decide again',
  });
}

/** Two networks on one node must not be mistaken for each other. */
function checkNeighbours(tx: Transaction, { metadata, spec }: Network): void {
  for (const other of tx.list('network', metadata.project)) {
    if (other.metadata.id === metadata.id) continue;
    const { name } = other.metadata;
    const refuse = (message: string): DroverError =>
      new DroverError('failed-precondition', `network ${metadata.name} ${message}`, {
        subject: { network: metadata.name, other: name },
        reason: 'networks-clash',
      });
    if (other.spec.bridge === spec.bridge && other.spec.vlan === spec.vlan && !getAlong(spec, other.spec))
      throw refuse(`would share bridge ${spec.bridge} with network ${name}; wanted another bridge or VLAN`);
    const clash = overlapOf(spec, other.spec);
    if (clash !== undefined) throw refuse(`overlaps network ${name}: ${clash}`);
  }
}

/** On a bridge of the owner's own: one that gives out no addresses gets in the way of nobody's. */
const getAlong = (one: NetworkSpec, other: NetworkSpec): boolean =>
  !one.managedBridge && !other.managedBridge && (one.subnets.length === 0 || other.subnets.length === 0);

/** On a node, a subnet that is its own gets along with one that the node has no address of. */
function overlapOf(one: NetworkSpec, other: NetworkSpec): string | undefined {
  const isApart = one.nodePrivate !== other.nodePrivate && one.managedBridge !== other.managedBridge;
  if (isApart) return undefined;
  for (const { cidr } of one.subnets) {
    for (const { cidr: second } of other.subnets) {
      const [left, right] = [parseCidr(cidr), parseCidr(second)];
      if (left !== undefined && right !== undefined && overlaps(left, right)) return `${cidr} and ${second}`;
    }
  }
  return undefined;
}

const fixedFields = ['bridge', 'managedBridge', 'vlan', 'nodePrivate'] as const;

/** What is attached must stay reachable where it is. */
function checkUsers(tx: Transaction, before: Network, after: Network): void {
  const { name } = after.metadata;
  const refuse = (message: string, users: readonly string[]): DroverError =>
    new DroverError('failed-precondition', `network ${name} ${message}: ${someNames(users)}`, {
      subject: { network: name },
      reason: 'network-in-use',
      nextStep: 'make another network, move what uses this one there, then remove it',
    });
  const attached = instancesIn(tx, after).map(({ metadata }) => metadata.name);
  const changed = fixedFields.find((field) => before.spec[field] !== after.spec[field]);
  const isMoved = after.spec.nodePrivate && before.spec.subnets[0]?.cidr !== after.spec.subnets[0]?.cidr;
  if (attached.length > 0 && (changed !== undefined || isMoved))
    throw refuse(`cannot have another ${changed ?? 'subnet'} while instances are in it`, attached);
  const outside = heldIn(tx, after.metadata).filter(({ address }) => whyNotIn(after, address) !== '');
  if (outside.length > 0)
    throw refuse(
      'would leave addresses outside that instances hold',
      outside.map(({ address, instance }) => `${address} of ${instance}`),
    );
  const named = workloadsIn(tx, after).flatMap((workload) =>
    chosenIn(workload, name)
      .filter((address) => whyNotIn(after, address) !== '')
      .map((address) => `${address} of ${workload.metadata.name}`),
  );
  if (named.length > 0) throw refuse('would leave addresses outside that workloads name', named);
}
