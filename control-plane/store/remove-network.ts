import { DroverError } from '#shared/errors.ts';
import { instancesIn, someNames, workloadsIn } from './network-use.ts';
import type { Transaction } from './store.ts';

/** not-found; failed-precondition while a workload names it, or something that goes is still in it. */
export function removeNetwork(
  tx: Transaction,
  removal: { readonly project: string; readonly name: string; readonly caller: string },
  nowMs: number,
): void {
  const { project, name, caller } = removal;
  const network = tx.named('network', name, project);
  const subject = { network: name };
  if (network === undefined) throw new DroverError('not-found', `there is no network ${name}`, { subject });
  const refuse = (who: string, names: readonly string[]): DroverError =>
    new DroverError('failed-precondition', `network ${name} is in use by ${who}: ${someNames(names)}`, {
      subject,
      reason: 'network-in-use',
      nextStep: 'delete them, or take the network out of their files and apply those',
    });
  const workloads = workloadsIn(tx, network).map(({ metadata }) => metadata.name);
  if (workloads.length > 0) throw refuse('workloads', workloads);
  const instances = instancesIn(tx, network).map(({ metadata }) => metadata.name);
  if (instances.length > 0) throw refuse('instances', instances);
  tx.delete('network', network.metadata.id, project);
  tx.event(
    {
      atMs: nowMs,
      type: 'network.removed',
      severity: 'info',
      subject,
      message: `${name} was removed by ${caller}`,
    },
    project,
  );
}
