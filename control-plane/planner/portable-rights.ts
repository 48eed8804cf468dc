import { found, type Finding, isOfCluster, type PortabilityInput, targetsOf } from './portability-finding.ts';

/** Ids, and what it may do beyond the default. */
export function rightsFindings(input: PortabilityInput): Finding[] {
  const { spec, to } = input;
  const { security, devices, lxcKeys } = spec;
  const toCluster = isOfCluster(to);
  const capabilities = [...security.addCapabilities, ...security.dropCapabilities];
  const keys = Object.keys(lxcKeys);
  return [
    ...idMap(input),
    ...found('features', 'carries over', 'nesting', security.nesting),
    ...containerFeatures(input),
    ...found(
      'devices',
      toCluster ? 'stands in the way' : 'carries over',
      toCluster ? `${devices.join(', ')}: in a cluster only root@pam may give them` : devices.join(', '),
      devices.length > 0,
    ),
    ...found(
      'capabilities',
      'stands in the way',
      `${capabilities.join(', ')}: a cluster cannot set them`,
      toCluster && capabilities.length > 0,
    ),
    ...found(
      'lxc keys',
      'stands in the way',
      `${keys.join(', ')}: a cluster takes no keys of its own`,
      toCluster && keys.length > 0,
    ),
    ...found(
      'resources',
      'changes',
      `pids ${spec.resources.pids}: a cluster does not hold containers to it`,
      toCluster,
    ),
  ];
}

function idMap(input: PortabilityInput): Finding[] {
  const { spec, to } = input;
  const { privileged, ownIdRange } = spec.security;
  const toCluster = isOfCluster(to);
  if (privileged) {
    const isAllowed = targetsOf(input).some(({ allowsPrivileged }) => allowsPrivileged);
    return isAllowed
      ? found('id map', 'carries over', 'privileged: ids are the host’s own on both sides')
      : found('id map', 'stands in the way', `privileged: no node that offers ${to} allows it`);
  }
  if (toCluster && ownIdRange)
    return found(
      'id map',
      'stands in the way',
      'security.ownIdRange: all unprivileged containers of a cluster’s node share one range',
    );
  const range = toCluster
    ? '100000 to 165535, as all unprivileged containers of a cluster'
    : 'its node’s range';
  return found(
    'id map',
    'changes',
    `owners of all files on its root and its volumes are shifted to ${range}`,
  );
}

function containerFeatures({ spec, to }: PortabilityInput): Finding[] {
  const options = spec.cluster;
  if (options === undefined) return [];
  if (isOfCluster(to)) return found('features', 'carries over', 'what its section cluster says');
  const { keyctl, fuse, mount } = options.features;
  const { pool, tags, sshKeys, protection } = options;
  const lost = [
    pool === '' ? '' : `pool ${pool}`,
    tags.length === 0 ? '' : `tags ${tags.join(', ')}`,
    sshKeys.length === 0 ? '' : 'sshKeys (those on its root stay)',
    protection ? 'protection' : '',
    keyctl ? 'features.keyctl' : '',
  ].filter((part) => part !== '');
  return [
    ...found('features', 'stands in the way', 'features.fuse: ask for the device /dev/fuse instead', fuse),
    ...found(
      'features',
      'stands in the way',
      `features.mount ${mount.join(', ')}: a plain host lets no container mount such file systems`,
      mount.length > 0,
    ),
    ...found('cluster options', 'changes', `to be left out: ${lost.join('; ')}`, lost.length > 0),
  ];
}
