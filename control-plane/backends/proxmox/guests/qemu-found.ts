import { isDeepStrictEqual } from 'node:util';
import type { ClusterOptions, Resources, VmOptions, VolumeClaim, WorkloadSpec } from '#shared/model.ts';
import { collectFaults } from '#shared/wire/checks.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { checkPublicKeys } from '#shared/wire/public-keys.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { defaultStopGraceMs } from '#shared/wire/workload.ts';
import type { Configuration, FindContext, FoundSpec } from './guest-kind.ts';
import { useOf } from './interfaces.ts';
import { storageOfVolume } from './disks.ts';
import { isOn, numberOf, parseList, parseProperties, textOf } from './properties.ts';
import { foundCloudInit } from './qemu-cloud-init.ts';
import {
  busOf,
  dataDrives,
  type Drive,
  drivesOf,
  foundAttachment,
  isCloudInit,
  rootDrive,
  serialOf,
} from './qemu-disks.ts';
import { vmInterfacesOf } from './qemu-network.ts';
import { balloonMibOf, foundProcessors, memoryMibOf, millicoresOf } from './qemu-processors.ts';
import { ownTags, unsayableTags } from './tags.ts';
import { indexedKeys } from './indexed-keys.ts';

/** What a document that says nothing of them gets. */
const usual = { stopGraceMs: defaultStopGraceMs(true), readyAfterMs: 1000, pids: 4096 } as const;

/** As a configuration sets them. Nothing there limits how many processes it has. */
export function vmLimits(config: Configuration): { limits: Resources; notEnforced: string[] } {
  const diskMib = rootDrive(config)?.sizeMib ?? 0;
  return {
    limits: {
      cpuMillicores: millicoresOf(foundProcessors(config)),
      memoryMib: memoryMibOf(config),
      diskMib,
      pids: 0,
    },
    notEnforced: diskMib === 0 ? ['pids', 'disk'] : ['pids'],
  };
}

/** A virtual machine as a person would have written it. */
export function foundVmSpec(config: Configuration, context: FindContext): FoundSpec {
  const uses = vmInterfacesOf(config).map((each) => useOf(each.name, each, context.networks));
  const data = dataOf(config);
  const vm = foundVm(config);
  const hasDrive = vm.cloudInit !== undefined;
  const cluster: ClusterOptions = {
    ...plainClusterOptions,
    tags: ownTags(config),
    protection: isOn(config['protection']),
  };
  const spec: WorkloadSpec = {
    ...plainGuestConfig,
    image: `proxmox:guest/${context.vmid}`,
    runtime: 'proxmox-vm',
    replicas: 1,
    placement: { require: [], strategy: 'spread' },
    update: { readyAfterMs: usual.readyAfterMs },
    command: [],
    env: {},
    user: '',
    workingDir: '',
    imageCredential: '',
    resources: { ...vmLimits(config).limits, pids: usual.pids },
    network: uses.length === 0 ? 'none' : 'bridged',
    networks: uses.flatMap(({ use }) => use ?? []),
    restart: { policy: isOn(config['onboot']) ? 'always' : 'never', maxAttempts: 0 },
    stopGraceMs: usual.stopGraceMs,
    rootPool: storageOfVolume(rootDrive(config)?.volid),
    volumes: data.claims,
    dns: {
      servers: hasDrive ? parseList(config['nameserver']) : [],
      search: hasDrive ? parseList(config['searchdomain']) : [],
      options: [],
    },
    startOrder: numberOf(parseProperties(config['startup'], 'order').get('order')),
    ...(!isDeepStrictEqual(vm, plainVmOptions) && { vm }),
    ...(!isDeepStrictEqual(cluster, plainClusterOptions) && { cluster }),
  };
  return {
    spec,
    macs: vmInterfacesOf(config).map(({ mac }) => mac.toLowerCase()),
    notes: [...notesOf(config), ...data.notes],
    obstacles: [
      ...obstaclesOf(config),
      ...uses.map(({ obstacle }) => obstacle).filter((text) => text !== ''),
    ],
  };
}

function foundVm(config: Configuration): VmOptions {
  const processors = foundProcessors(config);
  const { sockets, cores } = processors;
  const implied = Math.ceil(millicoresOf(processors) / 1000 / sockets);
  const cloudInit = foundCloudInit(config);
  const root = rootDrive(config);
  const osType = textOf(config['ostype']) || 'other';
  const part = (key: string, name: string): string => parseProperties(config[key], name).get(name) ?? '';
  return {
    cpuType: part('cpu', 'cputype'),
    sockets: sockets > 1 ? sockets : 0,
    cores: implied === cores ? 0 : cores,
    balloonMib: balloonMibOf(config),
    numa: isOn(config['numa']),
    kvm: config['kvm'] === undefined || isOn(config['kvm']),
    bios: config['bios'] === 'ovmf' ? 'ovmf' : 'seabios',
    machine: part('machine', 'type'),
    tpm: config['tpmstate0'] !== undefined,
    agent: isOn(parseProperties(textOf(config['agent']), 'enabled').get('enabled')),
    serial: config['serial0'] === 'socket',
    display: part('vga', 'type'),
    osType: osType === 'l26' ? '' : osType,
    clone: plainVmOptions.clone,
    disk: root === undefined ? plainVmOptions.disk : { bus: busOf(root), ...foundAttachment(root) },
    ...(cloudInit !== undefined && { cloudInit }),
  };
}

