import type { InstanceSpec } from '#shared/model.ts';
import { isTemplate } from '../images/image-references.ts';
import { tagsOfMark } from '../identity/marks.ts';
import { cloneForSpec } from './clone-call.ts';
import {
  type Change,
  type Configuration,
  type CopiedGuest,
  type GuestCall,
  guestCall,
  type GuestChanges,
  type GuestKind,
  type MakeContext,
  type SpecContext,
} from './guest-kind.ts';
import { cannotAttach, fixedOf, isAddressOutside } from './interfaces.ts';
import { cannotLink, clusterOf } from './cluster-options.ts';
import { storageOfVolume } from './disks.ts';
import { gibOf, textOf } from './properties.ts';
import { qemuCalls } from './qemu-calls.ts';
import { cloudInitChanges, newCloudInit } from './qemu-cloud-init.ts';
import {
  diskChanges,
  diskGrowth,
  diskRefusals,
  freeDataKeys,
  newDataDisk,
  newDisk,
  rootDrive,
} from './qemu-disks.ts';
import { foundVmSpec, vmLimits } from './qemu-found.ts';
import { newVmInterface, vmInterfaceChanges, vmInterfacesOf } from './qemu-network.ts';
import { newOptions, optionChanges, type Scalar, vmOf } from './qemu-options.ts';

/** Of a root that something is to be installed on, and whose spec names no size. */
const emptyDiskMib = 8192;
const dataDisksMax = 30;

/** Virtual machines of Proxmox VE. */
export const qemuKind: GuestKind = {
  kind: 'qemu',
  runtime: 'proxmox-vm',
  capabilities: () => [
    'update',
    'stats',
    'console',
    'pause',
    'freeze',
    'exec',
    'snapshots',
    'network-none',
    'network-bridged',
    'mounts',
    'vm-options',
    'cluster-options',
  ],
  cannot,
  create: (spec, context) => {
    const { image } = context;
    return image.kind === 'guest'
      ? cloneForSpec('qemu', spec, context, image)
      : creation(spec, context, image);
  },
  changes,
  limits: vmLimits,
  rootStorage: (config) => storageOfVolume(rootDrive(config)?.volid),
  fixedAddresses: (config) => vmInterfacesOf(config).flatMap(fixedOf),
  seenAddresses,
  spec: foundVmSpec,
  calls: qemuCalls,
};

