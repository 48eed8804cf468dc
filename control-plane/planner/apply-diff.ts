import type { Workload } from '#shared/model.ts';
import type { ApplyDocuments } from '#shared/wire/apply-documents.ts';
import type { NetworkDocument } from '#shared/wire/network-document.ts';
import type { WorkloadDocument } from '#shared/wire/workload.ts';
import type { LiveNode } from '../fleet-view.ts';
import { buildNodeViews } from '../node-views.ts';
import { runtimeOf } from '../scheduler/choose-runtime.ts';
import type { NodeView } from '../scheduler/plugin.ts';
import { putDocuments } from '../store/put-documents.ts';
import { type PutNetwork, putNetwork } from '../store/put-network.ts';
import { type PutWorkload, putWorkload } from '../store/put-workload.ts';
import { scratchTransaction } from '../store/scratch.ts';
import type { Snapshot, Transaction } from '../store/store.ts';
import { diffNetworkFields } from './network-fields.ts';
import { type PlannedPlacement, type PlannedStep, simulateRollout } from './simulate.ts';
import { diffFields, type FieldChange } from './spec-fields.ts';

/** What would become of one workload. */
interface WorkloadPlan {
  readonly name: string;
  readonly change: 'create' | 'change' | 'none';
  readonly fields: readonly FieldChange[];
  readonly steps: readonly PlannedStep[];
  readonly placements: readonly PlannedPlacement[];
  /** "lxc: rule \"system\""; empty where nothing changes. */
  readonly runtime: string;
}

/** What would become of one network. */
interface NetworkPlan {
  readonly name: string;
  readonly change: 'create' | 'change' | 'none';
  readonly fields: readonly FieldChange[];
}

export interface ApplyPlan {
  /** The store's revision that it was computed from. */
  readonly revision: number;
  readonly networks: readonly NetworkPlan[];
  readonly workloads: readonly WorkloadPlan[];
}

export interface PlanWorld {
  readonly snapshot: Snapshot;
  readonly live: ReadonlyMap<LiveNode['name'], LiveNode>;
  readonly nowMs: number;
}

/**
 * What an apply of the documents would do: the transaction of the apply itself, never committed, then
 * rollout and scheduler on its outcome until there is nothing left to do. Throws what the apply would
 * throw, but for guests that were adopted. Pure.
 */
export function planApply(documents: ApplyDocuments, world: PlanWorld): ApplyPlan {
  const { snapshot, nowMs } = world;
  const networkPuts = documents.networks.map(putOfNetwork);
  putDocuments(
    scratchTransaction(snapshot),
    { networks: networkPuts, workloads: documents.workloads.map(putOf) },
    nowMs,
  );
  const tx = scratchTransaction(snapshot);
  let nodes = buildNodeViews(snapshot, world.live);
  const networks = networkPuts.map((put) => planNetwork(put, tx, nowMs));
  const workloads = documents.workloads.map((document) => {
    const planned = planOne(document, tx, nodes, world);
    nodes = planned.nodes;
    return planned.plan;
  });
  return { revision: snapshot.revision, networks, workloads };
}

const putOfNetwork = (document: NetworkDocument): PutNetwork => ({
  document,
  networkId: `new-${document.name}`,
  caller: 'plan',
});
const putOf = (document: WorkloadDocument): PutWorkload => {
  const { name } = document;
  const ids = { workloadId: `new-${name}`, operationId: `plan-${name}` };
  // What it would take is told where it is planned.
  return { document, ...ids, caller: 'plan', planRevision: 0, destroyAdopted: true };
};

const kinds = { created: 'create', changed: 'change', unchanged: 'none' } as const;

function planNetwork(put: PutNetwork, tx: Transaction, nowMs: number): NetworkPlan {
  const { document } = put;
  const { name, project } = document;
  const before = tx.named('network', name, project);
  const { change } = putNetwork(tx, put, nowMs);
  const old = before && { ...before.metadata, spec: before.spec };
  return { name, change: kinds[change], fields: diffNetworkFields(old, document) };
}

function planOne(
  document: WorkloadDocument,
  tx: Transaction,
  nodes: NodeView[],
  { live, nowMs }: PlanWorld,
): { plan: WorkloadPlan; nodes: NodeView[] } {
  const { name, project } = document;
  const before = tx.named('workload', name, project);
  const { change } = putWorkload(tx, putOf(document), nowMs);
  const fields = diffFields(before && described(before), document);
  if (change === 'unchanged')
    return { plan: { name, change: 'none', fields, steps: [], placements: [], runtime: '' }, nodes };

  const workload = tx.named('workload', name, project) as Workload;
  const simulated = simulateRollout(workload, { tx, nodes, live, nowMs });
  const { steps, placements } = simulated;
  const kind = kinds[change];
  const { runtime, runtimeBecause } = runtimeOf(tx.named('workload', name, project) ?? workload);
  const plan = { name, change: kind, fields, steps, placements, runtime: `${runtime}: ${runtimeBecause}` };
  return { plan, nodes: simulated.nodes };
}

const described = ({ metadata: { labels, annotations }, spec }: Workload) => ({ labels, annotations, spec });
