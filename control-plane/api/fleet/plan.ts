import type {
  ExplainInstanceRequest,
  ExplainInstanceResponse,
  NodeVerdict as WireNodeVerdict,
  PlacementDecision,
  PlanRequest,
  PlanResponse,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance } from '#shared/model.ts';
import { parseApplyDocuments } from '#shared/wire/apply-documents.ts';
import { buildNodeViews } from '../../node-views.ts';
import { demandIn, placeInstance } from '../../placement.ts';
import { planApply } from '../../planner/apply-diff.ts';
import { withoutDemand } from '../../planner/node-room.ts';
import { nextStep } from '../../reconciler/plan.ts';
import { blockedChange } from '../../reconciler/rollout.ts';
import type { NodeVerdict } from '../../scheduler/plugin.ts';
import { schedule } from '../../scheduler/schedule.ts';
import { isOutdated } from '../../store/instance-template.ts';
import { scratchTransaction } from '../../store/scratch.ts';
import type { HandlerDeps } from '../handler.ts';
import { instanceMessageOf, type Moment, presentMoment } from '../messages.ts';
import { findInstance, parseProject } from '../resolve-name.ts';

export async function plan(request: PlanRequest, deps: HandlerDeps): Promise<PlanResponse> {
  const documents = parseApplyDocuments(request);
  const { store, view, clock } = deps;
  const world = { snapshot: store.snapshot(), live: view.nodes(), nowMs: clock.nowMs() };
  const { revision, networks, workloads } = planApply(documents, world);
  return {
    revision: BigInt(revision),
    workloads: workloads.map((workload) => ({
      ...workload,
      fields: [...workload.fields],
      steps: [...workload.steps],
      placements: workload.placements.map(formatDecision),
    })),
    networks: networks.map((network) => ({ ...network, fields: [...network.fields] })),
  };
}

export async function explainInstance(
  request: ExplainInstanceRequest,
  deps: HandlerDeps,
): Promise<ExplainInstanceResponse> {
  const moment = presentMoment(deps);
  const instance = findInstance(moment.snapshot, request.instance, parseProject(request.project));
  const message = instanceMessageOf(instance, moment);
  return {
    instance: message,
    decision: decideAnew(instance, moment),
    nextStep: describeNext(instance, moment),
    placedBecause: message.placedBecause,
    runtimeBecause: whyRuntime(instance, moment),
  };
}

/** As it would fall now, without what the instance itself takes up where it is. */
function decideAnew(instance: Instance, { snapshot, view, world }: Moment): PlacementDecision {
  const { node } = instance;
  const nodes = buildNodeViews(snapshot, view.nodes());
  if (node === undefined && instance.intent === 'run') {
    // Also what would be its own there may be what is missing: a slot, an address, a port.
    const ids = { newId: () => 'not-made', nowMs: world.nowMs };
    const placed = placeInstance(scratchTransaction(snapshot), instance, nodes, ids);
    return formatDecision({
      instance: instance.metadata.name,
      node: placed.node ?? '',
      verdicts: placed.explain(),
      summary: placed.because,
    });
  }
  const demand = demandIn(snapshot, instance);
  const decision = schedule(demand, node === undefined ? nodes : withoutDemand(nodes, node, demand));
  const verdicts = decision.explain();
  const own = verdicts.filter((verdict) => verdict.node === node);
  return formatDecision({
    instance: instance.metadata.name,
    node: decision.node ?? '',
    verdicts: [...own, ...verdicts.filter((verdict) => verdict.node !== node)],
    summary: decision.summary(),
  });
}

/** What runs keeps its runtime; why it was chosen is told by the workload, while that is the one it has. */
function whyRuntime({ workload, spec, metadata }: Instance, { snapshot }: Moment): string {
  const resolved = snapshot.named('workload', workload, metadata.project)?.resolved;
  const because = resolved?.runtime === spec.runtime ? resolved.runtimeBecause : 'chosen before';
  return `${spec.runtime}: ${because}`;
}

function describeNext(instance: Instance, { world, snapshot }: Moment): string {
  const { node, workload, metadata } = instance;
  if (world.stale(instance)) return `nothing until ${node} answers: it may still run there`;
  const step = nextStep(instance, world);
  switch (step?.kind) {
    case 'place':
      return instance.placedBecause === '' ? 'place it' : 'place it as soon as a node fits';
    case 'ensure':
      return `tell ${node} to run it`;
    case 'remove':
      return `stop and remove it on ${node}`;
    case 'let-go':
      return 'give back the addresses that it had before its update';
    case 'forget':
      return 'forget it: nothing of it is left';
    default: {
      if (instance.observed === 'absent' && instance.intent === 'run')
        return `replace it by another: ${node} holds it no more`;
      const owner = snapshot.named('workload', workload, metadata.project);
      if (owner === undefined) return 'nothing: its workload is gone';
      if (!isOutdated(instance, owner)) return nothingToDo(node, snapshot);
      const blocked = blockedChange(owner, [instance], world);
      return blocked === undefined
        ? `bring it to generation ${owner.metadata.generation} of ${workload} when its turn comes`
        : `nothing: ${blocked.because}`;
    }
  }
}

function nothingToDo(node: string | undefined, snapshot: Moment['snapshot']): string {
  const isOfCluster = node !== undefined && snapshot.named('node', node)?.cluster !== undefined;
  return isOfCluster
    ? 'nothing to do: it is as it should be'
    : 'nothing to do: its agent keeps it as it should be';
}

function formatDecision({
  verdicts,
  ...rest
}: Omit<PlacementDecision, 'verdicts'> & { readonly verdicts: readonly NodeVerdict[] }): PlacementDecision {
  return { ...rest, verdicts: verdicts.map(formatVerdict) };
}

const formatVerdict = ({ node, fits, failed, reason, score }: NodeVerdict): WireNodeVerdict => ({
  node,
  fits,
  rule: failed[0]?.name ?? '',
  reason,
  score,
});
