import { stringify } from 'yaml';
import type { GetRoutingResponse, Matcher } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { type Column, command, textOption } from '../command.ts';
import { table } from '../output.ts';
import { parseRevision } from '../revision.ts';

type Rule = GetRoutingResponse['rules'][number];

const matcherText = (matcher: Matcher | undefined): string =>
  matcher?.match === undefined ? '' : `${matcher.match.$case} ${matcher.match.value}`;

const columns: Column<Rule>[] = [
  { title: 'NAME', value: ({ name }) => name },
  { title: 'RUNTIME', value: ({ runtime }) => runtime },
  { title: 'WORKLOAD', value: ({ workload }) => matcherText(workload) },
  { title: 'IMAGE', value: ({ image }) => matcherText(image) },
  {
    title: 'LABELS',
    value: ({ labels }) =>
      Object.entries(labels)
        .map(([key, one]) => `${key}: ${matcherText(one)}`)
        .join(', '),
  },
];

/** As a file for `routing set` writes it. */
const fileOf = ({ rules, defaultRuntime }: GetRoutingResponse): object => ({
  kind: 'Routing',
  default: defaultRuntime,
  rules: rules.map(({ name, runtime, workload, image, labels }) => ({
    name,
    ...(workload && { workload: matcherInFile(workload) }),
    ...(image && { image: matcherInFile(image) }),
    ...(Object.keys(labels).length > 0 && {
      labels: Object.fromEntries(Object.entries(labels).map(([key, one]) => [key, matcherInFile(one)])),
    }),
    runtime,
  })),
});

const matcherInFile = ({ match }: Matcher): object | string =>
  match === undefined || match.$case === 'exact' ? (match?.value ?? '') : { [match.$case]: match.value };

export const routingShow = command({
  name: 'routing show',
  summary: 'Show the rules that choose a runtime where a workload names none',
  options: [{ flags: '--as-file', help: 'as a file for routing set' }],
  examples: ['routing show', 'routing show --as-file > routing.yaml'],
  async run({ options }, context) {
    const { fleet, messages } = await context.connect();
    const found = await fleet.getRouting({}, { deadlineMs: 10_000 });
    const { rules, defaultRuntime } = found;
    return {
      data: options['asFile'] === true ? fileOf(found) : messages.GetRoutingResponse.toJSON(found),
      names: rules.map(({ name }) => name),
      text: ({ wide }) =>
        options['asFile'] === true
          ? stringify(fileOf(found)).trimEnd()
          : `${rules.length === 0 ? '' : `${table(rules, columns, wide)}\n`}otherwise ${defaultRuntime}`,
    };
  },
});

export const routingSet = command({
  name: 'routing set',
  summary: 'Replace all rules; what runs keeps its runtime',
  options: [
    { flags: '-f, --file <path>', help: 'the rules' },
    { flags: '--revision <revision>', help: 'refuse when the rules have changed since' },
  ],
  examples: ['routing set -f routing.yaml'],
  async run({ options }, context) {
    const { readRouting } = await import('../spec/read-routing.ts');
    const file = await readRouting(textOption(options, 'file') ?? '');
    const revision = parseRevision(textOption(options, 'revision'), 'drover routing show -o json tells it');
    const { fleet, messages } = await context.connect();
    const { rules, defaultRuntime } = file;
    const request = { requestId: context.random.uuidV4(), rules, defaultRuntime, revision };
    const answer = await fleet.putRouting(request, { deadlineMs: 10_000 }).catch((error: unknown) => {
      throw file.locate(error);
    });
    for (const warning of answer.warnings) context.terminal.note(`note: ${warning}`);
    context.terminal.note(`routing: ${rules.length === 1 ? 'one rule' : `${rules.length} rules`}`);
    return { data: messages.PutRoutingResponse.toJSON(answer), names: [], text: () => '' };
  },
});
