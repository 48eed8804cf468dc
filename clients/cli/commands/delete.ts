import { adoptedGuests, destroyAdopted, withAdopted } from '../adopted-guests.ts';
import { command } from '../command.ts';
import { confirm } from '../confirm.ts';
import { waitFor } from '../wait.ts';
import { waitOptions, waits } from './apply.ts';

export const deleteWorkload = command({
  name: 'delete',
  summary: 'Stop and remove a workload and all its copies',
  arguments: [{ name: '<workload>', help: 'its name', completes: 'workload' }],
  options: [destroyAdopted, ...waitOptions],
  examples: ['delete web', 'delete web --yes --wait', 'delete intranet --yes --destroy-adopted'],
  async run({ args: [name = ''], options }, context) {
    const adopted = await adoptedGuests(name, context);
    const what = adopted.length === 0 ? 'everything its copies wrote' : withAdopted(adopted, name);
    await confirm(`delete workload ${name} and ${what}`, name, context);
    const { fleet, messages } = await context.connect();
    const { project } = context.global;
    const mayDestroy = options['destroyAdopted'] === true || adopted.length > 0;
    const request = { requestId: context.random.uuidV4(), project, name, destroyAdopted: mayDestroy };
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
