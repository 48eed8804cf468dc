import type { NodeName, PlacementBond } from '#shared/model.ts';
import type { HaCompanion, HaRules } from './ha-rules.ts';

/** What the rules are about, as it is now. */
export interface HaScene {
  /** Where the guest is, as the cluster calls it. */
  readonly here: string;
  /** As the node is called in the fleet. */
  nameOf(node: string): NodeName;
  /** HA would have guests there: it takes part, and is not in maintenance. */
  counts(node: string): boolean;
  /** Undefined: it is not listed. */
  find(sid: string): { readonly node: string; readonly called: string } | undefined;
}

/** What HA's rules say of where a guest may be. Pure. `sid`: "ct:105". */
export const bondsOf = (rules: HaRules, sid: string, scene: HaScene): PlacementBond[] => [
  ...nodeBonds(rules, sid, scene),
  ...togetherBonds(rules.together(sid), scene),
  ...apartBonds(rules.apart(sid), scene),
];

function nodeBonds(rules: HaRules, sid: string, scene: HaScene): PlacementBond[] {
  const rule = rules.nodeRule(sid);
  if (rule === undefined) return [];
  const { called, priorities, strict } = rule;
  const ranked = [...priorities].toSorted(([a, one], [b, other]) => other - one || (a < b ? -1 : 1));
  const names = (some: readonly (readonly [string, number])[]) => some.map(([node]) => scene.nameOf(node));
  const all = names(ranked);
  const keeps: PlacementBond[] = strict
    ? [{ kind: 'only', nodes: all, because: `HA keeps it to ${all.join(', ')} (${called})` }]
    : [];
  const counting = ranked.filter(([node]) => scene.counts(node));
  const [best] = counting;
  if (!rules.bringsBack(sid) || best === undefined) return keeps;
  const liked = names(counting.filter(([, priority]) => priority === best[1]));
  const because = `HA would bring it back to ${liked.join(', ')} (${called})`;
  if (!strict) return [{ kind: 'only', nodes: liked, because }];
  const others = all.filter((name) => !liked.includes(name));
  return others.length === 0 ? keeps : [...keeps, { kind: 'never', nodes: others, because }];
}

interface Placed {
  readonly node: NodeName;
  readonly guest: string;
  readonly called: string;
  readonly isHere: boolean;
}

const placedOf = (companions: readonly HaCompanion[], scene: HaScene): Placed[] =>
  companions.flatMap(({ sid, called }) => {
    const found = scene.find(sid);
    if (found === undefined) return [];
    const { node, called: guest } = found;
    return [{ node: scene.nameOf(node), guest, called, isHere: node === scene.here }];
  });

const listOf = (values: readonly string[]): string => [...new Set(values)].toSorted().join(', ');
const guestsOf = (placed: readonly Placed[]): string => listOf(placed.map(({ guest }) => guest));

/** HA moves all of them where one of them is moved. */
function togetherBonds(companions: readonly HaCompanion[], scene: HaScene): PlacementBond[] {
  const placed = placedOf(companions, scene);
  const [first] = placed;
  if (first === undefined) return [];
  const away = placed.filter(({ isHere }) => !isHere);
  const [nearest] = away;
  if (nearest === undefined)
    return [{ kind: 'along', nodes: [], because: `HA moves ${guestsOf(placed)} along (${first.called})` }];
  const nodes = [...new Set(away.map(({ node }) => node))].toSorted();
  const because = `HA keeps it together with ${guestsOf(away)} on ${nodes.join(', ')} (${nearest.called})`;
  return [{ kind: 'only', nodes, because }];
}

const apartBonds = (companions: readonly HaCompanion[], scene: HaScene): PlacementBond[] =>
  [...Map.groupBy(placedOf(companions, scene), ({ node, called }) => `${node} ${called}`)]
    .toSorted(([one], [other]) => (one < other ? -1 : 1))
    .flatMap(([, placed]) => {
      const [first] = placed;
      if (first === undefined) return [];
      const { node, called } = first;
      const because = `HA keeps it apart from ${guestsOf(placed)} on ${node} (${called})`;
      return [{ kind: 'never' as const, nodes: [node], because }];
    });
