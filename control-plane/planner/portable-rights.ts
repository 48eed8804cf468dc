import {
  carries,
  changes,
  type Finding,
  isOfCluster,
  obstructs,
  type PortabilityInput,
  targetsOf,
  when,
} from './portability-finding.ts';

const clusterIds = 'host ids 100000 to 165535, which all unprivileged containers of a node share';
const hostIds = "host ids of a range of its node's idRange";

/** Ids, and what it may do beyond the default. */
export const rightsFindings = (input: PortabilityInput): Finding[] => [
  idMap(input),
  ...(isOfCluster(input.to) ? rightsInCluster(input) : rightsOnHost(input)),
];

function idMap(input: PortabilityInput): Finding {
  const { to, spec } = input;
  const toCluster = isOfCluster(to);
  if (spec.security.privileged) {
    const isAllowed = targetsOf(input).some(({ allowsPrivileged }) => allowsPrivileged);
    const advice = toCluster
      ? 'give the token Sys.Modify on /, or take security.privileged out'
      : 'set allowsPrivileged in the configuration of an agent, or take security.privileged out';
    return isAllowed
      ? carries('id map', 'privileged: ids inside are those of the host')
      : obstructs('id map', 'privileged', `no node that offers ${to} allows it`, advice);
  }
  if (toCluster && spec.security.ownIdRange)
    return obstructs(
      'id map',
      'host ids that no other guest has',
      clusterIds,
      'take security.ownIdRange out',
    );
  const advice = 'owners go as they are inside, and are shifted as they are unpacked; ids above 65535 cannot';
  return toCluster
    ? changes('id map', hostIds, clusterIds, advice)
    : changes('id map', clusterIds, hostIds, advice);
}

function rightsInCluster({ spec }: PortabilityInput): Finding[] {
  const { security, devices, lxcKeys } = spec;
  const { addCapabilities: added, dropCapabilities: dropped } = security;
  const keys = Object.entries(lxcKeys).map(([key, value]) => `${key}: ${value}`);
  const byRoot = 'root@pam may add it to the container by hand, and Drover leaves it';
  return [
    ...when(security.nesting, () => carries('features', 'nesting')),
    changes(
      'features',
      'programs inside may use keyrings',
      'they may not, without the feature keyctl',
      'where a program inside needs it, as Docker does, root@pam sets the feature by hand',
    ),
    ...when(devices.length > 0, () =>
      obstructs('devices', devices.join(', '), 'a token may give none', `take devices out; ${byRoot}`),
    ),
    ...when(added.length + dropped.length > 0, () =>
      obstructs(
        'capabilities',
        [...added.map((name) => `with ${name}`), ...dropped.map((name) => `without ${name}`)].join(', '),
        'those of every container there',
        'take security.addCapabilities and security.dropCapabilities out',
      ),
    ),
    ...when(keys.length > 0, () =>
      obstructs('keys of LXC', keys.join(', '), 'the API takes none', `take lxc out; ${byRoot}`),
    ),
  ];
}

function rightsOnHost(input: PortabilityInput): Finding[] {
  const { security, cluster } = input.spec;
  const { keyctl = false, fuse = false, mount = [] } = cluster?.features ?? {};
  const hasFuse = targetsOf(input).some(({ allowedDevices }) => allowedDevices.has('/dev/fuse'));
  const fuseAdvice = 'take cluster.features.fuse out and ask for devices: [/dev/fuse]';
  return [
    ...when(security.nesting, () => carries('features', 'nesting')),
    ...when(keyctl, () =>
      changes('features', 'keyctl', 'every guest may use keyrings', 'take cluster.features.keyctl out'),
    ),
    ...when(fuse && hasFuse, () => changes('features', 'fuse', 'the device /dev/fuse', fuseAdvice)),
    ...when(fuse && !hasFuse, () =>
      obstructs(
        'features',
        'fuse',
        'no node that offers lxc allows the device /dev/fuse',
        `name it in allowedDevices of an agent; ${fuseAdvice}`,
      ),
    ),
    ...when(mount.length > 0, () =>
      obstructs(
        'features',
        `mounts ${mount.join(', ')} by itself`,
        'no guest mounts such file systems',
        'take cluster.features.mount out, and have its data in volumes',
      ),
    ),
    ...clusterOptions(input),
  ];
}

function clusterOptions({ spec }: PortabilityInput): Finding[] {
  if (spec.cluster === undefined) return [];
  const { pool, tags, sshKeys, onBoot, protection } = spec.cluster;
  const lost = [
    ...(pool === '' ? [] : [`pool ${pool}`]),
    ...(tags.length === 0 ? [] : [`tags ${tags.join(', ')}`]),
    ...(onBoot ? [] : ['onBoot: false']),
  ];
  const out = 'take it out of the spec';
  return [
    ...when(lost.length > 0, () => changes('cluster', lost.join('; '), '', out)),
    ...when(sshKeys.length > 0, () =>
      changes('cluster', `${sshKeys.length} sshKeys`, 'those on its root stay', `${out}; change them inside`),
    ),
    ...when(protection, () =>
      obstructs('cluster', 'protection', 'the cluster would refuse to remove the old copy', out),
    ),
  ];
}
