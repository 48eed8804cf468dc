/** What is read of containers: lists, status, interfaces, graphs, consoles. */
import { mayAudit } from './resource-rows.ts';
import { guestFigures } from './guest-figures.ts';
import { consolePort, consoleTicket, graph } from './guest-console.ts';
import { guestOf, sidOf } from './guest-life.ts';
import { parseParts } from './guest-property.ts';
import { linkLocal } from './lxc-config.ts';
import { createContainer } from './lxc-create.ts';
import type { Call, Routes } from './route.ts';
import type { Guest, World } from './world.ts';

/** A row of GET /nodes/{node}/lxc. */
function row(guest: Guest, world: World): Record<string, unknown> {
  const figures = guestFigures(guest, world);
  const answer: Record<string, unknown> = {
    vmid: guest.vmid,
    type: 'lxc',
    name: figures.name,
    status: figures.status,
    cpus: figures.cpus,
    cpu: figures.cpu,
    mem: figures.memoryBytes,
    maxmem: figures.maxMemoryBytes,
    swap: 0,
    maxswap: figures.maxSwapBytes,
    disk: figures.diskBytes,
    maxdisk: figures.maxDiskBytes,
    netin: figures.netInBytes,
    netout: figures.netOutBytes,
    diskread: 0,
    diskwrite: 0,
    uptime: figures.uptime,
  };
  if (figures.pid !== undefined) answer['pid'] = figures.pid;
  if (figures.tags !== undefined) answer['tags'] = figures.tags;
  if (figures.lock !== undefined) answer['lock'] = figures.lock;
  if (figures.template) answer['template'] = 1;
  if (world.major > 8 && figures.status === 'running') {
    for (const what of ['cpu', 'io', 'memory']) {
      answer[`pressure${what}some`] = null;
      answer[`pressure${what}full`] = null;
    }
  }
  return answer;
}

/** Whether and how a guest is under HA, as its status tells. */
export function haAnswer(guest: Guest, world: World): Record<string, unknown> {
  const resource = world.ha.resources.get(sidOf(guest));
  if (resource === undefined || resource.state === 'ignored') return { managed: 0 };
  const { current: state, fields } = resource;
  return { managed: 1, state, ...(world.major === 8 ? { group: fields['group'] ?? null } : {}) };
}

function interfaces(call: Call): unknown {
  const guest = call.world.guestOn(call.node, 'lxc', call.parameters['vmid'] ?? '');
  if (guest?.status !== 'running') return null;
  const nets = Object.keys(guest.config).filter((key) => /^net\d+$/.test(key));
  const loopback = interfaceRow('lo', '00:00:00:00:00:00', ['127.0.0.1/8', '::1/128']);
  return [loopback, ...nets.sort().map((key) => netRow(call.world, guest, key))];
}

/** A lease is there two virtual seconds after the start. */
function netRow(world: World, guest: Guest, key: string): unknown {
  const parts = parseParts(guest.config[key] ?? '', 'name');
  const mac = (parts.get('hwaddr') ?? '').toLowerCase();
  const upMs = world.clock.nowMs() - (guest.startedAtMs ?? 0);
  const ip = parts.get('ip');
  const addresses: string[] = [];
  if (ip === 'dhcp' && upMs >= 2000 * world.pace) addresses.push(`${leaseOf(guest, key)}/24`);
  if (ip !== undefined && ip.includes('/')) addresses.push(ip);
  const ip6 = parts.get('ip6');
  if (ip6 !== undefined && ip6.includes('/')) addresses.push(ip6);
  return interfaceRow(parts.get('name') ?? key, mac, [
    ...addresses,
    ...guest.inside.addresses,
    `${linkLocal(mac)}/64`,
  ]);
}

/** What DHCP gives: always the same for a guest. */
const leaseOf = ({ vmid }: Guest, key: string): string =>
  `10.99.${100 + (Math.floor(vmid / 200) % 100) + Number(key.slice(3))}.${10 + (vmid % 200)}`;

function interfaceRow(name: string, mac: string, cidrs: readonly string[]): Record<string, unknown> {
  const inet = cidrs.find((cidr) => !cidr.includes(':'));
  const inet6 = cidrs.find((cidr) => cidr.includes(':'));
  return {
    name,
    hwaddr: mac,
    'hardware-address': mac,
    ...(inet === undefined ? {} : { inet }),
    ...(inet6 === undefined ? {} : { inet6 }),
    'ip-addresses': cidrs.map((cidr) => {
      const [address, prefix] = cidr.split('/');
      return {
        'ip-address': address,
        'ip-address-type': cidr.includes(':') ? 'inet6' : 'inet',
        prefix,
      };
    }),
  };
}

const folders =
  'config pending status vncproxy termproxy vncwebsocket spiceproxy migrate clone rrd rrddata firewall';
const subdirs = [...folders.split(' '), 'snapshot', 'resize', 'interfaces'];

const path = '/nodes/{node}/lxc';
export const lxcReadRoutes: Routes = {
  [`GET ${path}`]: ({ world, node, caller }) =>
    [...world.guests.values()]
      .filter((guest) => guest.kind === 'lxc' && guest.node === node && mayAudit(world, caller, guest.vmid))
      .map((guest) => row(guest, world)),
  [`POST ${path}`]: createContainer,
  [`GET ${path}/{vmid}`]: (call) => {
    guestOf(call, 'lxc');
    return subdirs.map((subdir) => ({ subdir }));
  },
  [`GET ${path}/{vmid}/status/current`]: (call) => {
    const guest = guestOf(call, 'lxc');
    return { ...row(guest, call.world), ha: haAnswer(guest, call.world) };
  },
  [`GET ${path}/{vmid}/interfaces`]: interfaces,
  [`GET ${path}/{vmid}/rrddata`]: (call) => graph(call, 'lxc'),
  [`POST ${path}/{vmid}/vncproxy`]: (call) => consoleTicket(call, 'lxc', 'vncproxy'),
  [`POST ${path}/{vmid}/termproxy`]: (call) => consoleTicket(call, 'lxc', 'termproxy'),
  [`GET ${path}/{vmid}/vncwebsocket`]: (call) => consolePort(call, 'lxc'),
};