function cannot(spec: InstanceSpec): string[] {
  const { security, volumes, assigned, lxcKeys, resources } = spec;
  const { sshKeys, features } = clusterOf(spec);
  const { balloonMib, kvm, cpuType } = vmOf(spec);
  const faults: readonly (readonly [isAsked: boolean, words: string])[] = [
    [spec.network === 'host', 'network "host": a virtual machine has interfaces of its own, or none'],
    [spec.command.length > 0, 'command: a virtual machine starts what is on its disk'],
    [Object.keys(spec.env).length > 0, 'env: nothing hands it to a virtual machine'],
    [spec.user !== '', 'user: a virtual machine has users of its own; see vm.cloudInit'],
    [spec.workingDir !== '', 'workingDir: nothing hands it to a virtual machine'],
    [spec.devices.length > 0, 'devices: only root@pam may give them to a virtual machine'],
    [security.privileged, 'security.privileged: a virtual machine is a machine of its own'],
    [security.nesting, 'security.nesting: guests run inside where vm.cpuType is "host"'],
    [security.ownIdRange, 'security.ownIdRange: a virtual machine has ids of its own'],
    [security.addCapabilities.length > 0, 'security.addCapabilities: it has all of its own'],
    [security.dropCapabilities.length > 0, 'security.dropCapabilities: it has all of its own'],
    [Object.keys(lxcKeys).length > 0, 'lxc: keys of containers'],
    [sshKeys.length > 0, 'cluster.sshKeys: they are for containers; see vm.cloudInit'],
    [
      features.keyctl || features.fuse || features.mount.length > 0,
      'cluster.features: they are for containers',
    ],
    [assigned.ports.length > 0 || spec.ports.length > 0, 'ports: its nodes forward none'],
    [spec.dns.options.length > 0, 'dns.options: only servers and search domains can be set'],
    [volumes.length > dataDisksMax, `volumes: at most ${dataDisksMax}`],
    [
      resources.memoryMib > 0 && balloonMib > resources.memoryMib,
      'vm.balloon: it is more than resources.memory',
    ],
    [spec.cluster?.clone === 'linked' && !isTemplate(spec.image), cannotLink],
    [!kvm && cpuType === 'host', 'vm.cpuType "host" where vm.kvm is off: what is emulated is another one'],
    [/^proxmox:[^:]+:vztmpl\//.test(spec.image), 'image: it is a template of containers'],
  ];
  return [
    ...faults.filter(([isAsked]) => isAsked).map(([, words]) => words),
    ...volumes.filter(({ sizeMib }) => sizeMib === 0).map(({ name }) => `volume ${name}: it needs a size`),
    ...volumes.filter(({ keep }) => keep).map(({ name }) => `volume ${name}: keep: it goes with its guest`),
    ...cannotAttach(assigned.attachments),
  ];
}

type Volume = Exclude<MakeContext['image'], CopiedGuest>;

function creation(spec: InstanceSpec, context: MakeContext, image: Volume): GuestCall {
  const { storageOf, mark, vmid, node } = context;
  const { disk, bios, tpm } = vmOf(spec);
  const { pool, tags } = clusterOf(spec);
  const storage = storageOf(spec.rootPool);
  const root = `${disk.bus}0`;
  const isEmpty = image.kind === 'iso';
  const iso = disk.bus === 'ide' ? 'ide1' : 'ide0';
  const free = freeDataKeys({});
  const more: Record<string, Scalar> = {
    ...newOptions(spec),
    [root]: newDisk(
      spec,
      storage,
      context,
      isEmpty ? { gib: gibOf(spec.resources.diskMib || emptyDiskMib) } : { importFrom: image.volid },
    ),
    ...(isEmpty && { [iso]: `${image.volid},media=cdrom` }),
    boot: isEmpty ? `order=${root};${iso}` : `order=${root}`,
    ...newCloudInit(spec, storage),
    ...(bios === 'ovmf' && { efidisk0: newFirmware(storage, context) }),
    ...(tpm && { tpmstate0: newTpm(storage, context) }),
    ...Object.fromEntries(
      spec.assigned.attachments.map((each, place) => [`net${place}`, newVmInterface(each)]),
    ),
    ...Object.fromEntries(
      spec.volumes.map((claim) => [free.next().value, newDataDisk(spec, claim, context)]),
    ),
  };
  return guestCall('POST /nodes/{node}/qemu', {
    node,
    vmid,
    name: spec.displayName,
    scsihw: 'virtio-scsi-single',
    tags: [...tags, ...tagsOfMark(mark)].join(';'),
    description: mark.line,
    ...(pool !== '' && { pool }),
    ...more,
  });
}

/** Without secure boot: the keys for it are in few images. */
function newFirmware(storage: string, context: SpecContext): string {
  return `${storage}:1,efitype=4m${formatPart(storage, context)}`;
}

/** Before 9.1 its state is raw and nothing else, so that in a directory nothing takes snapshots of it. */
function newTpm(storage: string, context: SpecContext): string {
  const { major, minor } = context.version;
  const hasChoice = major > 9 || (major === 9 && minor >= 1);
  return `${storage}:1,version=v2.0${hasChoice ? formatPart(storage, context) : ''}`;
}

function formatPart(storage: string, { diskFormat }: SpecContext): string {
  const format = diskFormat?.(storage) ?? '';
  return format === '' ? '' : `,format=${format}`;
}

function changes(spec: InstanceSpec, config: Configuration, context: SpecContext): GuestChanges {
  const { cloudInit, tpm } = vmOf(spec);
  const parts = [
    optionChanges(spec, config),
    firmwareChanges(spec, config, context),
    diskChanges(spec, config, context),
    cloudInitChanges(spec, config, context),
    vmInterfaceChanges(config, spec.assigned.attachments, cloudInit !== undefined),
  ];
  const gone = parts.flatMap(({ unset }) => unset);
  // What protects it from losing a drive has to be gone before.
  const later = gone.includes('protection') ? gone.filter(isDriveKey) : [];
  return {
    set: Object.assign({}, ...parts.map(({ set }) => set)) as Record<string, unknown>,
    unset: gone.filter((key) => !later.includes(key)),
    ...(later.length > 0 && { again: true }),
    grow: diskGrowth(spec, config),
    refused: [
      ...diskRefusals(spec, config, context),
      ...(!tpm && config['tpmstate0'] !== undefined ? ['its TPM may hold keys, and stays'] : []),
    ],
  };
}

const isDriveKey = (key: string): boolean => /^(?:ide|sata|scsi|virtio)\d+$/.test(key);

/** What firmware keeps stays where it is not needed any more. */
function firmwareChanges(spec: InstanceSpec, config: Configuration, context: SpecContext): Change {
  const { bios, tpm } = vmOf(spec);
  const storage = storageOfVolume(rootDrive(config)?.volid) || context.storageOf(spec.rootPool);
  return {
    set: {
      ...(bios === 'ovmf' && config['efidisk0'] === undefined && { efidisk0: newFirmware(storage, context) }),
      ...(tpm && config['tpmstate0'] === undefined && { tpmstate0: newTpm(storage, context) }),
    },
    unset: [],
  };
}

/** Of the guest agent's answer, which is wrapped once more. */
function seenAddresses(answer: unknown): string[] {
  const result = (answer as { readonly result?: unknown } | null)?.result;
  if (!Array.isArray(result)) return [];
  return result
    .flatMap((each: { readonly 'ip-addresses'?: unknown } | null) => each?.['ip-addresses'] ?? [])
    .map((each: { readonly 'ip-address'?: unknown } | null) => textOf(each?.['ip-address']))
    .map((text) => text.split(/[/%]/)[0] ?? '')
    .filter(isAddressOutside);
}
