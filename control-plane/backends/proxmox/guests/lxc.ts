import type { InstanceSpec, Resources } from '#shared/model.ts';
import { isAddressOutside, lxcCalls } from './lxc-calls.ts';
import { foundLxcSpec } from './lxc-found.ts';
import { defaultMemoryMib, lxcLimits, storageOfVolume } from './lxc-limits.ts';
import { cannotAttach, fixedOf } from './interfaces.ts';
import {
  type ClusterVersion,
  type Configuration,
  type GuestChanges,
  type GuestKind,
  guestCall,
  type MakeContext,
  type SpecContext,
} from './guest-kind.ts';
import { freeKeys, indexedKeys, interfaceChanges, interfacesOf, newInterface } from './lxc-network.ts';
import {
  formatProperties,
  isOn,
  mergeProperties,
  numberOf,
  parseDiskMib,
  parseList,
  parseProperties,
  textOf,
} from './properties.ts';

/** Of a root whose spec names no size. */
const defaultDiskMib = 4096;

const gibOf = (mib: number): number => Math.ceil(mib / 1024);

/** From 9.1 on a container's first program and its environment can be set. */
const setsProgram = ({ major, minor }: ClusterVersion): boolean => major > 9 || (major === 9 && minor >= 1);

/** Containers of Proxmox VE. */
export const lxcKind: GuestKind = {
  kind: 'lxc',
  runtime: 'proxmox-lxc',
  capabilities: () => [
    'update',
    'stats',
    'snapshots',
    'network-none',
    'network-bridged',
    'mounts',
    'nesting',
    'privileged',
  ],
  cannot,
  create: (spec, context) => guestCall('POST /nodes/{node}/lxc', creation(spec, context)),
  changes,
  limits: lxcLimits,
  rootStorage: (config) => storageOfVolume(parseProperties(config['rootfs'], 'volume').get('volume')),
  fixedAddresses: (config) => interfacesOf(config).flatMap(fixedOf),
  seenAddresses,
  spec: foundLxcSpec,
  calls: lxcCalls,
};

