/** What a Proxmox server says of a value that does not fit a named format. Formats not listed take everything. */
import { isIP, isIPv4, isIPv6 } from 'node:net';

type Format = (value: string) => string | undefined;

const matches =
  (pattern: RegExp, fault: (value: string) => string): Format =>
  (value) =>
    pattern.test(value) ? undefined : fault(value);
const says = (text: string) => (): string => text;

const dnsLabel = '[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?';
const isCidr = (value: string, isAddress: (text: string) => boolean, max: number): boolean => {
  const [address = '', bits = '', ...more] = value.split('/');
  return more.length === 0 && isAddress(address) && /^\d{1,3}$/.test(bits) && Number(bits) <= max;
};
const isCidr4 = (value: string): boolean => isCidr(value, isIPv4, 32);
const isCidr6 = (value: string): boolean => isCidr(value, isIPv6, 128);

/** Beginnings of privileges; their whole list is the server's. */
const privilege = /^(Datastore|Group|Mapping|Permissions|Pool|Realm|SDN|Sys|User|VM)\.[A-Za-z.]+$/;
const unknownPrivileges: Readonly<Record<string, RegExp>> = {
  '8.4': /^VM\.Nope$/,
  '9.2': /^VM\.(Nope|Monitor)$/,
};

const formats: Readonly<Record<string, Format>> = {
  'pve-vmid': matches(/^[1-9][0-9]{2,8}$/, says('value does not look like a valid VM ID')),
  'pve-node': matches(
    /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/i,
    says('value does not look like a valid node name'),
  ),
  'pve-configid': matches(/^[a-z][a-z0-9_-]+$/i, (value) => `invalid configuration ID '${value}'`),
  'pve-storage-id': matches(
    /^[a-z][a-z0-9\-_.]*[a-z0-9]$/i,
    (value) => `storage ID '${value}' contains illegal characters`,
  ),
  'dns-name': matches(
    new RegExp(`^${dnsLabel}(?:\\.${dnsLabel})*$`),
    says('value does not look like a valid DNS name'),
  ),
  'pve-tag': matches(/^[a-z0-9_][a-z0-9_\-+.]*$/i, says('invalid characters in tag')),
  'pve-poolid': matches(
    /^[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+){0,2}$/,
    (value) => `pool name '${value}' contains invalid characters`,
  ),
  'pve-userid': matches(
    /^[^\s:/]{1,60}@[A-Za-z][A-Za-z0-9.\-_]+$/,
    (value) => `value '${value}' does not look like a valid user name`,
  ),
  'pve-groupid': matches(/^[A-Za-z0-9._-]+$/, (value) => `group name '${value}' contains invalid characters`),
  'pve-roleid': matches(/^[A-Za-z0-9._-]+$/, (value) => `role name '${value}' contains invalid characters`),
  'pve-task-status-type': matches(/^(ok|error|warning|unknown)$/i, (value) => `invalid status '${value}'`),
  'pve-ha-resource-or-vm-id': matches(
    /^([a-z]+:\S+|[1-9][0-9]{2,8})$/,
    says('value does not look like a valid ha resource id'),
  ),
  urlencoded: matches(
    /^(?:[-A-Za-z0-9_.!~*'()]|%[0-9A-Fa-f]{2})*$/,
    (value) => `invalid urlencoded string: ${value}`,
  ),
  'mac-addr': matches(
    /^[a-f0-9][02468ace](?::[a-f0-9]{2}){5}$/i,
    says('value does not look like a valid unicast MAC address'),
  ),
  'disk-size': matches(
    /^\d+(\.\d+)?[KMGT]?$/,
    (value) => `value does not look like a valid disk size: ${value}`,
  ),
  'pve-volume-id': matches(
    /^[a-z][a-z0-9\-_.]*[a-z0-9]:.+$/is,
    (value) => `unable to parse volume ID '${value}'`,
  ),
  ipv4: (value) => (isIPv4(value) ? undefined : 'value is not a valid IPv4 address'),
  ipv6: (value) => (isIPv6(value) ? undefined : 'value is not a valid IPv6 address'),
  ip: (value) => (isIP(value) > 0 ? undefined : 'value is not a valid IP address'),
  'pve-ipv4-config': (value) =>
    value === 'dhcp' || value === 'manual' || isCidr4(value)
      ? undefined
      : 'value does not look like a valid ipv4 network configuration',
  'pve-ipv6-config': (value) =>
    ['auto', 'dhcp', 'manual'].includes(value) || isCidr6(value)
      ? undefined
      : 'value does not look like a valid ipv6 network configuration',
  CIDR: (value) =>
    isCidr4(value) || isCidr6(value) ? undefined : 'value does not look like a valid CIDR network',
};

/** As the server splits lists: commas, semicolons, blanks and NULs. */
const splitList = (value: string): string[] => value.split(/[,;\s\0]+/).filter((one) => one !== '');

function privilegeFault(version: string, value: string): string | undefined {
  const isKnown = privilege.test(value) && unknownPrivileges[version]?.test(value) !== true;
  return isKnown ? undefined : `invalid privilege '${value}'`;
}

/** The server's own words, without a newline; undefined where the value fits. */
export function formatFault(version: string, format: string, value: string): string | undefined {
  if (format.endsWith('-list')) {
    const one = format.slice(0, -'-list'.length);
    for (const item of splitList(value)) {
      const fault = formatFault(version, one, item);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }
  if (format === 'pve-priv') return privilegeFault(version, value);
  return Object.hasOwn(formats, format) ? formats[format]?.(value) : undefined;
}
