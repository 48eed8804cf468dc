import type { ApplyResult } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { destroyAdopted } from '../adopted-guests.ts';
import { type CommandContext, type Result, command, manyOption, textOption } from '../command.ts';
import { parseRevision } from '../revision.ts';
import { waitFor } from '../wait.ts';

export const waitOptions = [
  { flags: '--wait', help: 'wait until it is done; what a terminal does unless --detach' },
  { flags: '--detach', help: 'print the operation and return' },
] as const;

/** A person at a terminal waits; a script says so. */
export const waits = (options: Readonly<Record<string, unknown>>, { terminal }: CommandContext): boolean =>
  options['detach'] !== true && (options['wait'] === true || terminal.errIsTty);

export const apply = command({
  name: 'apply',
  summary: 'Make workloads and networks as files say',
  options: [
    { flags: '-f, --file <path>', help: 'a file, a directory, or - for standard input', many: true },
    { flags: '--plan-revision <revision>', help: 'refuse when a workload changed since that plan' },
    destroyAdopted,
    ...waitOptions,
  ],
  examples: ['apply -f web.yaml', 'apply -f web.yaml --wait --timeout 2m', 'apply -f - < web.yaml'],
  async run({ options }, context) {
    const { readDocuments } = await import('../spec/read-files.ts');
    const planRevision = parseRevision(
      textOption(options, 'planRevision'),
      'drover plan -f FILE -o json tells it',
    );
    const documents = await readDocuments(manyOption(options, 'file'), context.terminal.stdin);
    const { fleet, messages } = await context.connect();
    const request = {
      requestId: context.random.uuidV4(),
      documents: [...documents.messages],
      networks: [...documents.networks],
      planRevision,
      destroyAdopted: options['destroyAdopted'] === true,
    };
    const response = await fleet.apply(request, { deadlineMs: 30_000 }).catch((error: unknown) => {
      throw documents.locate(error);
    });
    for (const { network, change } of response.networks)
      context.terminal.note(`network ${network?.metadata?.name ?? ''}: ${change}`);
    for (const result of response.results) context.terminal.note(changeLine(result));
    const ids = response.results.map(({ operationId }) => operationId).filter((id) => id !== '');
    if (waits(options, context)) await waitFor(ids, context);
    return applied(response.results, messages.ApplyResponse.toJSON(response));
  },
});

export const changeLine = ({ workload, change }: ApplyResult): string => {
  const { name = '', generation = 0n } = workload?.metadata ?? {};
  return `workload ${name}: ${change}${change === 'unchanged' ? '' : ` (generation ${generation})`}`;
};

/** What changed is on standard error already; standard output holds the operations. */
export function applied(results: readonly ApplyResult[], data: unknown): Result {
  const ids = results.map(({ operationId }) => operationId).filter((id) => id !== '');
  const [first] = results;
  return {
    data,
    names: ids,
    text: () => ids.join('\n'),
    ...(first === undefined
      ? {}
      : {
          next: `drover get instances, or drover describe workload ${first.workload?.metadata?.name ?? ''}`,
        }),
  };
}
