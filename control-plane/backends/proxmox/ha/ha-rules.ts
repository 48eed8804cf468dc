import type { Row } from '../api/answer-rows.ts';
import { isOn, parseList, textOf } from '../guests/properties.ts';

/** Where HA wants a guest: a group before 9, a node-affinity rule from 9 on. */
export interface HaNodeRule {
  /** As people made it: 'group "near"', 'rule "near"'. */
  readonly called: string;
  /** By node, as the cluster calls it. */
  readonly priorities: ReadonlyMap<string, number>;
  /** On no other node, whatever happens to these. */
  readonly strict: boolean;
}

/** Another guest that a rule binds to this one. */
export interface HaCompanion {
  /** "ct:105". */
  readonly sid: string;
  readonly called: string;
}

/** What HA is told to heed, by guest ("ct:105"). As its manager understands it, not as it is written. */
export interface HaRules {
  nodeRule(sid: string): HaNodeRule | undefined;
  /** It takes the guest back to where it likes it best, as soon as it is elsewhere. */
  bringsBack(sid: string): boolean;
  together(sid: string): readonly HaCompanion[];
  apart(sid: string): readonly HaCompanion[];
}

interface Resource {
  readonly group: string;
  readonly isStarted: boolean;
  readonly failsBack: boolean;
}

export const sidOf = ({ kind, vmid }: { readonly kind: 'lxc' | 'qemu'; readonly vmid: number }): string =>
  `${kind === 'lxc' ? 'ct' : 'vm'}:${vmid}`;

/** "pve1:2,pve2"; none counts as 0. */
const prioritiesOf = (text: unknown): Map<string, number> =>
  new Map(
    parseList(text).map((each) => {
      const [node = '', priority = '0'] = each.split(':');
      return [node, Number(priority)] as const;
    }),
  );

/** Those that HA was told to leave alone are nothing to it. */
function resourcesOf(rows: readonly Row[]): Map<string, Resource> {
  const resources = new Map<string, Resource>();
  for (const row of rows) {
    const state = textOf(row['state']) || 'started';
    if (state === 'ignored') continue;
    resources.set(textOf(row['sid']), {
      group: textOf(row['group']),
      isStarted: state === 'started' || state === 'enabled',
      failsBack: row['failback'] === undefined || isOn(row['failback']),
    });
  }
  return resources;
}

/** The rows of `cluster/ha/resources` and `cluster/ha/groups`, before 9. */
export function rulesFromGroups(resourceRows: readonly Row[], groupRows: readonly Row[]): HaRules {
  const resources = resourcesOf(resourceRows);
  const groups = new Map(groupRows.map((row) => [textOf(row['group']), row]));
  const groupOf = (sid: string): Row | undefined => groups.get(resources.get(sid)?.group ?? '');
  return {
    nodeRule(sid) {
      const group = groupOf(sid);
      if (group === undefined) return undefined;
      const called = `group "${textOf(group['group'])}"`;
      return { called, priorities: prioritiesOf(group['nodes']), strict: isOn(group['restricted']) };
    },
    bringsBack: (sid) => resources.get(sid)?.isStarted === true && !isOn(groupOf(sid)?.['nofailback']),
    together: () => [],
    apart: () => [],
  };
}

/** The rows of `cluster/ha/resources` and `cluster/ha/rules`, from 9 on. */
export function rulesFromRules(resourceRows: readonly Row[], ruleRows: readonly Row[]): HaRules {
  const resources = resourcesOf(resourceRows);
  // The manager drops those that contradict others.
  const valid = ruleRows.filter((row) => !isOn(row['disable']) && row['errors'] === undefined);
  const rules = valid.map((row) => ({
    called: `rule "${textOf(row['rule'])}"`,
    type: textOf(row['type']),
    affinity: textOf(row['affinity']),
    sids: new Set(parseList(row['resources'])),
    row,
  }));
  const positive = rules.filter(
    ({ type, affinity }) => type === 'resource-affinity' && affinity === 'positive',
  );
  const negative = rules.filter(
    ({ type, affinity }) => type === 'resource-affinity' && affinity === 'negative',
  );
  const nodeRules = rules.filter(({ type }) => type === 'node-affinity');

  /** The others that rules name with it, each with the name of the rule. */
  const namedWith = (sid: string, some: typeof rules): (readonly [string, string])[] =>
    some
      .filter(({ sids }) => sids.has(sid))
      .flatMap(({ called, sids }) => [...sids].map((other) => [other, called] as const))
      .filter(([other]) => other !== sid);

  /** With the rule that ties each to the others. Rules that share a guest are one. */
  function bundleOf(sid: string): Map<string, string> {
    const bundle = new Map([[sid, '']]);
    for (const [member] of bundle)
      for (const [other, called] of namedWith(member, positive))
        if (!bundle.has(other)) bundle.set(other, called);
    return bundle;
  }
  const companions = (found: Iterable<readonly [string, string]>, sid: string): HaCompanion[] =>
    [...found]
      .filter(([other]) => other !== sid && resources.has(other))
      .map(([other, called]) => ({ sid: other, called }));

  return {
    nodeRule(sid) {
      const bundle = bundleOf(sid);
      const found = nodeRules.find(({ sids }) => [...bundle.keys()].some((each) => sids.has(each)));
      if (found === undefined) return undefined;
      const { called, row } = found;
      return { called, priorities: prioritiesOf(row['nodes']), strict: isOn(row['strict']) };
    },
    bringsBack(sid) {
      const resource = resources.get(sid);
      return resource?.isStarted === true && resource.failsBack;
    },
    together: (sid) => companions(bundleOf(sid), sid),
    apart(sid) {
      const others = new Map<string, string>();
      for (const member of bundleOf(sid).keys())
        for (const [other, called] of namedWith(member, negative)) others.set(other, called);
      return companions(others, sid);
    },
  };
}
