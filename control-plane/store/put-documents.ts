import { workloadPrefix } from '#shared/wire/apply-documents.ts';
import { checkNetworkUses } from './check-network-uses.ts';
import { type PutNetwork, type PutNetworkResult, putNetwork } from './put-network.ts';
import { type PutResult, type PutWorkload, putWorkload } from './put-workload.ts';
import type { Transaction } from './store.ts';

export interface PutDocuments {
  readonly networks: readonly PutNetwork[];
  readonly workloads: readonly PutWorkload[];
}

/**
 * Makes networks, then workloads, as documents say: all of them or none. invalid-argument where a workload
 * cannot be in a network that it names; else as putNetwork and putWorkload.
 */
export function putDocuments(
  tx: Transaction,
  { networks, workloads }: PutDocuments,
  nowMs: number,
): { readonly networks: readonly PutNetworkResult[]; readonly workloads: readonly PutResult[] } {
  const results = {
    networks: networks.map((put) => putNetwork(tx, put, nowMs)),
    workloads: workloads.map((put) => putWorkload(tx, put, nowMs)),
  };
  const documents = {
    networks: networks.map(({ document }) => document),
    workloads: workloads.map(({ document }) => document),
  };
  checkNetworkUses(
    tx,
    documents.workloads.map(({ name, project }, place) => ({
      name,
      project,
      prefix: workloadPrefix(documents, place),
    })),
  );
  return results;
}
