import { DroverError } from '#shared/errors.ts';
import { type CommandContext, type Result, command, textOption } from '../command.ts';
import { findingColumns } from '../cluster-views.ts';
import { describeText, table } from '../output.ts';
import { interfacesText, phaseText, portsText } from '../views.ts';

export const explain = command({
  name: 'explain',
  summary: 'Why an instance is where it is, or nowhere: the reason of every node',
  arguments: [{ name: '<instance>', help: 'its name or id', completes: 'instance' }],
  options: [
    { flags: '--portability', help: 'of a workload: what would become of it under another runtime' },
    { flags: '--to <runtime>', help: 'with --portability: "proxmox-lxc", "lxc"' },
  ],
  examples: ['explain web-x7k2p', 'explain --portability db --to proxmox-lxc'],
  async run({ args: [name = ''], options }, context) {
    const runtime = textOption(options, 'to');
    if (options['portability'] === true) return portabilityOf(name, runtime, context);
    if (runtime !== undefined) throw new DroverError('invalid-argument', '--to goes with --portability');
    return explainInstance(name, context);
  },
});

async function explainInstance(instance: string, context: CommandContext): Promise<Result> {
  const { fleet, messages } = await context.connect();
  const { project } = context.global;
  const found = await fleet.explainInstance({ project, instance }, { deadlineMs: 10_000 });
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

async function portabilityOf(
  workload: string,
  runtime: string | undefined,
  context: CommandContext,
): Promise<Result> {
  if (runtime === undefined)
    throw new DroverError('invalid-argument', 'where would it go? wanted --to RUNTIME, such as proxmox-lxc');
  const { fleet, messages } = await context.connect();
  const { project } = context.global;
  const found = await fleet.explainPortability({ project, workload, runtime }, { deadlineMs: 10_000 });
  const inTheWay = found.findings.filter(({ outcome }) => outcome === 'stands in the way').length;
  return {
    data: messages.ExplainPortabilityResponse.toJSON(found),
    names: [workload],
    text: ({ wide }) =>
      [
        `${workload}, from ${found.from} to ${found.to}: ` +
          (inTheWay === 0 ? 'nothing stands in the way' : `${inTheWay} things stand in the way`),
        table(found.findings, findingColumns, wide),
      ].join('\n'),
  };
}
