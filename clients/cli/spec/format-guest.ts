import { type FieldFault, isKind } from '#shared/errors.ts';
import type { ClusterOptions, GuestConfig, VmOptions } from '#shared/gen/drover/model/v1/model.ts';
import { parseSizeMib } from '#shared/units.ts';

type Section = Readonly<Record<string, unknown>>;

/** Sizes of volumes that cannot be read; takes any value at all. */
export function volumeSizeFaults(value: Section): FieldFault[] {
  const volumes = Array.isArray(value['volumes']) ? (value['volumes'] as unknown[]) : [];
  return volumes.flatMap((one, place) => {
    const size = (one as Section | null)?.['size'];
    if (typeof size !== 'string' && typeof size !== 'number') return [];
    try {
      parseSizeMib(String(size));
      return [];
    } catch (error) {
      if (!isKind(error, 'invalid-argument')) throw error;
      return [{ field: `volumes[${place}].size`, message: error.message }];
    }
  });
}

/** The part of a document about storage, network and rights, once the schema has let it through. */
export function formatGuest(file: Section): GuestConfig {
  const security = sectionOf(file['security']);
  const dns = sectionOf(file['dns']);
  const snapshots = sectionOf(file['snapshots']);
  return {
    rootPool: textOf(sectionOf(file['root'])['pool']),
    volumes: sectionsOf(file['volumes']).map((one) => ({
      name: textOf(one['name']),
      mountPath: textOf(one['mount']),
      sizeMib: sizeOf(one['size']),
      pool: textOf(one['pool']),
      readOnly: one['readOnly'] === true,
      keep: one['keep'] === true,
    })),
    snapshots: {
      hourly: numberOf(snapshots['hourly']),
      daily: numberOf(snapshots['daily']),
      weekly: numberOf(snapshots['weekly']),
    },
    networks: listOf(file['networks']).map((one) =>
      typeof one === 'string'
        ? { network: one, addresses: [] }
        : { network: textOf(sectionOf(one)['name']), addresses: textsOf(sectionOf(one)['addresses']) },
    ),
    ports: sectionsOf(file['ports']).map((one) => ({
      hostPort: numberOf(one['host']),
      guestPort: numberOf(one['guest']),
      protocol: textOf(one['protocol']) || 'tcp',
      hostAddress: textOf(one['hostAddress']),
    })),
    dns: {
      servers: textsOf(dns['servers']),
      search: textsOf(dns['search']),
      options: textsOf(dns['options']),
    },
    devices: textsOf(file['devices']),
    security: {
      privileged: security['privileged'] === true,
      nesting: security['nesting'] === true,
      ownIdRange: security['ownIdRange'] === true,
      addCapabilities: textsOf(security['addCapabilities']),
      dropCapabilities: textsOf(security['dropCapabilities']),
    },
    startOrder: numberOf(file['startOrder']),
    lxcKeys: Object.fromEntries(
      Object.entries(sectionOf(file['lxc'])).map(([key, one]) => [key, String(one)]),
    ),
    vm: isSaid(file['vm']) ? formatVm(sectionOf(file['vm'])) : undefined,
    cluster: isSaid(file['cluster']) ? formatCluster(sectionOf(file['cluster'])) : undefined,
  };
}

function formatVm(vm: Section): VmOptions {
  const cloudInit = sectionOf(vm['cloudInit']);
  const disk = sectionOf(vm['disk']);
  return {
    cpuType: textOf(vm['cpuType']),
    sockets: numberOf(vm['sockets']),
    cores: numberOf(vm['cores']),
    balloonMib: sizeOf(vm['balloon']),
    numa: vm['numa'] === true,
    kvm: vm['kvm'] !== false,
    bios: textOf(vm['bios']),
    machine: textOf(vm['machine']),
    tpm: vm['tpm'] === true,
    agent: vm['agent'] !== false,
    serial: vm['serial'] === true,
    display: textOf(vm['display']),
    osType: textOf(vm['osType']),
    clone: textOf(vm['clone']),
    cloudInit: isSaid(vm['cloudInit'])
      ? { user: textOf(cloudInit['user']), sshKeys: textsOf(cloudInit['sshKeys']) }
      : undefined,
    disk: {
      bus: textOf(disk['bus']),
      cache: textOf(disk['cache']),
      discard: disk['discard'] === true,
      ssd: disk['ssd'] === true,
      iothread: disk['iothread'] === true,
    },
  };
}

function formatCluster(cluster: Section): ClusterOptions {
  const features = sectionOf(cluster['features']);
  return {
    pool: textOf(cluster['pool']),
    tags: textsOf(cluster['tags']),
    sshKeys: textsOf(cluster['sshKeys']),
    features: {
      keyctl: features['keyctl'] === true,
      fuse: features['fuse'] === true,
      mount: textsOf(features['mount']),
    },
    onBoot: cluster['onBoot'] !== false,
    protection: cluster['protection'] === true,
    clone: textOf(cluster['clone']),
  };
}

const isSaid = (value: unknown): boolean => value !== undefined && value !== null;
const sizeOf = (value: unknown): number =>
  typeof value === 'string' || typeof value === 'number' ? parseSizeMib(String(value)) : 0;
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const numberOf = (value: unknown): number => (typeof value === 'number' ? value : 0);
const listOf = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const textsOf = (value: unknown): string[] => listOf(value).map(textOf);
const sectionOf = (value: unknown): Section => (value ?? {}) as Section;
const sectionsOf = (value: unknown): Section[] => listOf(value).map(sectionOf);
