import type { InstanceSpec } from '#shared/model.ts';
import { rowsOf } from '../api/answer-rows.ts';
import { isCopy, isTemplate } from '../images/image-references.ts';
import { tagsOfMark } from '../identity/marks.ts';
import { cloneForSpec } from './clone-call.ts';
import { lxcCalls } from './lxc-calls.ts';
import { foundLxcSpec } from './lxc-found.ts';
import { storageOfDisk } from './disks.ts';
import { lxcLimits } from './lxc-limits.ts';
import { cannotAttach, fixedOf, isAddressOutside } from './interfaces.ts';
import { cannotLink, clusterOf, isLinked } from './cluster-options.ts';
import {
  type Change,
  type ClusterVersion,
  type Configuration,
  type CopiedGuest,
  type GuestCall,
  guestCall,
  type GuestChanges,
  type GuestKind,
  type MakeContext,
  type SpecContext,
} from './guest-kind.ts';
import { featureChanges, newFeatures, optionChanges, options } from './lxc-options.ts';
import { cannotRun, newProgram, programChanges } from './lxc-program.ts';
import { interfaceChanges, interfacesOf, newInterface } from './lxc-network.ts';
import {
  formatProperties,
  gibOf,
  isOn,
  mergeProperties,
  parseDiskMib,
  parseProperties,
  textOf,
} from './properties.ts';
import { freeKeys, indexedKeys } from './indexed-keys.ts';

/** Of a root whose spec names no size. */
const defaultDiskMib = 4096;

/** Containers of Proxmox VE. */
export const lxcKind: GuestKind = {
  kind: 'lxc',
  runtime: 'proxmox-lxc',
  capabilities: () => [
    'update',
    'stats',
    'console',
    'snapshots',
    'network-none',
    'network-bridged',
    'mounts',
    'nesting',
    'privileged',
    'cluster-options',
    'container-options',
  ],
  cannot,
  create: (spec, context) => {
    const { image } = context;
    return image.kind === 'guest'
      ? cloneForSpec('lxc', spec, context, image)
      : creation(spec, context, image);
  },
  changes,
  limits: lxcLimits,
  rootStorage: (config) => storageOfDisk(config['rootfs']),
  fixedAddresses: (config) => interfacesOf(config).flatMap(fixedOf),
  seenAddresses,
  spec: foundLxcSpec,
  calls: lxcCalls,
};

function cannot(spec: InstanceSpec, version: ClusterVersion): string[] {
  const { security, volumes, assigned } = spec;
  const faults: readonly (readonly [isAsked: boolean, words: string])[] = [
    [spec.network === 'host', 'network "host": a container has interfaces of its own, or none'],
    [spec.imageCredential !== '', 'imageCredential: nodes pull without a login'],
    [spec.user !== '', 'user: a container starts its init as root'],
    [spec.workingDir !== '', 'workingDir: a container starts its init in /'],
    [spec.vm !== undefined, 'vm: a container is no machine'],
    [spec.devices.length > 0, 'devices: only root@pam may give them to a container'],
    [security.ownIdRange, 'security.ownIdRange: all unprivileged containers of a node share one range'],
    [security.addCapabilities.length > 0, 'security.addCapabilities: they cannot be set'],
    [security.dropCapabilities.length > 0, 'security.dropCapabilities: they cannot be set'],
    [Object.keys(spec.lxcKeys).length > 0, 'lxc: keys of its own'],
    [assigned.ports.length > 0 || spec.ports.length > 0, 'ports: its nodes forward none'],
    [
      isCopy(spec.image) && (spec.cluster?.sshKeys.length ?? 0) > 0,
      'cluster.sshKeys: a copy has those of what it is a copy of',
    ],
    [isLinked(spec) && !isTemplate(spec.image), cannotLink],
    [spec.dns.options.length > 0, 'dns.options: only servers and search domains can be set'],
  ];
  return [
    ...cannotRun(spec, version),
    ...faults.filter(([isAsked]) => isAsked).map(([, words]) => words),
    ...volumes.filter(({ sizeMib }) => sizeMib === 0).map(({ name }) => `volume ${name}: it needs a size`),
    ...volumes.filter(({ keep }) => keep).map(({ name }) => `volume ${name}: keep: it goes with its guest`),
    ...cannotAttach(assigned.attachments),
  ];
}

type Volume = Exclude<MakeContext['image'], CopiedGuest>;

function creation(spec: InstanceSpec, context: MakeContext, image: Volume): GuestCall {
  const { storageOf, mark, vmid, node } = context;
  const rootGib = gibOf(spec.resources.diskMib || defaultDiskMib);
  const { pool, tags, sshKeys } = clusterOf(spec);
  const features = newFeatures(spec);
  return guestCall('POST /nodes/{node}/lxc', {
    node,
    vmid,
    ostemplate: image.volid,
    hostname: spec.displayName,
    unprivileged: !spec.security.privileged,
    rootfs: `${storageOf(spec.rootPool)}:${rootGib}`,
    tags: [...tags, ...tagsOfMark(mark)].join(';'),
    description: mark.line,
    swap: 0,
    ...options(spec),
    ...newProgram(spec),
    ...(features !== undefined && { features }),
    ...(pool !== '' && { pool }),
    ...(sshKeys.length > 0 && { 'ssh-public-keys': sshKeys.join('\n') }),
    ...Object.fromEntries(
      spec.assigned.attachments.map((attachment, place) => [`net${place}`, newInterface(attachment)]),
    ),
    ...Object.fromEntries(
      spec.volumes.map((claim, place) => [`mp${place}`, newMountPoint(claim, storageOf(claim.pool))]),
    ),
  });
}

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
    programChanges(spec, config),
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
  return rowsOf(answer)
    .flatMap(({ inet, inet6 }) => [textOf(inet), textOf(inet6)])
    .map((text) => text.split('/')[0] ?? '')
    .filter(isAddressOutside);
}
