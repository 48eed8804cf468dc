import type { NodeName } from '#shared/model.ts';
import type { Demand, Filter, NodeVerdict, NodeView } from './plugin.ts';
import { filters, scores } from './plugins/index.ts';
import { summarize } from './summary.ts';

export interface Decision {
  /** Undefined when no node fits. */
  readonly node: NodeName | undefined;
  /** Every node's verdict: what fits first, best first, then by name. Built when it is asked for. */
  explain(): readonly NodeVerdict[];
  /** One paragraph for people. Built when it is asked for. */
  summary(): string;
}

/** For one demand: how much each of `scores` counts. */
const weightsOf = (demand: Demand): readonly number[] => scores.map((score) => score.weight(demand));

function fitsAll(demand: Demand, node: NodeView, asked: readonly Filter[]): boolean {
  for (let place = 0; place < asked.length; place++) if (!asked[place]?.fits(demand, node)) return false;
  return true;
}

function totalOf(demand: Demand, node: NodeView, weights: readonly number[]): number {
  let total = 0;
  for (let place = 0; place < scores.length; place++) {
    const weight = weights[place] ?? 0;
    if (weight !== 0) total += weight * (scores[place]?.rate(demand, node) ?? 0);
  }
  return total;
}

/**
 * Picks a node for the demand. Pure and exact: every node is looked at, and of equal scores the first name
 * wins, so the same views give the same answer in whatever order they come. Nothing is allocated per node
 * until somebody asks why.
 */
export function schedule(demand: Demand, nodes: readonly NodeView[]): Decision {
  const weights = weightsOf(demand);
  const asked = filters.filter((filter) => filter.concerns?.(demand) ?? true);
  let best: NodeView | undefined;
  let bestTotal = -Infinity;
  for (const node of nodes) {
    if (!fitsAll(demand, node, asked)) continue;
    const total = totalOf(demand, node, weights);
    if (total < bestTotal || (total === bestTotal && best !== undefined && best.name < node.name)) continue;
    best = node;
    bestTotal = total;
  }
  const explain = (): readonly NodeVerdict[] =>
    nodes.map((node) => verdictOn(demand, node, weights)).toSorted(bestFirst);
  return { node: best?.name, explain, summary: () => summarize(demand, nodes, explain()) };
}

function verdictOn(demand: Demand, node: NodeView, weights: readonly number[]): NodeVerdict {
  const failed = filters.filter((filter) => !filter.fits(demand, node));
  if (failed.length > 0) {
    const reason = failed.map((filter) => filter.reason(demand, node)).join('; ');
    return { node: node.name, fits: false, failed, reason, score: 0 };
  }
  const parts = scores.flatMap((score, place) =>
    weights[place] === 0 ? [] : [`${score.name} ${Math.round(score.rate(demand, node))}`],
  );
  // What decides is the weighted sum; what people see is the same, from 0 to 100.
  const score =
    totalOf(demand, node, weights) /
    Math.max(
      1,
      weights.reduce((sum, weight) => sum + weight, 0),
    );
  return { node: node.name, fits: true, failed, reason: `fits: ${parts.join(', ')} of 100`, score };
}

function bestFirst(a: NodeVerdict, b: NodeVerdict): number {
  if (a.fits !== b.fits) return a.fits ? -1 : 1;
  if (a.score !== b.score) return b.score - a.score;
  return a.node < b.node ? -1 : 1;
}
