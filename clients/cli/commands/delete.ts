import { command } from '../command.ts';
import { confirm } from '../confirm.ts';
import { waitFor } from '../wait.ts';
import { waitOptions, waits } from './apply.ts';

export const deleteWorkload = command({
  name: 'delete',
  summary: 'Stop and remove a workload and all its copies',
  arguments: [{ name: '<workload>', help: 'its name', completes: 'workload' }],
  options: [...waitOptions],
  examples: ['delete web', 'delete web --yes --wait'],
  async run({ args: [name = ''], options }, context) {
    await confirm(`delete workload ${name} and everything its copies wrote`, name, context);
    const { fleet, messages } = await context.connect();
    const { project } = context.global;
    const request = { requestId: context.random.uuidV4(), project, name };
    const response = await fleet.deleteWorkload(request, { deadlineMs: 30_000 });
    if (response.operationId !== '' && waits(options, context))
      await waitFor([response.operationId], context);
    return {
      data: messages.DeleteWorkloadResponse.toJSON(response),
      names: [response.operationId],
      text: () => response.operationId,
    };
  },
});
