import type { Workload } from '#shared/model.ts';
import type { WorkloadDocument } from '#shared/wire/workload.ts';
import type { LiveNode } from '../fleet-view.ts';
import { buildNodeViews } from '../node-views.ts';
import { runtimeOf } from '../scheduler/choose-runtime.ts';
import type { NodeView } from '../scheduler/plugin.ts';
import { putWorkload } from '../store/put-workload.ts';
import { scratchTransaction } from '../store/scratch.ts';
import type { Snapshot, Transaction } from '../store/store.ts';
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

export interface ApplyPlan {
  /** The store's revision that it was computed from. */
  readonly revision: number;
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
 * throw. Pure.
 */
export function planApply(documents: readonly WorkloadDocument[], world: PlanWorld): ApplyPlan {
  const tx = scratchTransaction(world.snapshot);
  let nodes = buildNodeViews(world.snapshot, world.live);
  const workloads = documents.map((document) => {
    const planned = planOne(document, tx, nodes, world);
    nodes = planned.nodes;
    return planned.plan;
  });
  return { revision: world.snapshot.revision, workloads };
}

function planOne(
  document: WorkloadDocument,
  tx: Transaction,
  nodes: NodeView[],
  { live, nowMs }: PlanWorld,
): { plan: WorkloadPlan; nodes: NodeView[] } {
  const { name, project } = document;
  const before = tx.named('workload', name, project);
  const ids = { workloadId: `new-${name}`, operationId: `plan-${name}` };
  const put = { document, ...ids, caller: 'plan', planRevision: 0 };
  const { change } = putWorkload(tx, put, nowMs);
  const fields = diffFields(before && described(before), document);
  if (change === 'unchanged')
    return { plan: { name, change: 'none', fields, steps: [], placements: [], runtime: '' }, nodes };

  const workload = tx.named('workload', name, project) as Workload;
  const simulated = simulateRollout(workload, { tx, nodes, live, nowMs });
  const { steps, placements } = simulated;
  const kind = change === 'created' ? ('create' as const) : ('change' as const);
  const { runtime, runtimeBecause } = runtimeOf(tx.named('workload', name, project) ?? workload);
  const plan = { name, change: kind, fields, steps, placements, runtime: `${runtime}: ${runtimeBecause}` };
  return { plan, nodes: simulated.nodes };
}

const described = ({ metadata: { labels, annotations }, spec }: Workload) => ({ labels, annotations, spec });
