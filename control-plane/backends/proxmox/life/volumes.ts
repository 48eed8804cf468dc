import { DroverError } from '#shared/errors.ts';
import type { ClusterGuest, NodeName, NodeVolume, VolumeId } from '#shared/model.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { Orders } from './orders.ts';
import type { OwnGuests } from './own-guests.ts';
import { storageChooser } from '../observe/storages.ts';

export interface Volumes {
  /** Data volumes of guests that are there: each lives and goes with its guest. */
  list(node: NodeName): NodeVolume[];
  /** failed-precondition while a guest has it; nothing where none has. */
  remove(node: NodeName, volume: VolumeId): void;
}

export function createVolumes(
  tools: ClusterTools,
  { own, orders }: { readonly own: OwnGuests; readonly orders: Orders },
): Volumes {
  const { memory } = tools;
  const holders = (): {
    readonly record: ClusterGuest;
    readonly volumeId: VolumeId;
    readonly name: string;
  }[] =>
    own
      .records()
      .filter(({ made }) => made === true)
      .flatMap((record) => (record.spec?.assigned.volumes ?? []).map((each) => ({ record, ...each })));

  function poolOf(record: ClusterGuest, pool: string): string {
    if (pool !== '') return pool;
    try {
      return storageChooser(memory, own.of(record.instanceId).sight.node, record.kind)('');
    } catch {
      return '';
    }
  }

  return {
    list(node) {
      orders.reach(node);
      return holders()
        .filter(({ record }) => own.nodeOf(record) === node)
        .map(({ record, volumeId, name }) => {
          const claim = record.spec?.volumes.find((each) => each.name === name);
          return {
            id: volumeId,
            pool: poolOf(record, claim?.pool ?? ''),
            sizeMib: claim?.sizeMib ?? 0,
            usedBytes: 0,
            instanceId: record.instanceId,
          };
        });
    },
    remove(node, volume) {
      orders.reach(node);
      const holder = holders().find(({ volumeId }) => volumeId === volume);
      if (holder === undefined) return;
      throw new DroverError('failed-precondition', `volume ${volume} is the guest's of an instance`, {
        subject: { volume, instance: holder.record.instanceId },
        nextStep: 'it goes with its guest',
      });
    },
  };
}
