import type { NetworkPlan, WorkloadPlan } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { type Result, command, manyOption } from '../command.ts';
import { exitCode } from '../exit-code.ts';
import { escapeControls } from '../terminal.ts';

export const plan = command({
  name: 'plan',
  summary: 'Show what apply would do, and why; exit code 3 when it would do something',
  options: [{ flags: '-f, --file <path>', help: 'a file, a directory, or - for standard input', many: true }],
  examples: ['plan -f web.yaml', 'plan -f web.yaml -o json'],
  async run({ options }, context): Promise<Result> {
    const { readDocuments } = await import('../spec/read-files.ts');
    const documents = await readDocuments(manyOption(options, 'file'), context.terminal.stdin);
    const { fleet, messages } = await context.connect();
    const response = await fleet
      .plan({ documents: [...documents.messages], networks: [...documents.networks] }, { deadlineMs: 30_000 })
      .catch((error: unknown) => {
        throw documents.locate(error);
      });
    const changes =
      response.networks.some(({ change }) => change !== 'none') ||
      response.workloads.some(({ change, steps }) => change !== 'none' || steps.length > 0);
    const unplaced = response.workloads.some(({ placements }) => placements.some(({ node }) => node === ''));
    return {
      data: messages.PlanResponse.toJSON(response),
      names: [...response.networks, ...response.workloads].map(({ name }) => name),
      text: ({ wide }) =>
        [
          ...response.networks.map((one) => headText('network', one).map(escapeControls).join('\n')),
          ...response.workloads.map((one) => planText(one, wide)),
        ].join('\n\n'),
      exitCode: unplaced ? exitCode.notPlaced : changes ? exitCode.changes : exitCode.done,
      ...(changes ? { next: `drover apply -f FILE --plan-revision ${response.revision}` } : {}),
    };
  },
});

function headText(kind: string, { name, change, fields }: NetworkPlan): string[] {
  const lines = [`${kind} ${name}: ${change === 'none' ? 'nothing to change' : change}`];
  for (const { field, before, after } of fields) {
    lines.push(`  ${field}: ${before === '' ? '(not set)' : before} → ${after === '' ? '(not set)' : after}`);
  }
  return lines;
}

function planText(plan: WorkloadPlan, wide: boolean): string {
  const { steps, placements, runtime } = plan;
  const lines = headText('workload', plan);
  if (runtime !== '') lines.push(`  runtime ${runtime}`);
  for (const { kind, instance, node, detail } of steps) {
    lines.push(`  ${[kind, instance, node && `on ${node}`, detail].filter(Boolean).join(' ')}`);
  }
  for (const { instance, summary, node, verdicts } of placements) {
    if (node === '') lines.push(`  ${instance} fits nowhere: ${summary}`);
    if (node !== '' && !wide) continue;
    for (const { node: other, fits, reason } of verdicts)
      lines.push(`    ${fits ? '+' : '-'} ${other}: ${reason}`);
  }
  return lines.map(escapeControls).join('\n');
}
