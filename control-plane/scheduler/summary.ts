import type { Demand, Filter, NodeVerdict, NodeView } from './plugin.ts';

/**
 * The verdicts in one paragraph: "0 of 48 nodes fit. 31 lack memory (closest: pve7, short 1.4 GiB) · 5
 * cordoned. It would fit with memory ≤ 6 GiB."
 */
export function summarize(
  demand: Demand,
  nodes: readonly NodeView[],
  verdicts: readonly NodeVerdict[],
): string {
  if (nodes.length === 0) return 'There is no node yet.';
  const fitting = verdicts.filter(({ fits }) => fits);
  const best = fitting[0];
  const choice = best === undefined ? '' : `, ${best.node} best`;
  const head = `${fitting.length} of ${nodes.length} nodes fit${choice}.`;
  const views = new Map(nodes.map((node) => [node.name, node]));
  const groups = Map.groupBy(
    verdicts.filter(({ fits }) => !fits),
    ({ failed }) => failed[0] as Filter,
  );
  const counts = [...groups]
    .toSorted(([, a], [, b]) => b.length - a.length)
    .map(([filter, group]) => `${group.length} ${filter.outcome}${closestOf(demand, filter, group, views)}`)
    .join(' · ');
  return [head, counts && `${counts}.`, best === undefined ? wouldFit(demand, verdicts, views) : '']
    .filter((part) => part !== '')
    .join(' ');
}

interface Distance {
  readonly node: NodeView;
  readonly missing: number;
}

/** The one of the group that is nearest to fitting by this rule; of equals the first by name. */
function nearest(
  demand: Demand,
  filter: Filter,
  group: readonly NodeVerdict[],
  views: ReadonlyMap<string, NodeView>,
): Distance | undefined {
  const { amount } = filter;
  if (amount === undefined) return undefined;
  return group
    .map(({ node }) => views.get(node) as NodeView)
    .map((node) => ({ node, missing: amount.missing(demand, node) }))
    .toSorted((a, b) => a.missing - b.missing || (a.node.name < b.node.name ? -1 : 1))[0];
}

function closestOf(
  demand: Demand,
  filter: Filter,
  group: readonly NodeVerdict[],
  views: ReadonlyMap<string, NodeView>,
): string {
  const closest = nearest(demand, filter, group, views);
  if (closest === undefined) return '';
  return ` (closest: ${closest.node.name}, short ${filter.amount?.format(closest.missing)})`;
}

/** What smaller demand would fit, where one amount is all that keeps some node out. */
function wouldFit(
  demand: Demand,
  verdicts: readonly NodeVerdict[],
  views: ReadonlyMap<string, NodeView>,
): string {
  const nearly = Map.groupBy(
    verdicts.filter(({ failed }) => failed.length === 1 && failed[0]?.amount !== undefined),
    ({ failed }) => failed[0] as Filter,
  );
  const ways = [...nearly].flatMap(([filter, group]) => {
    const closest = nearest(demand, filter, group, views);
    return closest === undefined ? [] : [filter.amount?.wouldFit(demand, closest.missing)];
  });
  return ways.length === 0 ? '' : `It would fit with ${ways.join(', or with ')}.`;
}
