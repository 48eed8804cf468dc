import { command } from '../command.ts';
import { describeText } from '../output.ts';
import { interfacesText, phaseText, portsText } from '../views.ts';

export const explain = command({
  name: 'explain',
  summary: 'Why an instance is where it is, or nowhere: the reason of every node',
  arguments: [{ name: '<instance>', help: 'its name or id', completes: 'instance' }],
  examples: ['explain web-x7k2p'],
  async run({ args: [instance = ''] }, context) {
    const { fleet, messages } = await context.connect();
    const found = await fleet.explainInstance(
      { project: context.global.project, instance },
      { deadlineMs: 10_000 },
    );
    const verdicts = found.decision?.verdicts ?? [];
    const lines = verdicts.map(({ node, fits, rule, reason, score }) =>
      fits ? `+ ${node}: ${reason} (score ${score.toFixed(1)})` : `- ${node}: ${reason} (rule ${rule})`,
    );
    return {
      data: messages.ExplainInstanceResponse.toJSON(found),
      names: [found.instance?.metadata?.name ?? instance],
      text: () =>
        describeText([
          ['Instance', found.instance?.metadata?.name ?? instance],
          ['Node', found.instance?.node || '(not placed)'],
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
  },
});
