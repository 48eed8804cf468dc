/** The configuration of a container as Proxmox keeps it: what it adds, sorts and waits with. */
import { formatParts, normaliseTags, parseParts } from './guest-property.ts';

/** Numbers in answers; everything else stays text, cpulimit too. */
const integers = new Set([
  'memory',
  'swap',
  'cores',
  'unprivileged',
  'onboot',
  'protection',
  'template',
  'tty',
]);
for (const key of ['console', 'debug', 'cpuunits', 'snaptime', 'ha-managed']) integers.add(key);

/** What takes effect at once on a running container; anything else waits for the next start. */
const pluggedAtOnce = new Set([
  'memory',
  'swap',
  'cores',
  'cpulimit',
  'cpuunits',
  'hostname',
  'onboot',
  'startup',
]);
for (const key of ['description', 'protection', 'hookscript', 'tags', 'lock']) pluggedAtOnce.add(key);

export const isLxcVolume = (key: string): boolean => /^(rootfs|mp\d+|unused\d+)$/.test(key);

export const waitsForStart = (key: string): boolean =>
  !pluggedAtOnce.has(key) && !/^(net|mp|unused)\d+$/.test(key);

/** The stored form of a value that is no volume. `newMac` is asked for every interface that has no address. */
export function normaliseLxcValue(key: string, value: string, newMac: () => string): string {
  if (key === 'tags') return normaliseTags(value, false);
  if (/^net\d+$/.test(key)) return normaliseNet(value, newMac);
  return value;
}

function normaliseNet(value: string, newMac: () => string): string {
  const parts = parseParts(value, 'name');
  parts.set('hwaddr', (parts.get('hwaddr') ?? newMac()).toUpperCase());
  if (!parts.has('type')) parts.set('type', 'veth');
  return formatParts(parts, '', ['name']);
}

export const formatMountPoint = (parts: Map<string, string>): string => formatParts(parts, 'volume', ['mp']);

/** As GET config answers a value. */
export function renderLxcValue(key: string, value: string): string | number {
  if (integers.has(key)) return Number(value);
  return key === 'description' ? `${value}\n` : value;
}

/** The interface's link-local address, as the kernel makes it of the hardware address. */
export function linkLocal(mac: string): string {
  const bytes = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  bytes[0] = (bytes[0] ?? 0) ^ 2;
  const [a, b, c, d, e, f] = bytes.map((byte) => byte.toString(16).padStart(2, '0'));
  const groups = [`${a}${b}`, `${c}ff`, `fe${d}`, `${e}${f}`];
  return `fe80::${groups.map((group) => group.replace(/^0+(?=.)/, '')).join(':')}`;
}
