import type { PlanCloneResponse } from '#shared/gen/drover/fleet/v1/cluster.ts';
import { DroverError } from '#shared/errors.ts';
import { guestName } from '../cluster-views.ts';
import { type Result, command, textOption } from '../command.ts';
import { writeAnnotated } from '../spec/write-document.ts';
import { applied, changeLine, waitOptions, waits } from './apply.ts';
import { waitFor } from '../wait.ts';

export const clone = command({
  name: 'clone',
  summary: 'Make a workload that is a copy of a guest of a cluster, ours or not',
  arguments: [
    {
      name: '<source>',
      help: 'CLUSTER/VMID as get guests tells it, an instance, or a workload of one',
      completes: 'cloneable',
    },
  ],
  options: [
    { flags: '--as <name>', help: 'name of the new workload' },
    {
      flags: '--snapshot <name>',
      help: 'as it was then, by its name; a container that runs needs it',
    },
    { flags: '--dry-run', help: 'write the spec, and change nothing' },
    ...waitOptions,
  ],
  examples: [
    'clone lab/105 --as shop-test',
    'clone db-x7k2p --as db-test --snapshot before --wait',
    'clone db --as db2 --dry-run',
  ],
  async run({ args: [source = ''], options }, context) {
    const name = textOption(options, 'as');
    if (name === undefined)
      throw new DroverError('invalid-argument', 'what is it to be called? wanted --as NAME', {
        nextStep: `drover clone ${source} --as NAME`,
      });
    const { clusters, clusterMessages, fleet, messages } = await context.connect();
    const { project } = context.global;
    const snapshot = textOption(options, 'snapshot') ?? '';
    const plan = await clusters.planClone({ project, source, name, snapshot }, { deadlineMs: 30_000 });
    if (options['dryRun'] === true) return specOf(plan, clusterMessages.PlanCloneResponse.toJSON(plan), name);
    for (const note of plan.notes) context.terminal.note(`${guestName(plan.guest)}: ${note}`);
    const request = {
      requestId: context.random.uuidV4(),
      documents: plan.document === undefined ? [] : [plan.document],
      networks: [],
      planRevision: 0n,
      destroyAdopted: false,
    };
    const response = await fleet.apply(request, { deadlineMs: 30_000 });
    for (const result of response.results) context.terminal.note(changeLine(result));
    const ids = response.results.map(({ operationId }) => operationId).filter((id) => id !== '');
    if (waits(options, context)) await waitFor(ids, context);
    return applied(response.results, messages.ApplyResponse.toJSON(response));
  },
});

function specOf({ guest, document, notes }: PlanCloneResponse, data: unknown, name: string): Result {
  const head = `a copy of ${guestName(guest)} ${guest?.name ?? ''}`.trimEnd();
  return { data, names: [name], text: () => writeAnnotated([head, ...notes], document) };
}
