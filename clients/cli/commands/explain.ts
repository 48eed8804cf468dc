import { DroverError } from '#shared/errors.ts';
import type { ExplainPortabilityResponse, PortabilityFinding } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { type CommandContext, type Result, command, textOption } from '../command.ts';
import { describeText, table } from '../output.ts';
import { interfacesText, phaseText, portsText } from '../views.ts';

export const explain = command({
  name: 'explain',
  summary: 'Why an instance is where it is, or nowhere; or what would become of a workload elsewhere',
  arguments: [{ name: '<name>', help: 'an instance; with --portability a workload', completes: 'instance' }],
  options: [
    {
      flags: '--portability',
      help: 'what would become of a workload under another runtime; changes nothing',
    },
    { flags: '--to <runtime>', help: 'with --portability: the other runtime, such as proxmox-lxc' },
  ],
  examples: ['explain web-x7k2p', 'explain mail --portability --to proxmox-lxc'],
  async run({ args: [name = ''], options }, context) {
    const to = textOption(options, 'to');
    if (options['portability'] !== true && to === undefined) return explainInstance(name, context);
    if (to !== undefined && options['portability'] === true) return explainPortability(name, to, context);
    throw new DroverError('invalid-argument', '--portability and --to RUNTIME go together', {
      nextStep: `drover explain ${name} --portability --to ${to ?? 'proxmox-lxc'}`,
    });
  },
});

async function explainInstance(instance: string, context: CommandContext): Promise<Result> {
  const { fleet, messages } = await context.connect();
  const found = await fleet.explainInstance(
    { project: context.global.project, instance },
    { deadlineMs: 10_000 },
  );
  const verdicts = found.decision?.verdicts ?? [];
  const lines = verdicts.map(({ node, fits, rule, reason, score }) =>
    fits ? `+ ${node}: ${reason} (score ${score.toFixed(1)})` : `- ${node}: ${reason} (rule ${rule})`,
  );
  const cluster = await clusterOf(found.instance?.node ?? '', context);
  return {
    data: messages.ExplainInstanceResponse.toJSON(found),
    names: [found.instance?.metadata?.name ?? instance],
    text: () =>
      describeText([
        ['Instance', found.instance?.metadata?.name ?? instance],
        ['Node', found.instance?.node || '(not placed)'],
        ['Cluster', cluster],
        ['State', found.instance === undefined ? '' : phaseText(found.instance)],
        ['Runtime', found.runtimeBecause],
        ['Placed because', found.placedBecause],
        ['Interfaces', found.instance === undefined ? '' : interfacesText(found.instance)],
        ['Addresses', found.instance?.observed?.addresses.join(', ') ?? ''],
        ['Ports', found.instance === undefined ? '' : portsText(found.instance)],
        ['Would fall now', found.decision?.summary ?? ''],
        ['Nodes', lines.join('\n')],
        ['Next step', found.nextStep],
      ]),
  };
}

/** Empty where its node has an agent, or is gone in this very moment. */
async function clusterOf(name: string, context: CommandContext): Promise<string> {
  if (name === '') return '';
  const { nodes } = await context.connect();
  const { node } = await nodes.getNode({ name }, { deadlineMs: 10_000 }).catch(() => ({ node: undefined }));
  return node?.cluster ?? '';
}

async function explainPortability(workload: string, to: string, context: CommandContext): Promise<Result> {
  const { fleet, messages } = await context.connect();
  const found = await fleet.explainPortability(
    { project: context.global.project, workload, runtime: to },
    { deadlineMs: 10_000 },
  );
  return {
    data: messages.ExplainPortabilityResponse.toJSON(found),
    names: [workload],
    text: ({ wide }) => portabilityText(workload, found, wide),
  };
}

function portabilityText(workload: string, found: ExplainPortabilityResponse, wide: boolean): string {
  const { from, to, findings, steps } = found;
  const advised = findings.filter(({ advice }) => advice !== '');
  return [
    `${workload} from ${from} to ${to}: ${countsText(findings)}`,
    table(
      findings.toSorted((a, b) => rank(a) - rank(b)),
      [
        { title: 'WHAT', value: ({ subject }) => subject },
        { title: 'OUTCOME', value: ({ outcome }) => outcome },
        { title: 'NOW', value: ({ before }) => before },
        { title: 'THEN', value: ({ after }) => after },
      ],
      wide,
    ),
    ...(advised.length === 0
      ? []
      : [['What to do', ...advised.map(({ subject, advice }) => `  ${subject}: ${advice}`)].join('\n')]),
    [
      'How each copy would get there (not done by Drover yet)',
      ...steps.map(
        ({ name, does, lost }, place) =>
          `  ${place + 1}. ${name}: ${does}${lost === '' ? '' : `\n     lost: ${lost}`}`,
      ),
    ].join('\n'),
  ].join('\n\n');
}

/** What matters most comes first. */
const outcomes = ['stands in the way', 'changes', 'carries over'];
const rank = ({ outcome }: PortabilityFinding): number => outcomes.indexOf(outcome);

function countsText(findings: readonly PortabilityFinding[]): string {
  const count = (outcome: string): number => findings.filter((each) => each.outcome === outcome).length;
  const [blocked, changed, kept] = outcomes.map(count);
  const obstacles = blocked === 0 ? 'nothing stands in the way' : `${blocked} in the way`;
  return `${obstacles}, ${changed} changed, ${kept} as before`;
}
