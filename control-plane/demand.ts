import type { ClusterOptions, CopySpec, Instance } from '#shared/model.ts';
import type { Demand, PoolDemand } from './scheduler/plugin.ts';
import type { Slot } from './store/assign-volumes.ts';
import { takesVolumes } from './store/instance-template.ts';
import type { Snapshot } from './store/store.ts';

type Asked = Pick<Instance, 'workload' | 'placement'> & {
  readonly spec: CopySpec & Pick<Instance['spec'], 'runtime' | 'image'>;
  readonly metadata?: Pick<Instance['metadata'], 'id'>;
};

/** What an instance asks of a node; with the slot that it has or would take, also for its data volumes. */
export const demandOf = (
  { workload, spec, placement, metadata }: Asked,
  slot?: Slot,
  bridges: readonly string[] = [],
): Demand => ({
  workload,
  runtime: spec.runtime,
  image: spec.image,
  resources: spec.resources,
  placement,
  storage: storageOf(spec, slot),
  anchor: anchorOf(slot),
  features: [...featuresOf(spec), ...keepingOf(spec)],
  devices: spec.devices,
  ports: spec.ports,
  holder: metadata?.id ?? '',
  bridges,
});

/**
 * What an instance asks of another node that it would move to with its guest and its volumes: rules of its
 * cluster hold it.
 */
export const demandOfMove = (snapshot: Pick<Snapshot, 'named'>, instance: Instance): Demand =>
  withBonds(
    demandOf(instance, undefined, bridgesOf(snapshot, instance.spec, instance.metadata.project)),
    instance,
  );

export function withBonds(demand: Demand, { observed }: Pick<Instance, 'observed'>): Demand {
  const bonds = typeof observed === 'object' ? observed.bonds : undefined;
  return bonds === undefined ? demand : { ...demand, bonds };
}

/** Bridges of the networks that the spec names, as far as there are such networks. */
export const bridgesOf = (
  snapshot: Pick<Snapshot, 'named'>,
  { networks }: Pick<CopySpec, 'networks'>,
  project?: string,
): string[] =>
  networks.flatMap(({ network }) => snapshot.named('network', network, project)?.spec.bridge ?? []);

function anchorOf(slot: Slot | undefined): Demand['anchor'] {
  const node = slot?.anchor?.node;
  return slot?.anchor === undefined || node === undefined
    ? undefined
    : { volume: slot.anchor.metadata.name, node };
}

/** A volume that lies somewhere is reserved there already, for as much as it was asked to hold. */
function storageOf({ rootPool, resources, volumes }: CopySpec, slot: Slot | undefined): PoolDemand[] {
  const parts = new Map([[rootPool, { pool: rootPool, mib: resources.diskMib, isNew: true }]]);
  for (const { name, pool, sizeMib } of volumes) {
    const found = slot?.volumes.find(({ claim }) => claim === name);
    const isThere = found?.node !== undefined;
    const mib = Math.max(0, sizeMib - (isThere ? found.sizeMib : 0));
    const others = parts.get(pool);
    const isNew = !isThere || mib > 0 || (others?.isNew ?? false);
    parts.set(pool, { pool, mib: mib + (others?.mib ?? 0), isNew });
  }
  return [...parts.values()];
}

/** What a cluster can say of containers and not of virtual machines. */
const hasContainerOptions = ({ sshKeys, features }: ClusterOptions): boolean =>
  sshKeys.length > 0 || features.keyctl || features.fuse || features.mount.length > 0;

/** Of a spec whose runtime is not chosen yet nothing is known. */
const keepingOf = ({ runtime, volumes }: Asked['spec']): string[] =>
  takesVolumes(runtime) && volumes.some(({ keep }) => keep) ? ['volumes-keep'] : [];

/** Capabilities of a runtime that a spec needs; see RuntimeFacts. */
export function featuresOf(spec: CopySpec): string[] {
  const { network, devices, security, lxcKeys, volumes, vm, cluster } = spec;
  const needs: readonly (readonly [feature: string, isNeeded: boolean])[] = [
    ['network-bridged', network === 'bridged'],
    ['devices', devices.length > 0],
    ['nesting', security.nesting],
    ['privileged', security.privileged],
    ['lxc-keys', Object.keys(lxcKeys).length > 0],
    ['mounts', volumes.length > 0],
    ['vm-options', vm !== undefined],
    ['cluster-options', cluster !== undefined],
    ['container-options', cluster !== undefined && hasContainerOptions(cluster)],
  ];
  return needs.filter(([, isNeeded]) => isNeeded).map(([feature]) => feature);
}
