import { DroverError } from '#shared/errors.ts';
import { adoptedGuests, destroyAdopted, withAdopted } from '../adopted-guests.ts';
import { command } from '../command.ts';
import { confirm } from '../confirm.ts';
import { waitFor } from '../wait.ts';
import { applied, waitOptions, waits } from './apply.ts';

export const scale = command({
  name: 'scale',
  summary: 'Set the number of copies of a workload',
  arguments: [
    { name: '<workload>', help: 'its name', completes: 'workload' },
    { name: '<replicas>', help: 'copies wanted, 0 to 1000' },
  ],
  options: [destroyAdopted, ...waitOptions],
  examples: ['scale web 5', 'scale web 0 --wait'],
  async run({ args: [name = '', count = ''], options }, context) {
    if (!/^\d{1,4}$/.test(count)) {
      throw new DroverError('invalid-argument', `"${count}" is not a number of copies; wanted 0 to 1000`);
    }
    const replicas = Number(count);
    const adopted = await adoptedGuests(name, context);
    const isLess = adopted.length > replicas;
    if (isLess)
      await confirm(
        `scale workload ${name} to ${replicas}, and remove ${withAdopted(adopted, name)}`,
        name,
        context,
      );
    const { fleet, messages } = await context.connect();
    const { project } = context.global;
    const mayDestroy = options['destroyAdopted'] === true || isLess;
    const head = { requestId: context.random.uuidV4(), project, name };
    const request = { ...head, replicas, destroyAdopted: mayDestroy };
    const response = await fleet.scaleWorkload(request, { deadlineMs: 30_000 });
    const { result } = response;
    context.terminal.note(`workload ${name}: ${result?.change ?? 'unchanged'}`);
    if (result?.operationId && waits(options, context)) await waitFor([result.operationId], context);
    return applied(result === undefined ? [] : [result], messages.ScaleWorkloadResponse.toJSON(response));
  },
});
