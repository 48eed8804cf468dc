import type { WorkloadDocument } from '#shared/wire/workload.ts';
import { buildNodeViews } from '../node-views.ts';
import { scratchTransaction } from '../store/scratch.ts';
import { planApply, type PlanWorld } from './apply-diff.ts';
import { simulateRollout } from './simulate.ts';

/**
 * What an apply of the document would change in a world where its workload is there already, and what would
 * be done about its copies: nothing, if the document and the records say the same. A sentence each. Pure.
 */
export function changesOfAdopted(document: WorkloadDocument, world: PlanWorld): string[] {
  const { snapshot, live, nowMs } = world;
  const { workloads } = planApply({ networks: [], workloads: [document] }, world);
  const planned = workloads.flatMap(({ change, fields, steps }) => [
    ...(change === 'none' ? [] : [`${document.name}: ${change}`]),
    ...fields.map(({ field, before, after }) => `${field}: ${before} to ${after}`),
    ...steps.map(sentence),
  ]);
  const workload = snapshot.named('workload', document.name, document.project);
  if (workload === undefined) return [...planned, `there is no workload ${document.name}`];
  const tx = scratchTransaction(snapshot);
  const nodes = buildNodeViews(snapshot, live);
  return [...planned, ...simulateRollout(workload, { tx, nodes, live, nowMs }).steps.map(sentence)];
}

const sentence = ({ kind, instance, detail }: { kind: string; instance: string; detail: string }): string =>
  `${kind} ${instance}: ${detail}`;
