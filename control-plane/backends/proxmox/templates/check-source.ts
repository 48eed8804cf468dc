import { DroverError } from '#shared/errors.ts';
import type { ClusterTemplate } from '#shared/model.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { storagesInUse } from '../guests/disks.ts';
import { createCopies } from '../images/copies.ts';
import { readConfig } from '../observe/read-guests.ts';
import { storageOn } from '../observe/storages.ts';

/** Refuses before anything is kept or made: as copies are refused, and what can be no template. */
export type CheckSource = (
  source: ClusterTemplate['source'],
  kind: ClusterTemplate['kind'],
  signal: AbortSignal,
) => Promise<void>;

export function createSourceCheck(tools: ClusterTools): CheckSource {
  const { memory, name: cluster } = tools;
  const copyOf = createCopies(tools);

  /** Disks of machines that cannot be bases stay as they are; a container with one is not made a template. */
  async function checkStorages(source: ClusterTemplate['source'], signal: AbortSignal): Promise<void> {
    const config = await readConfig(tools, { ...source, kind: 'lxc' }, signal);
    const without = storagesInUse(config).filter(
      (storage) => storageOn(memory, source.node, storage)?.plugin === 'lvm',
    );
    if (without.length === 0) return;
    throw new DroverError(
      'failed-precondition',
      `container ${source.vmid} is on ${without.join(', ')}, ` +
        'which is LVM without thin volumes, and has no templates of containers',
      {
        subject: { cluster, vmid: String(source.vmid), acted: 'no' },
        reason: 'copy',
        nextStep: 'move its disks to another storage, or copy it as it is: drover clone',
      },
    );
  }

  return async (source, kind, signal) => {
    await copyOf({ ...source, kind }, source.node, { rootPool: '' }, signal);
    if (kind === 'lxc') await checkStorages(source, signal);
  };
}
