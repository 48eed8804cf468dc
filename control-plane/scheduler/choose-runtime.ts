import type { Matcher, Routing, RoutingRule, Workload } from '#shared/model.ts';
import { matchesText } from './matcher.ts';

/** What rules look at. */
export interface RoutingSubject {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** As written in the spec. */
  readonly image: string;
}

export interface RuntimeChoice {
  readonly runtime: string;
  /** "named in the spec", "rule \"system\"", "no rule matches". */
  readonly runtimeBecause: string;
}

export const plainRouting: Routing = { rules: [], defaultRuntime: 'crun', revision: 0 };

/**
 * The runtime of a workload: the one its spec names, else the one that it had before, else what the rules
 * say. What was chosen once stays chosen, whatever becomes of the rules. Pure.
 */
export function runtimeOf(
  { metadata, spec, resolved }: Pick<Workload, 'metadata' | 'spec' | 'resolved'>,
  routing: Routing = plainRouting,
): RuntimeChoice {
  if (spec.runtime !== '') return { runtime: spec.runtime, runtimeBecause: 'named in the spec' };
  if (resolved !== undefined) {
    const { runtime, runtimeBecause } = resolved;
    const wasNamed = runtimeBecause === 'named in the spec';
    return { runtime, runtimeBecause: wasNamed ? 'named in the spec of before, and kept' : runtimeBecause };
  }
  return chooseRuntime({ name: metadata.name, labels: metadata.labels, image: spec.image }, routing);
}

/** The first rule that matches decides. */
export function chooseRuntime(subject: RoutingSubject, { rules, defaultRuntime }: Routing): RuntimeChoice {
  const rule = rules.find((each) => ruleMatches(each, subject));
  if (rule === undefined) return { runtime: defaultRuntime, runtimeBecause: 'no rule matches' };
  return { runtime: rule.runtime, runtimeBecause: `rule "${rule.name}"` };
}

function ruleMatches(rule: RoutingRule, { name, labels, image }: RoutingSubject): boolean {
  const fits = (matcher: Matcher | undefined, text: string | undefined): boolean =>
    matcher === undefined || (text !== undefined && matchesText(matcher, text));
  return (
    fits(rule.workload, name) &&
    fits(rule.image, image) &&
    Object.entries(rule.labels).every(([key, matcher]) =>
      fits(matcher, Object.hasOwn(labels, key) ? labels[key] : undefined),
    )
  );
}