function cannot(spec: InstanceSpec, version: ClusterVersion): string[] {
  const { security, volumes, assigned } = spec;
  const faults: readonly (readonly [isAsked: boolean, words: string])[] = [
    [spec.network === 'host', 'network "host": a container has interfaces of its own, or none'],
    [
      !setsProgram(version) && spec.command.length > 0,
      'command: a container starts the init of its template; from 9.1 on it can be set',
    ],
    [
      !setsProgram(version) && Object.keys(spec.env).length > 0,
      'env: a container has the environment of its template; from 9.1 on it can be set',
    ],
    [spec.command.some((word) => /[\s\0"'\\]/.test(word)), 'command: its words have no spaces and no quotes'],
    [Object.values(spec.env).some((value) => /[\n\r\0]/.test(value)), 'env: no value has several lines'],
    [spec.user !== '', 'user: a container starts its init as root'],
    [spec.workingDir !== '', 'workingDir: a container starts its init in /'],
    [spec.devices.length > 0, 'devices: only root@pam may give them to a container'],
    [security.ownIdRange, 'security.ownIdRange: all unprivileged containers of a node share one range'],
    [security.addCapabilities.length > 0, 'security.addCapabilities: they cannot be set'],
    [security.dropCapabilities.length > 0, 'security.dropCapabilities: they cannot be set'],
    [Object.keys(spec.lxcKeys).length > 0, 'lxc: keys of its own'],
    [assigned.ports.length > 0 || spec.ports.length > 0, 'ports: its nodes forward none'],
    [spec.dns.options.length > 0, 'dns.options: only servers and search domains can be set'],
  ];
  return [
    ...faults.filter(([isAsked]) => isAsked).map(([, words]) => words),
    ...volumes.filter(({ sizeMib }) => sizeMib === 0).map(({ name }) => `volume ${name}: it needs a size`),
    ...cannotAttach(assigned.attachments),
  ];
}

function creation(spec: InstanceSpec, context: MakeContext) {
  const { storageOf, mark, image, vmid, node } = context;
  const rootGib = gibOf(spec.resources.diskMib || defaultDiskMib);
  return {
    node,
    vmid,
    ostemplate: image.kind === 'guest' ? '' : image.volid,
    hostname: spec.displayName,
    unprivileged: !spec.security.privileged,
    rootfs: `${storageOf(spec.rootPool)}:${rootGib}`,
    tags: mark.tag,
    description: mark.line,
    swap: 0,
    ...options(spec),
    ...(spec.security.nesting && { features: { nesting: true } }),
    ...Object.fromEntries(
      spec.assigned.attachments.map((attachment, place) => [`net${place}`, newInterface(attachment)]),
    ),
    ...Object.fromEntries(
      spec.volumes.map((claim, place) => [`mp${place}`, newMountPoint(claim, storageOf(claim.pool))]),
    ),
  };
}

/** What is one value each. Undefined: the key is not to be there. */
function wantedOptions(spec: InstanceSpec): Readonly<Record<string, string | number | boolean | undefined>> {
  const { resources, restart, startOrder, dns, command, env } = spec;
  const text = (words: readonly string[], separator: string): string | undefined =>
    words.length === 0 ? undefined : words.join(separator);
  return {
    memory: resources.memoryMib || defaultMemoryMib,
    ...processors(resources),
    onboot: restart.policy !== 'never',
    startup: startOrder === 0 ? undefined : `order=${startOrder}`,
    nameserver: text(dns.servers, ' '),
    searchdomain: text(dns.search, ' '),
    entrypoint: text(command, ' '),
    env: text(
      Object.entries(env).map(([key, value]) => `${key}=${value}`),
      '\0',
    ),
  };
}

/** As many cores as its share needs, and a limit where that is no whole number of them. */
function processors({ cpuMillicores }: Resources): { cores?: number; cpulimit?: number } {
  if (cpuMillicores === 0) return {};
  const cores = Math.ceil(cpuMillicores / 1000);
  return cpuMillicores % 1000 === 0 ? { cores } : { cores, cpulimit: cpuMillicores / 1000 };
}

const options = (spec: InstanceSpec): Record<string, string | number | boolean> =>
  Object.fromEntries(Object.entries(wantedOptions(spec)).filter((entry) => entry[1] !== undefined)) as Record<
    string,
    string | number | boolean
  >;

type Claim = InstanceSpec['volumes'][number];

const newMountPoint = ({ mountPath, sizeMib, readOnly }: Claim, storage: string) => ({
  volume: `${storage}:${gibOf(sizeMib)}`,
  mp: mountPath,
  backup: true,
  ...(readOnly && { ro: true }),
});

function changes(spec: InstanceSpec, config: Configuration, context: SpecContext): GuestChanges {
  const parts = [
    optionChanges(spec, config),
    featureChanges(spec, config),
    interfaceChanges(config, spec.assigned.attachments),
    volumeChanges(spec, config, context),
  ];
  const root = parseProperties(config['rootfs'], 'volume');
  const rootMib = parseDiskMib(root.get('size'));
  const wantedGib = gibOf(spec.resources.diskMib);
  const isUnprivileged = isOn(config['unprivileged']);
  return {
    set: Object.assign({}, ...parts.map(({ set }) => set)) as Record<string, unknown>,
    unset: parts.flatMap(({ unset }) => unset),
    grow: [
      ...(rootMib > 0 && wantedGib > gibOf(rootMib) ? [{ disk: 'rootfs', sizeGib: wantedGib }] : []),
      ...volumeGrowth(spec, config),
    ],
    refused: [
      ...(isUnprivileged === spec.security.privileged
        ? [`it is ${isUnprivileged ? 'unprivileged' : 'privileged'}, and stays so`]
        : []),
      ...(spec.resources.diskMib > 0 && wantedGib < gibOf(rootMib)
        ? [`its root has ${gibOf(rootMib)} GiB and cannot shrink to ${wantedGib} GiB`]
        : []),
      ...(spec.rootPool !== '' && context.storageOf(spec.rootPool) !== lxcKind.rootStorage(config)
        ? [`its root is on ${lxcKind.rootStorage(config)}, and stays there`]
        : []),
    ],
  };
}

type Change = { readonly set: Record<string, unknown>; readonly unset: string[] };

function optionChanges(spec: InstanceSpec, config: Configuration): Change {
  const wanted = wantedOptions(spec);
  const set: Record<string, unknown> = {};
  const unset: string[] = [];
  const says = (key: string, isSame: boolean): void => {
    if (isSame) return;
    if (wanted[key] === undefined) unset.push(key);
    else set[key] = wanted[key];
  };
  const { resources, startOrder, dns } = spec;
  says('memory', lxcLimits(config).limits.memoryMib === wanted['memory']);
  if (lxcLimits(config).limits.cpuMillicores !== resources.cpuMillicores) {
    for (const key of ['cores', 'cpulimit'] as const)
      says(key, config[key] === undefined && wanted[key] === undefined);
  }
  says('onboot', isOn(config['onboot']) === wanted['onboot']);
  says('nameserver', parseList(config['nameserver']).join(' ') === dns.servers.join(' '));
  says('searchdomain', parseList(config['searchdomain']).join(' ') === dns.search.join(' '));
  if (spec.command.length > 0) says('entrypoint', textOf(config['entrypoint']) === wanted['entrypoint']);
  if (Object.keys(spec.env).length > 0) says('env', textOf(config['env']) === wanted['env']);
  const startup = parseProperties(config['startup'], 'order');
  if (numberOf(startup.get('order')) !== startOrder) {
    const next = mergeProperties(startup, { order: startOrder === 0 ? undefined : startOrder });
    if (next.size === 0) unset.push('startup');
    else set['startup'] = formatProperties(next);
  }
  return { set, unset };
}

function featureChanges({ security }: InstanceSpec, config: Configuration): Change {
  const features = parseProperties(config['features']);
  if (isOn(features.get('nesting')) === security.nesting) return { set: {}, unset: [] };
  const next = mergeProperties(features, { nesting: security.nesting || undefined });
  return next.size === 0
    ? { set: {}, unset: ['features'] }
    : { set: { features: formatProperties(next) }, unset: [] };
}

/** A mount point is known by its path. One that nobody claims any more stays: it may hold data. */
function volumeChanges(spec: InstanceSpec, config: Configuration, context: SpecContext): Change {
  const set: Record<string, unknown> = {};
  const free = freeKeys(config, 'mp');
  for (const claim of spec.volumes) {
    const there = mountPointAt(config, claim.mountPath);
    if (there === undefined) set[free.next().value] = newMountPoint(claim, context.storageOf(claim.pool));
    else if (isOn(there.properties.get('ro')) !== claim.readOnly)
      set[there.key] = formatProperties(
        mergeProperties(there.properties, { ro: claim.readOnly || undefined }),
        'volume',
      );
  }
  return { set, unset: [] };
}

function volumeGrowth(spec: InstanceSpec, config: Configuration) {
  return spec.volumes.flatMap(({ mountPath, sizeMib }) => {
    const there = mountPointAt(config, mountPath);
    const isSmaller =
      there !== undefined && gibOf(parseDiskMib(there.properties.get('size'))) < gibOf(sizeMib);
    return isSmaller ? [{ disk: there.key, sizeGib: gibOf(sizeMib) }] : [];
  });
}

export function mountPointAt(config: Configuration, path: string) {
  return indexedKeys(config, 'mp')
    .map((key) => ({ key, properties: parseProperties(config[key], 'volume') }))
    .find(({ properties }) => properties.get('mp') === path);
}

/** Of the interfaces as the guest's own namespace has them. */
function seenAddresses(answer: unknown): string[] {
  if (!Array.isArray(answer)) return [];
  return (answer as Record<string, unknown>[])
    .flatMap(({ inet, inet6 }) => [textOf(inet), textOf(inet6)])
    .map((text) => text.split('/')[0] ?? '')
    .filter(isAddressOutside);
}
