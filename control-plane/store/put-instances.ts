import type { Instance, Workload } from '#shared/model.ts';
import { displayName } from '#shared/names.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import type { InstanceTemplate } from './instance-template.ts';
import { newMetadata } from './new-metadata.ts';
import type { Snapshot, Transaction } from './store.ts';

/**
 * Adds instances that are wanted from now on. Repeating it changes nothing: an id that is there stays as it
 * is.
 */
export function putInstances(tx: Transaction, instances: readonly Instance[], nowMs: number): void {
  for (const instance of instances) {
    const { id, name, project } = instance.metadata;
    if (tx.get('instance', id, project) !== undefined) continue;
    tx.put('instance', id, instance, project);
    tx.event(
      {
        atMs: nowMs,
        type: 'instance.created',
        severity: 'info',
        subject: { instance: name, instanceId: id, workload: instance.workload },
        message: `wanted by generation ${instance.workloadGeneration} of ${instance.workload}`,
      },
      project,
    );
  }
}

/** Five characters are few: an id whose name is taken is drawn again. */
export function drawName(
  snapshot: Pick<Snapshot, 'named'>,
  { metadata }: Pick<Workload, 'metadata'>,
  taken: ReadonlySet<string>,
  newId: () => string,
): { id: string; name: string } {
  for (;;) {
    const id = newId();
    const name = displayName(metadata.name, id);
    if (!taken.has(name) && snapshot.named('instance', name, metadata.project) === undefined)
      return { id, name };
  }
}

/** A copy of the workload that has no node yet. */
export function newInstance(
  { metadata, spec }: Workload,
  template: InstanceTemplate,
  { id, name }: { readonly id: string; readonly name: string },
  nowMs: number,
): Instance {
  const { project, labels, generation } = metadata;
  return {
    metadata: newMetadata({ project, name, id, labels }, nowMs),
    workload: metadata.name,
    workloadGeneration: generation,
    intent: 'run',
    spec: { ...template, displayName: name, assigned: emptyAssignment },
    placement: spec.placement,
    node: undefined,
    boundAtMs: 0,
    placedBecause: '',
    observed: undefined,
  };
}
