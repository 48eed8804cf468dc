import { isDeepStrictEqual } from 'node:util';
import type { ClusterOptions, VolumeClaim, WorkloadSpec } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import type { Configuration, FindContext, FoundSpec } from './guest-kind.ts';
import { useOf } from './interfaces.ts';
import { storageOfDisk, storageOfVolume } from './disks.ts';
import { lxcLimits } from './lxc-limits.ts';
import { foundFeatures } from './lxc-options.ts';
import { foundProgram } from './lxc-program.ts';
import { interfacesOf } from './lxc-network.ts';
import { isOn, numberOf, parseDiskMib, parseList, parseProperties, textOf } from './properties.ts';
import { ownTags, unsayableTags } from './tags.ts';
import { indexedKeys } from './indexed-keys.ts';

/** What a document that says nothing of them gets. */
const usual = { stopGraceMs: 10_000, readyAfterMs: 1000, pids: 4096 } as const;

/** A container as a person would have written it. */
export function foundLxcSpec(config: Configuration, context: FindContext): FoundSpec {
  const uses = interfacesOf(config).map((each) => useOf(each.name, each, context.networks));
  const mounts = mountsOf(config);
  const { limits } = lxcLimits(config);
  const isStarted = isOn(config['onboot']);
  const features = parseProperties(config['features']);
  const program = foundProgram(config);
  const cluster: ClusterOptions = {
    ...plainClusterOptions,
    tags: ownTags(config),
    features: foundFeatures(features),
    protection: isOn(config['protection']),
  };
  const spec: WorkloadSpec = {
    ...plainGuestConfig,
    image: `proxmox:guest/${context.vmid}`,
    runtime: 'proxmox-lxc',
    replicas: 1,
    placement: { require: [], strategy: 'spread' },
    update: { readyAfterMs: usual.readyAfterMs },
    command: [...program.command],
    env: program.env,
    user: '',
    workingDir: '',
    imageCredential: '',
    resources: { ...limits, pids: usual.pids },
    network: uses.length === 0 ? 'none' : 'bridged',
    networks: uses.flatMap(({ use }) => use ?? []),
    restart: { policy: isStarted ? 'always' : 'never', maxAttempts: 0 },
    stopGraceMs: usual.stopGraceMs,
    rootPool: storageOfDisk(config['rootfs']),
    volumes: mounts.claims,
    dns: { servers: parseList(config['nameserver']), search: parseList(config['searchdomain']), options: [] },
    security: {
      ...plainGuestConfig.security,
      privileged: !isOn(config['unprivileged']),
      nesting: isOn(features.get('nesting')),
    },
    ...(!isDeepStrictEqual(cluster, plainClusterOptions) && { cluster }),
    startOrder: numberOf(parseProperties(config['startup'], 'order').get('order')),
  };
  return {
    spec,
    macs: interfacesOf(config).map(({ properties }) => (properties.get('hwaddr') ?? '').toLowerCase()),
    notes: [...notesOf(config), ...program.notes, ...mounts.notes],
    obstacles: [
      ...obstaclesOf(config),
      ...uses.map(({ obstacle }) => obstacle).filter((text) => text !== ''),
    ],
  };
}

function obstaclesOf(config: Configuration): string[] {
  const lock = textOf(config['lock']);
  const isOnStorage = storageOfDisk(config['rootfs']) !== '';
  return [
    ...(isOn(config['template']) ? ['it is a template: an image, and no guest'] : []),
    ...(lock === '' ? [] : [`it is locked (${lock}): something is being done with it`]),
    ...(isOnStorage ? [] : ['its root is on no storage of the cluster']),
  ];
}

/** Keys that a spec says, that the cluster keeps for itself, or that say nothing. */
const known = new Set(
  (
    'arch cores cpulimit description digest entrypoint env features hostname lock lxc memory nameserver ' +
    'onboot ostype parent protection rootfs searchdomain snapshots startup swap tags template unprivileged'
  ).split(' '),
);
const isKnown = (key: string): boolean => known.has(key) || /^(net|mp|unused)\d+$/.test(key);

const saidFeatures = new Set(['nesting', 'keyctl', 'fuse', 'mount']);

function notesOf(config: Configuration): string[] {
  const swapMib = numberOf(config['swap'], 512);
  const features = [...parseProperties(config['features']).keys()].filter((key) => !saidFeatures.has(key));
  const others = Object.keys(config).filter((key) => !isKnown(key));
  const startup = [...parseProperties(config['startup'], 'order').keys()].filter((key) => key !== 'order');
  const cores = numberOf(config['cores']);
  const tags = unsayableTags(config);
  const hasBoth = cores > 0 && numberOf(config['cpulimit']) > 0;
  return [
    ...(textOf(config['hostname']) === '' ? [] : [`it is called ${textOf(config['hostname'])} inside`]),
    ...(hasBoth ? [`it sees ${cores} cores`] : []),
    ...(swapMib === 0 ? [] : [`it has ${swapMib} MiB of swap`]),
    ...(features.length === 0 ? [] : [`its features ${features.join(', ')} stay`]),
    ...(tags.length === 0 ? [] : [`its tags ${tags.join(', ')} stay`]),
    ...(startup.length === 0 ? [] : [`its startup keeps ${startup.join(', ')}`]),
    ...interfacesOf(config)
      .filter(({ properties }) => properties.has('hwaddr'))
      .map(({ name, properties }) => `${name} keeps its hardware address ${properties.get('hwaddr')}`),
    ...rawLines(config['lxc']).map((line) => `its own line for LXC stays: ${line}`),
    ...indexedKeys(config, 'unused').map((key) => `${key} stays: ${textOf(config[key])}`),
    ...(others.length === 0 ? [] : [`what a spec cannot say stays: ${others.toSorted().join(', ')}`]),
  ];
}

/** [["lxc.apparmor.profile", "unconfined"]] */
const rawLines = (lines: unknown): string[] =>
  Array.isArray(lines)
    ? lines.filter(Array.isArray).map((line: readonly unknown[]) => line.map(textOf).join(' = '))
    : [];

/** Mount points on storages are data volumes; others are left as they are. */
function mountsOf(config: Configuration): { claims: VolumeClaim[]; notes: string[] } {
  const claims: VolumeClaim[] = [];
  const notes: string[] = [];
  for (const key of indexedKeys(config, 'mp')) {
    const properties = parseProperties(config[key], 'volume');
    const mountPath = properties.get('mp') ?? '';
    const pool = storageOfVolume(properties.get('volume'));
    const sizeMib = parseDiskMib(properties.get('size'));
    if (pool === '' || sizeMib === 0 || !/^\/[^\s]*$/.test(mountPath)) {
      notes.push(`${key} stays as it is: ${textOf(config[key])}`);
      continue;
    }
    const taken = new Set(claims.map(({ name }) => name));
    const name = nameFor(mountPath, key, taken);
    const readOnly = isOn(properties.get('ro'));
    claims.push({ name, mountPath, sizeMib, pool, readOnly, keep: false });
  }
  return { claims, notes };
}

/** "/srv/data" is "data"; where that is taken or no name, "mp0". */
function nameFor(mountPath: string, key: string, taken: ReadonlySet<string>): string {
  const last = (mountPath.split('/').at(-1) ?? '').toLowerCase();
  return /^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$/.test(last) && !taken.has(last) && last !== 'root'
    ? last
    : key;
}
