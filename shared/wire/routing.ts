import type {
  Matcher as WireMatcher,
  RoutingRule as WireRoutingRule,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Matcher, RoutingRule } from '#shared/model.ts';
import { type Faults, atMost, checkLine, checkName, ownRecord, show } from '#shared/wire/checks.ts';

export const routingLimits = { rules: 200, labels: 16 } as const;

/** Their form alone; whether they make sense together is checkRouting's to say. */
export function checkRoutingRules(messages: readonly WireRoutingRule[], faults: Faults): RoutingRule[] {
  atMost(messages, routingLimits.rules, 'rules', faults);
  return messages.slice(0, routingLimits.rules).map((message, place) => {
    const at = `rules[${place}]`;
    const labels = Object.entries(message.labels);
    atMost(labels, routingLimits.labels, `${at}.labels`, faults);
    return {
      name: checkName(message.name, `${at}.name`, faults),
      workload: checkMatcher(message.workload, `${at}.workload`, faults),
      labels: ownRecord(
        labels.slice(0, routingLimits.labels).flatMap(([key, one]) => {
          const field = `${at}.labels.${key.slice(0, 80)}`;
          checkLine(key, 317, field, faults);
          const matcher = checkMatcher(one, field, faults);
          if (matcher === undefined) faults.add(field, 'is empty; wanted exact, glob or regex');
          return matcher === undefined ? [] : [[key, matcher] as const];
        }),
      ),
      image: checkMatcher(message.image, `${at}.image`, faults),
      runtime: checkName(message.runtime, `${at}.runtime`, faults),
    };
  });
}

function checkMatcher(message: WireMatcher | undefined, field: string, faults: Faults): Matcher | undefined {
  const match = message?.match;
  if (match === undefined) {
    if (message !== undefined) faults.add(field, 'is empty; wanted exact, glob or regex');
    return undefined;
  }
  const { $case: kind, value } = match;
  if (kind !== 'exact' && kind !== 'glob' && kind !== 'regex') {
    faults.add(field, `${show(String(kind))} is not known here; wanted exact, glob or regex`);
    return undefined;
  }
  return { kind, text: checkLine(value, 500, field, faults) };
}

export const formatRoutingRule = (rule: RoutingRule): WireRoutingRule => ({
  name: rule.name,
  workload: rule.workload && formatMatcher(rule.workload),
  labels: Object.fromEntries(Object.entries(rule.labels).map(([key, one]) => [key, formatMatcher(one)])),
  image: rule.image && formatMatcher(rule.image),
  runtime: rule.runtime,
});

const formatMatcher = ({ kind, text }: Matcher): WireMatcher => ({ match: { $case: kind, value: text } });
