/** What cloud-init finds on the drive that Proxmox makes: user, network and meta data as text. */
import { createHash } from 'node:crypto';
import { parseList, parseParts } from './guest-property.ts';

type Config = Readonly<Record<string, string>>;

export function cloudInitText(config: Config, type: 'user' | 'network' | 'meta'): string {
  if (type === 'user') return userData(config);
  if (type === 'network') return networkData(config);
  const instance = createHash('sha1')
    .update(userData(config) + networkData(config))
    .digest('hex');
  return `instance-id: ${instance}\n`;
}

function userData(config: Config): string {
  const name = config['name'] ?? 'VM';
  const lines = ['#cloud-config', `hostname: ${name}`, 'manage_etc_hosts: true'];
  if (config['searchdomain'] !== undefined) lines.push(`fqdn: ${name}.${config['searchdomain']}`);
  if (config['ciuser'] !== undefined) lines.push(`user: ${config['ciuser']}`);
  if (config['cipassword'] !== undefined) lines.push(`password: ${passwordHash(config['cipassword'])}`);
  const keys = decodeURIComponent(config['sshkeys'] ?? '').split('\n');
  const given = keys.map((key) => key.trim()).filter((key) => key !== '');
  if (given.length > 0) lines.push('ssh_authorized_keys:', ...given.map((key) => `  - ${key}`));
  lines.push('chpasswd:', '  expire: False');
  if (config['ciuser'] !== 'root') lines.push('users:', '  - default');
  if (config['ciupgrade'] !== '0') lines.push('package_upgrade: true');
  return `${lines.join('\n')}\n`;
}

const passwordHash = (password: string): string =>
  `$5$${createHash('sha256').update(password).digest('base64url')}`;

function networkData(config: Config): string {
  const lines = ['version: 1', 'config:'];
  const nets = Object.keys(config).filter((key) => /^net\d+$/.test(key));
  for (const net of nets.sort()) lines.push(...interfaceLines(config, net.slice(3)));
  if (config['nameserver'] !== undefined || config['searchdomain'] !== undefined) {
    lines.push('    - type: nameserver', '      address:');
    lines.push(...parseList(config['nameserver'] ?? '').map((address) => `      - '${address}'`));
    lines.push(
      '      search:',
      ...parseList(config['searchdomain'] ?? '').map((domain) => `      - '${domain}'`),
    );
  }
  return `${lines.join('\n')}\n`;
}

function interfaceLines(config: Config, index: string): string[] {
  const mac = [...parseParts(config[`net${index}`] ?? '', 'model').values()][0] ?? '';
  const lines = [
    '    - type: physical',
    `      name: eth${index}`,
    `      mac_address: '${mac.toLowerCase()}'`,
  ];
  const ip = parseParts(config[`ipconfig${index}`] ?? '', 'ip');
  const subnets = [...subnetLines(ip, 'ip', 'gw', 'dhcp4'), ...subnetLines(ip, 'ip6', 'gw6', 'dhcp6')];
  return subnets.length === 0 ? lines : [...lines, '      subnets:', ...subnets];
}

function subnetLines(ip: Map<string, string>, key: string, gateway: string, dhcp: string): string[] {
  const address = ip.get(key);
  if (address === undefined) return [];
  if (address === 'dhcp') return [`      - type: ${dhcp}`];
  if (address === 'auto') return ['      - type: ipv6_slaac'];
  const lines = [`      - type: static${key === 'ip6' ? '6' : ''}`, `        address: '${address}'`];
  const via = ip.get(gateway);
  return via === undefined ? lines : [...lines, `        gateway: '${via}'`];
}
