import { createHash } from 'node:crypto';
import { DroverError } from '#shared/errors.ts';
import type { Node, NodeName } from '#shared/model.ts';
import { newMetadata } from './new-metadata.ts';
import { foundCluster } from './put-cluster.ts';
import type { Snapshot, Transaction } from './store.ts';

/** What a node of a cluster is called there, and which cluster it is of; both are labels of its record. */
export const clusterLabels = { cluster: 'proxmox.cluster', node: 'proxmox.node' } as const;

const nameLimit = 40;
const hashCharacters = 8;

/**
 * The name that a node of a cluster has in the fleet: "lab-pve1"; with a hash where that is too long or no
 * name. Pure.
 */
export function clusterNodeName(cluster: string, node: string): NodeName {
  const plain = `${cluster}-${node.toLowerCase()}`;
  const isName = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(plain);
  return isName && plain.length <= nameLimit ? (plain as NodeName) : hashedName(cluster, node);
}

function hashedName(cluster: string, node: string): NodeName {
  const hash = createHash('sha256').update(`${cluster}/${node}`).digest('hex').slice(0, hashCharacters);
  const clean = `${cluster}-${node.toLowerCase()}`.replaceAll(/[^a-z0-9-]+/g, '-');
  return `${clean.slice(0, nameLimit - hashCharacters - 1).replace(/-+$/, '')}-${hash}` as NodeName;
}

/**
 * Makes a node of a cluster part of the fleet, under a name that nobody else has, and gives that name; what
 * is there already stays as it is. `node` is what the cluster calls it; `id` a UUIDv7 for one that is new.
 * not-found: there is no such cluster; failed-precondition: it is being removed, or the name cannot be had.
 */
export function putClusterNode(
  tx: Transaction,
  { cluster, node, id }: { readonly cluster: string; readonly node: string; readonly id: string },
  nowMs: number,
): NodeName {
  const { removingSinceMs } = foundCluster(tx, cluster);
  const subject = { cluster };
  if (removingSinceMs !== undefined)
    throw new DroverError('failed-precondition', `${cluster} is being removed`, { subject });
  const choices = [clusterNodeName(cluster, node), hashedName(cluster, node)];
  for (const name of choices) {
    const found = tx.named('node', name);
    if (found !== undefined && isNodeOf(found, cluster, node)) return name;
    if (found !== undefined) continue;
    create(tx, { cluster, node, id, name }, nowMs);
    return name;
  }
  throw new DroverError('failed-precondition', `${choices.join(' and ')} are names of other nodes already`, {
    subject,
    nextStep: 'remove those nodes, or add the cluster under another name',
  });
}

const isNodeOf = (record: Node, cluster: string, node: string): boolean =>
  record.cluster === cluster && record.metadata.labels[clusterLabels.node] === node;

function create(
  tx: Transaction,
  { cluster, node, id, name }: Readonly<Record<'cluster' | 'node' | 'id' | 'name', string>>,
  nowMs: number,
): void {
  const record: Node = {
    metadata: newMetadata(
      { name, id, labels: { [clusterLabels.cluster]: cluster, [clusterLabels.node]: node } },
      nowMs,
    ),
    cordoned: false,
    facts: undefined,
    incarnation: '',
    bootId: '',
    certificateSerial: '',
    cluster,
  };
  tx.put('node', id, record);
  const subject = { node: name, cluster };
  const message = `${cluster} brought it; there it is ${node}`;
  tx.event({ atMs: nowMs, type: 'node.joined', severity: 'info', subject, message });
}

export const nodesOfCluster = (snapshot: Pick<Snapshot, 'list'>, cluster: string): Node[] =>
  snapshot.list('node').filter((node) => node.cluster === cluster);
