/** The configuration of a virtual machine as Proxmox keeps it. */
import { formatParts, normaliseTags, parseParts, type Parts } from './guest-property.ts';

const integers = new Set(['cores', 'sockets', 'vcpus', 'kvm', 'onboot', 'protection', 'template', 'balloon']);
for (const key of ['numa', 'acpi', 'autostart', 'tablet', 'freeze', 'ciupgrade', 'cpuunits', 'shares'])
  integers.add(key);
for (const key of ['localtime', 'reboot', 'tdf', 'snaptime', 'migrate_downtime']) integers.add(key);

const pluggedAtOnce = new Set([
  'lock',
  'name',
  'onboot',
  'shares',
  'startup',
  'description',
  'protection',
  'tags',
]);
for (const key of ['hookscript', 'vmstatestorage', 'cpulimit', 'cpuunits', 'affinity'])
  pluggedAtOnce.add(key);

export const cloudInitKeys = [
  'cicustom',
  'cipassword',
  'citype',
  'ciuser',
  'nameserver',
  'searchdomain',
  'sshkeys',
];

export const isDrive = (key: string): boolean => /^(ide|sata|scsi|virtio|efidisk|tpmstate)\d+$/.test(key);
export const isUnused = (key: string): boolean => /^unused\d+$/.test(key);
export const isCloudInitKey = (key: string): boolean =>
  cloudInitKeys.includes(key) || key === 'ciupgrade' || /^ipconfig\d+$/.test(key);
/** Devices that are plugged in and out of a running machine, if its system plays along. */
export const isDevice = (key: string): boolean => /^(net|scsi|virtio)\d+$/.test(key);

/**
 * Waits for the next start: all that is neither a matter of the host alone nor a device. What cloud-init is
 * told is written at once, for the guest to read when it starts.
 */
export const waitsForStart = (key: string): boolean =>
  !pluggedAtOnce.has(key) && !isDevice(key) && !isUnused(key) && !isCloudInitKey(key);

/** What a drive that runs is not given, nor rid of. */
const drivePartsThatWait = [
  'aio',
  'cache',
  'discard',
  'iothread',
  'queues',
  'ro',
  'ssd',
  'product',
  'vendor',
];
/** What makes an interface another device. */
const netPartsOfADevice = ['queues', 'mtu'];

const differs = (keys: readonly string[], one: Parts, other: Parts): boolean =>
  keys.some((key) => one.get(key) !== other.get(key));

/** How a device that runs takes a new value: at the next start, as another device, or as it is. */
export function howChanged(key: string, before: string, next: string): 'waits' | 'replaced' | 'at-once' {
  if (before.split(',')[0] !== next.split(',')[0]) return 'replaced';
  const [one, other] = [parseParts(before, ''), parseParts(next, '')];
  if (key.startsWith('net')) return differs(netPartsOfADevice, one, other) ? 'replaced' : 'at-once';
  return differs(drivePartsThatWait, one, other) ? 'waits' : 'at-once';
}

const models = new Set(['virtio', 'e1000', 'e1000e', 'rtl8139', 'vmxnet3', 'i82551', 'i82557b', 'i82559er']);
for (const model of ['ne2k_isa', 'ne2k_pci', 'pcnet', 'e1000-82540em', 'e1000-82544gc', 'e1000-82545em'])
  models.add(model);

/** `virtio,bridge=vmbr0` → `virtio=BC:24:…,bridge=vmbr0`. */
export function normaliseQemuNet(value: string, newMac: () => string): string {
  const parts = parseParts(value, 'model');
  const named = [...parts.keys()].find((key) => models.has(key));
  const model = named ?? parts.get('model') ?? 'virtio';
  const mac = (named === undefined ? parts.get('macaddr') : parts.get(named)) ?? newMac();
  for (const key of [model, 'model', 'macaddr']) parts.delete(key);
  parts.set(model, mac.toUpperCase());
  return formatParts(parts, '', [model]);
}

export function normaliseQemuValue(
  key: string,
  value: string,
  caseKept: boolean,
  newMac: () => string,
): string {
  if (key === 'tags') return normaliseTags(value, caseKept);
  if (/^net\d+$/.test(key)) return normaliseQemuNet(value, newMac);
  return value;
}

/** Windows stays on the version of the machine that it was installed on; others take the newest. */
export function pinnedMachine(major: number, config: Readonly<Record<string, string>>): string | undefined {
  const [type = '', ...rest] = (config['machine'] ?? '').split(',');
  if (config['ostype']?.startsWith('w') !== true || !/^(?:|pc|q35)$/.test(type)) return undefined;
  const version = major === 8 ? '9.2+pve1' : '10.0+pve1';
  return [`pc-${type === 'q35' ? 'q35' : 'i440fx'}-${version}`, ...rest].join(',');
}

export const formatDrive = (parts: Parts): string => formatParts(parts, 'file');

/** As GET config answers a value: memory is text, a password is never shown. */
export function renderQemuValue(key: string, value: string): string | number {
  if (key === 'cipassword') return '**********';
  return integers.has(key) ? Number(value) : value;
}

/** The order Proxmox gives a new machine: its first disk, its first disc drive, its first interface. */
export function defaultBoot(config: Readonly<Record<string, string>>): string {
  const drives = Object.keys(config).filter(isDrive).sort();
  const disk = drives.find(
    (key) => /^(ide|sata|scsi|virtio)/.test(key) && !config[key]?.includes('media=cdrom'),
  );
  const disc = drives.find(
    (key) => config[key]?.includes('media=cdrom') && !config[key]?.includes('cloudinit'),
  );
  const net = Object.keys(config)
    .filter((key) => /^net\d+$/.test(key))
    .sort()[0];
  return `order=${[disk, disc, net].filter((key) => key !== undefined).join(';')}`;
}
