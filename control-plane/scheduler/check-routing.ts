import type { FieldFault } from '#shared/errors.ts';
import type { Matcher, Routing, RoutingRule } from '#shared/model.ts';
import { covers, type Effort, matcherFault, overlap } from './matcher.ts';

/** Every runtime that there is a driver or a backend for. */
export const knownRuntimes = ['crun', 'lxc', 'proxmox-lxc', 'proxmox-vm'] as const;

export interface RoutingReport {
  /** What keeps the rules from being used. */
  readonly faults: readonly FieldFault[];
  /** What is worth knowing. */
  readonly warnings: readonly string[];
}

/** For a whole set: a second at most, whatever the patterns. */
const effortOfAll = 10_000_000;

/**
 * All that is wrong with a whole set of rules: unknown runtimes, patterns that cannot be read, rules that no
 * workload can ever reach; and rules that overlap, where the first decides. `offered` are the runtimes that
 * nodes have now. Pure.
 */
export function checkRouting(
  { rules, defaultRuntime }: Pick<Routing, 'rules' | 'defaultRuntime'>,
  offered: ReadonlySet<string>,
): RoutingReport {
  const faults: FieldFault[] = [...runtimeFaults(defaultRuntime, 'default')];
  const warnings: string[] = [];
  for (const [place, rule] of rules.entries()) {
    const at = `rules[${place}]`;
    faults.push(...runtimeFaults(rule.runtime, `${at}.runtime`));
    for (const [field, matcher] of matchersOf(rule)) {
      const message = matcherFault(matcher);
      if (message !== '') faults.push({ field: `${at}.${field}`, message });
    }
    const twin = rules.slice(0, place).find(({ name }) => name === rule.name);
    if (twin !== undefined) faults.push({ field: `${at}.name`, message: `"${rule.name}" is there twice` });
  }
  if (faults.length > 0) return { faults, warnings };
  const effort = { left: effortOfAll };
  for (const [place, rule] of rules.entries()) {
    const earlier = rules.slice(0, place);
    const cover = earlier.find((each) => ruleCovers(each, rule, effort));
    if (cover === undefined) warnings.push(...overlaps(earlier, rule, effort));
    else
      faults.push({
        field: `rules[${place}]`,
        message: `"${rule.name}" is never reached: "${cover.name}" before it matches all that it matches`,
      });
  }
  return { faults, warnings: [...warnings, ...notOffered(rules, defaultRuntime, offered)] };
}

function runtimeFaults(runtime: string, field: string): FieldFault[] {
  if ((knownRuntimes as readonly string[]).includes(runtime)) return [];
  const message = `there is no runtime ${JSON.stringify(runtime)}; wanted one of ${knownRuntimes.join(', ')}`;
  return [{ field, message }];
}

function matchersOf({ workload, labels, image }: RoutingRule): [string, Matcher][] {
  const all: [string, Matcher | undefined][] = [
    ['workload', workload],
    ...Object.entries(labels).map(([key, matcher]): [string, Matcher] => [`labels.${key}`, matcher]),
    ['image', image],
  ];
  return all.filter((each): each is [string, Matcher] => each[1] !== undefined);
}

/** Whatever the later rule matches, the earlier one matches before it. */
function ruleCovers(earlier: RoutingRule, later: RoutingRule, effort: Effort): boolean {
  return (
    covers(earlier.workload, later.workload, effort) &&
    covers(earlier.image, later.image, effort) &&
    Object.entries(earlier.labels).every(([key, matcher]) => {
      const other = Object.hasOwn(later.labels, key) ? later.labels[key] : undefined;
      // A rule that looks at a label does not match workloads without it, whatever its pattern.
      return other !== undefined && covers(matcher, other, effort);
    })
  );
}

function overlaps(earlier: readonly RoutingRule[], rule: RoutingRule, effort: Effort): string[] {
  return earlier.flatMap((each) => {
    if (each.runtime === rule.runtime) return [];
    const keys = Object.keys(each.labels).filter((key) => Object.hasOwn(rule.labels, key));
    const meetings = [
      overlap(each.workload, rule.workload, effort),
      overlap(each.image, rule.image, effort),
      ...keys.map((key) => overlap(each.labels[key], rule.labels[key], effort)),
    ];
    if (meetings.includes('no')) return [];
    const may = meetings.includes('unknown') ? 'may overlap' : 'overlap';
    return [
      `rules "${each.name}" and "${rule.name}" ${may}: "${each.name}" decides, and gives ${each.runtime}`,
    ];
  });
}

function notOffered(
  rules: readonly RoutingRule[],
  defaultRuntime: string,
  offered: ReadonlySet<string>,
): string[] {
  const wanted = new Set([...rules.map(({ runtime }) => runtime), defaultRuntime]);
  return [...wanted]
    .filter((runtime) => !offered.has(runtime))
    .map((runtime) => `no node offers ${runtime} now: workloads that are routed to it wait for one`);
}
