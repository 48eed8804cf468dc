import { DroverError } from '#shared/errors.ts';
import type { ClusterGuestView } from '#shared/model.ts';
import { parseOne } from '#shared/wire/checks.ts';
import { parseClusterName } from '#shared/wire/cluster.ts';
import type { Snapshot } from '../../store/store.ts';
import { findTargets } from '../resolve-name.ts';

interface Source {
  readonly cluster: string;
  readonly vmid: number;
}

/** Of those that clusters take, and of ours. */
const snapshotName = /^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$/;

export const checkSnapshotName = (name: string): void =>
  parseOne('snapshot', (faults) => {
    if (name !== '' && !snapshotName.test(name))
      faults.add('snapshot', `"${name}" is not the name of a snapshot, in Drover or in a cluster`);
  });

export function refuseAsSource({ cluster, vmid, ...guest }: ClusterGuestView, taken: string): void {
  if (guest.template)
    throw new DroverError('failed-precondition', `${cluster}/${vmid} is a template`, {
      subject: { cluster, vmid: `${vmid}` },
      nextStep: `apply a workload with "image: proxmox:template/${vmid}"`,
    });
  if (guest.kind === 'lxc' && guest.status === 'running' && taken === '')
    throw new DroverError(
      'failed-precondition',
      `${cluster}/${vmid} is a container that runs: it is cloned from a snapshot, or stopped`,
      {
        subject: { cluster, vmid: `${vmid}` },
        reason: 'running',
        nextStep:
          guest.instanceId === undefined
            ? 'take a snapshot of it in the cluster and name it: --snapshot NAME; or stop it for the time'
            : 'take a snapshot (drover snapshot create) and name it: --snapshot NAME',
      },
    );
}

/** "lab/105", an instance, or a workload of one. */
export function sourceOf(snapshot: Snapshot, source: string, project: string): Source {
  const [, cluster, number] = /^([^/]+)\/([1-9][0-9]{2,8})$/.exec(source) ?? [];
  if (cluster !== undefined) return { cluster: parseClusterName(cluster), vmid: Number(number) };
  const [only, ...others] = findTargets(snapshot, source, project);
  if (only === undefined || others.length > 0)
    throw new DroverError(
      'failed-precondition',
      only === undefined
        ? `${source} has no instances: there is nothing to clone`
        : `${source} has ${others.length + 1} instances, and one can be cloned at a time`,
      { subject: { workload: source }, nextStep: 'name one of them: drover get instances' },
    );
  const record = snapshot.get('cluster-guest', only.metadata.id);
  const isThere = only.node !== undefined && snapshot.named('node', only.node)?.cluster !== undefined;
  if (isThere && record?.made === true) return record;
  throw new DroverError(
    'unimplemented',
    `${only.metadata.name} is no guest of a cluster: only those are cloned`,
    {
      subject: { instance: only.metadata.name },
      nextStep: 'apply a workload with the same image',
    },
  );
}