function obstaclesOf(config: Configuration): string[] {
  const lock = textOf(config['lock']);
  const isOnStorage = storageOfVolume(rootDrive(config)?.volid) !== '';
  const faults = collectFaults();
  const strange: string[] = [];
  const { sshKeys = [] } = foundCloudInit(config) ?? {};
  checkPublicKeys(sshKeys, 'sshkeys', { ...faults, add: (field) => void strange.push(field) });
  return [
    ...(isOn(config['template']) ? ['it is a template: an image, and no guest'] : []),
    ...(lock === '' ? [] : [`it is locked (${lock}): something is being done with it`]),
    ...(isOnStorage ? [] : ['its root is on no storage of the cluster']),
    ...strange.map((field) => `its ${field} for cloud-init is no plain public key`),
  ];
}

/** Disks that a claim can say are data volumes; others are left as they are. */
function dataOf(config: Configuration): { claims: VolumeClaim[]; notes: string[] } {
  const claims: VolumeClaim[] = [];
  const notes: string[] = [];
  const root = rootDrive(config);
  const alike = root && foundAttachment(root);
  for (const drive of dataDrives(config)) {
    const pool = storageOfVolume(drive.volid);
    const name = nameOf(drive);
    const isClaim =
      busOf(drive) === 'scsi' &&
      pool !== '' &&
      drive.sizeMib > 0 &&
      isDeepStrictEqual(foundAttachment(drive), alike) &&
      name !== undefined &&
      !claims.some((claim) => claim.name === name);
    if (!isClaim) {
      notes.push(`${drive.key} stays as it is: ${textOf(config[drive.key])}`);
      continue;
    }
    const readOnly = isOn(drive.properties.get('ro'));
    claims.push({ name, mountPath: `/mnt/${name}`, sizeMib: drive.sizeMib, pool, readOnly, keep: false });
  }
  const where = 'where its guest mounts them is its own affair';
  return {
    claims,
    notes: claims.length === 0 ? notes : [`data volumes are ${nameList(claims)}; ${where}`, ...notes],
  };
}

const nameList = (claims: readonly VolumeClaim[]): string => claims.map(({ name }) => name).join(', ');

/** Its serial number where that could be a claim's; its key where it has none. */
function nameOf({ key, properties }: Drive): string | undefined {
  const serial = properties.get('serial');
  if (serial === undefined) return key;
  return /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/.test(serial) && serialOf(serial) === serial
    ? serial
    : undefined;
}

/** Keys that a spec says, that the cluster keeps for itself, or that say nothing. */
const known = new Set(
  (
    'agent balloon bios boot bootdisk ciuser cores cpu cpulimit description digest efidisk0 kvm lock ' +
    'machine memory meta name nameserver numa onboot ostype parent protection scsihw searchdomain ' +
    'smbios1 snapshots sockets sshkeys startup tags template tpmstate0 vga vmgenid'
  ).split(' '),
);
const isKnown = (key: string): boolean =>
  known.has(key) || /^(net|ipconfig|scsi|virtio|sata|ide|unused)\d+$/.test(key);

function notesOf(config: Configuration): string[] {
  const others = Object.keys(config).filter((key) => !isKnown(key) && !saysSerial(config, key));
  const startup = [...parseProperties(config['startup'], 'order').keys()].filter((key) => key !== 'order');
  const discs = drivesOf(config).filter(
    (drive) => drive.properties.get('media') === 'cdrom' && !isCloudInit(drive),
  );
  const tags = unsayableTags(config);
  return [
    ...(textOf(config['name']) === '' ? [] : [`it is called ${textOf(config['name'])}`]),
    ...vmInterfacesOf(config)
      .filter(({ mac }) => mac !== '')
      .map(({ key, mac }) => `${key} keeps its hardware address ${mac}`),
    ...(startup.length === 0 ? [] : [`its startup keeps ${startup.join(', ')}`]),
    ...(tags.length === 0 ? [] : [`its tags ${tags.join(', ')} stay`]),
    ...discs.map(({ key }) => `${key} stays: ${textOf(config[key])}`),
    ...indexedKeys(config, 'unused').map((key) => `${key} stays: ${textOf(config[key])}`),
    ...(others.length === 0 ? [] : [`what a spec cannot say stays: ${others.toSorted().join(', ')}`]),
  ];
}

const saysSerial = (config: Configuration, key: string): boolean =>
  key === 'serial0' && config[key] === 'socket';
