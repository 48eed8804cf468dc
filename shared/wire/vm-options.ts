import { isDeepStrictEqual } from 'node:util';
import type {
  CloudInit as WireCloudInit,
  VmDisks as WireVmDisks,
  VmOptions as WireVmOptions,
} from '#shared/gen/drover/model/v1/model.ts';
import type { CloudInit, VmDisks, VmOptions } from '#shared/model.ts';
import { type Faults, checkRange, oneOf, show } from '#shared/wire/checks.ts';
import { checkPublicKeys } from '#shared/wire/public-keys.ts';

/** What a spec that says nothing of it gets. */
export const plainVmOptions: VmOptions = {
  cpuType: '',
  sockets: 0,
  cores: 0,
  balloonMib: 0,
  numa: false,
  kvm: true,
  bios: 'seabios',
  machine: '',
  tpm: false,
  agent: true,
  serial: false,
  display: '',
  osType: '',
  clone: 'full',
  disk: { bus: 'scsi', cache: '', discard: false, ssd: false, iothread: false },
};

/** What each may be; where the first is empty, the cluster or the image decides. */
export const vmChoices = {
  bios: ['seabios', 'ovmf'],
  display: [
    '',
    'cirrus',
    'none',
    'qxl',
    'qxl2',
    'qxl3',
    'qxl4',
    'serial0',
    'serial1',
    'serial2',
    'serial3',
    'std',
    'virtio',
    'virtio-gl',
    'vmware',
  ],
  osType: [
    '',
    'l26',
    'l24',
    'other',
    'solaris',
    'win11',
    'win10',
    'win8',
    'win7',
    'wvista',
    'wxp',
    'w2k8',
    'w2k3',
    'w2k',
  ],
  clone: ['full', 'linked'],
  bus: ['scsi', 'virtio', 'sata', 'ide'],
  cache: ['', 'none', 'writethrough', 'writeback', 'directsync', 'unsafe'],
} as const;

const most = { sockets: 4, cores: 8192, balloonMib: 2 ** 31 } as const;
const cpuType = { pattern: /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, wanted: 'a model such as "host"' };
const machine = { pattern: /^[a-z0-9][a-z0-9.+-]{0,39}$/, wanted: 'a kind of machine such as "q35"' };
const login = { pattern: /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/, wanted: 'a login name such as "admin"' };

/** Undefined where nothing is said that is not so by itself. */
export function checkVmOptions(
  message: Partial<WireVmOptions> | undefined,
  field: string,
  faults: Faults,
): VmOptions | undefined {
  if (message === undefined) return undefined;
  const range = (value: number | undefined, key: keyof typeof most, name: string): number =>
    checkRange(value ?? 0, [0, most[key]], `${field}.${name}`, faults);
  const cloudInit = message.cloudInit && checkCloudInit(message.cloudInit, `${field}.cloudInit`, faults);
  const options: VmOptions = {
    cpuType: matching(cpuType, message.cpuType, `${field}.cpuType`, faults),
    sockets: range(message.sockets, 'sockets', 'sockets'),
    cores: range(message.cores, 'cores', 'cores'),
    balloonMib: range(message.balloonMib, 'balloonMib', 'balloon'),
    numa: message.numa ?? false,
    kvm: message.kvm ?? true,
    bios: oneOf(vmChoices.bios, message.bios, `${field}.bios`, faults),
    machine: matching(machine, message.machine, `${field}.machine`, faults),
    tpm: message.tpm ?? false,
    agent: message.agent ?? true,
    serial: message.serial ?? false,
    display: oneOf(vmChoices.display, message.display, `${field}.display`, faults),
    osType: oneOf(vmChoices.osType, message.osType, `${field}.osType`, faults),
    clone: oneOf(vmChoices.clone, message.clone, `${field}.clone`, faults),
    disk: checkDisks(message.disk, `${field}.disk`, faults),
    ...(cloudInit && { cloudInit }),
  };
  return isDeepStrictEqual(options, plainVmOptions) ? undefined : options;
}

function checkCloudInit(message: Partial<WireCloudInit>, field: string, faults: Faults): CloudInit {
  return {
    user: matching(login, message.user, `${field}.user`, faults),
    sshKeys: checkPublicKeys(message.sshKeys ?? [], `${field}.sshKeys`, faults),
  };
}

function checkDisks(message: Partial<WireVmDisks> | undefined, field: string, faults: Faults): VmDisks {
  const disks: VmDisks = {
    bus: oneOf(vmChoices.bus, message?.bus, `${field}.bus`, faults),
    cache: oneOf(vmChoices.cache, message?.cache, `${field}.cache`, faults),
    discard: message?.discard ?? false,
    ssd: message?.ssd ?? false,
    iothread: message?.iothread ?? false,
  };
  if (disks.ssd && disks.bus === 'virtio')
    faults.add(`${field}.ssd`, 'cannot be told to the guest on virtio; wanted bus "scsi", "sata" or "ide"');
  if (disks.iothread && (disks.bus === 'sata' || disks.bus === 'ide'))
    faults.add(`${field}.iothread`, `is not for bus "${disks.bus}"; wanted "scsi" or "virtio"`);
  return disks;
}

/** Empty is allowed. */
function matching(
  { pattern, wanted }: { readonly pattern: RegExp; readonly wanted: string },
  text: string | undefined,
  field: string,
  faults: Faults,
): string {
  if (text === undefined || text === '') return '';
  if (!pattern.test(text)) faults.add(field, `${show(text)} is not ${wanted}`);
  return text;
}

export const formatVmOptions = (options: VmOptions): WireVmOptions => ({
  ...options,
  cloudInit: options.cloudInit && {
    user: options.cloudInit.user,
    sshKeys: [...options.cloudInit.sshKeys],
  },
  disk: { ...options.disk },
});
