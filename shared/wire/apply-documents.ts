import type {
  NetworkDocument as WireNetworkDocument,
  WorkloadDocument as WireWorkloadDocument,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { checkRange, collectFaults } from '#shared/wire/checks.ts';
import { type NetworkDocument, checkNetworkDocument } from '#shared/wire/network-document.ts';
import {
  type WorkloadDocument,
  checkWorkloadDocuments,
  parseWorkloadDocuments,
  workloadLimits,
} from '#shared/wire/workload.ts';

/** All that is applied, or planned, at once. */
export interface ApplyDocuments {
  readonly networks: readonly NetworkDocument[];
  readonly workloads: readonly WorkloadDocument[];
}

/** Where a fault of one of the workloads is: "documents[1].", or nothing where it is the only document. */
export const workloadPrefix = ({ networks, workloads }: ApplyDocuments, place: number): string =>
  workloads.length > 1 || networks.length > 0 ? `documents[${place}].` : '';

/**
 * invalid-argument with the faults of all of them: paths as in the YAML, after "networks[0]." for a
 * network; those of a workload as parseWorkloadDocuments has them, and always with their document beside
 * networks.
 */
export function parseApplyDocuments(message: {
  readonly networks: readonly WireNetworkDocument[];
  readonly documents: readonly WireWorkloadDocument[];
}): ApplyDocuments {
  if (message.networks.length === 0)
    return { networks: [], workloads: parseWorkloadDocuments(message.documents) };
  const faults = collectFaults();
  const { documents: most } = workloadLimits;
  checkRange(message.documents.length + message.networks.length, [1, most], 'documents', faults);
  const networks = message.networks
    .slice(0, most)
    .map((one, place) => checkNetworkDocument(one, `networks[${place}].`, faults));
  const seen = new Set<string>();
  for (const [place, { name }] of networks.entries()) {
    if (seen.has(name)) faults.add(`networks[${place}].name`, `"${name}" is there twice`);
    seen.add(name);
  }
  const workloads = checkWorkloadDocuments(message.documents, true, faults);
  faults.throwIfAny('documents');
  return { networks, workloads };
}
