/** Rows of cluster/resources: what was broadcast, with what the configuration says now. */
import type { Caller } from './caller.ts';
import { seenOnline, viewOf } from './node-model.ts';
import type { StorageDefinition } from './storage-model.ts';
import type { Guest, World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

const given = (fields: Readonly<Record<string, unknown>>): Row =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

export const poolOf = (world: World, vmid: number): string | undefined =>
  [...world.pools.values()].find(({ guests }) => guests.has(vmid))?.id;

/** Of the HA manager's own words: "started", "stopped", "migrate", … Undefined where HA has nothing to do. */
export function haStateOf(world: World, guest: Guest): string | undefined {
  const sid = `${guest.kind === 'lxc' ? 'ct' : 'vm'}:${guest.vmid}`;
  return world.ha.resources.get(sid)?.current;
}

export function guestRow(world: World, guest: Guest): Row {
  const { vmid, kind, node, config } = guest;
  const figures = world.broadcasts.guest(vmid);
  const known = {
    id: `${kind}/${vmid}`,
    vmid,
    type: kind,
    node,
    pool: poolOf(world, vmid),
    tags: config.tags,
    lock: config.lock,
    hastate: haStateOf(world, guest),
  };
  if (figures === undefined) return given({ ...known, status: 'unknown' });
  return given({
    ...known,
    status: figures.listed,
    name: figures.name,
    template: figures.template ? 1 : 0,
    uptime: figures.uptime,
    cpu: figures.cpu,
    maxcpu: figures.cpus,
    mem: figures.memoryBytes,
    maxmem: figures.maxMemoryBytes,
    disk: figures.diskBytes,
    maxdisk: figures.maxDiskBytes,
    netin: figures.netInBytes,
    netout: figures.netOutBytes,
    diskread: 0,
    diskwrite: 0,
    memhost: world.major >= 9 ? (kind === 'qemu' ? figures.memoryBytes : 0) : undefined,
  });
}

/** A pool's members tell neither of pool nor of tags. */
export function memberRow(world: World, guest: Guest): Row {
  const { pool: _pool, tags: _tags, lock: _lock, hastate: _hastate, ...row } = guestRow(world, guest);
  return row;
}

export function nodeFigures(world: World, name: string): Row {
  const node = world.nodes.get(name);
  const figures = world.broadcasts.node(name);
  if (node === undefined || figures === undefined) return {};
  return {
    cpu: figures.cpu,
    maxcpu: node.cpus,
    mem: figures.memoryBytes,
    maxmem: node.memoryBytes,
    disk: figures.diskBytes,
    maxdisk: node.diskBytes,
    uptime: figures.uptime,
  };
}

/** Without the right to see more there is only that it is there. */
export function nodeRow(world: World, name: string, caller: Caller): Row {
  const node = world.nodes.get(name);
  const online = node !== undefined && seenOnline(node, world.clock.nowMs());
  const bare = {
    id: `node/${name}`,
    node: name,
    type: 'node',
    level: '',
    status: online ? 'online' : 'offline',
  };
  const figures = nodeFigures(world, name);
  const isTold = Object.keys(figures).length > 0;
  const status = online && !isTold ? { status: 'unknown' } : {};
  const all = { ...bare, ...status, hastate: 'online', 'cgroup-mode': 1 };
  if (!world.access.may(caller, `/nodes/${name}`, 'Sys.Audit')) return all;
  if (online) return { ...all, ...figures };
  const { maxcpu, maxmem, maxdisk } = figures;
  return given({ ...all, maxcpu, maxmem, maxdisk });
}

export function storageRow(world: World, definition: StorageDefinition, node: string): Row {
  const { id } = definition;
  const figures = world.broadcasts.storage(node, id);
  const known = figures !== undefined;
  return given({
    id: `storage/${node}/${id}`,
    storage: id,
    type: 'storage',
    node,
    plugintype: definition.type,
    shared: definition.shared ? 1 : 0,
    content: definition.content.join(','),
    status: known ? 'available' : 'unknown',
    disk: known ? figures.usedBytes : undefined,
    maxdisk: known ? figures.totalBytes : undefined,
  });
}

function poolRow(world: World, id: string): Row {
  const members = [...(world.pools.get(id)?.guests ?? [])].map((vmid) => world.broadcasts.guest(vmid));
  const total = (of: (figures: NonNullable<(typeof members)[number]>) => number): number =>
    members.reduce((sum, figures) => sum + (figures === undefined ? 0 : of(figures)), 0);
  return given({
    id: `/pool/${id}`,
    type: 'pool',
    pool: id,
    cpu: total(({ cpu }) => cpu),
    maxcpu: total(({ cpus }) => cpus),
    mem: total(({ memoryBytes }) => memoryBytes),
    maxmem: total(({ maxMemoryBytes }) => maxMemoryBytes),
    uptime: Math.max(0, ...members.map((figures) => figures?.uptime ?? 0)),
  });
}

const byVmid = (a: Guest, b: Guest): number => a.vmid - b.vmid;

/** What the caller may see of a cluster; trimmed, never refused. */
export function resourceRows(
  world: World,
  caller: Caller,
  type: string | undefined,
  endpoint: string,
): Row[] {
  const seen = viewOf(world.nodes, endpoint);
  const names = seen.nodes.map(({ name }) => name);
  const wanted = (kind: string): boolean => type === undefined || type === kind;
  const may = (path: string, privilege: string): boolean => world.access.may(caller, path, privilege);
  const rows: Row[] = [];
  if (type === undefined) {
    for (const id of world.pools.keys()) if (may(`/pool/${id}`, 'Pool.Audit')) rows.push(poolRow(world, id));
  }
  const guests = wanted('vm') ? [...world.guests.values()].sort(byVmid) : [];
  for (const guest of guests.filter(({ vmid }) => seen.knows(vmid)))
    if (mayAudit(world, caller, guest.vmid)) rows.push(guestRow(world, guest));
  if (wanted('node')) for (const name of names) rows.push(nodeRow(world, name, caller));
  const storages = wanted('storage') ? [...world.storages.definitions.values()] : [];
  for (const definition of storages) {
    if (!may(`/storage/${definition.id}`, 'Datastore.Audit')) continue;
    const nodes = names.filter((node) => world.storages.isOn(definition, node));
    for (const node of nodes) rows.push(storageRow(world, definition, node));
  }
  if (wanted('sdn') && may('/sdn/zones/localnetwork', 'SDN.Audit')) rows.push(...networkRows(world, type));
  return rows;
}

/** A right on the pool is one on its guests. */
export function mayAudit(world: World, caller: Caller, vmid: number): boolean {
  const pool = poolOf(world, vmid);
  if (world.access.may(caller, `/vms/${vmid}`, 'VM.Audit')) return true;
  return pool !== undefined && world.access.may(caller, `/pool/${pool}`, 'VM.Audit');
}

/** From 9 on zones are networks, and no longer among those of type "sdn". */
function networkRows(world: World, type: string | undefined): Row[] {
  const nodes = [...world.nodes.keys()];
  const zone = 'localnetwork';
  if (world.major < 9) {
    return nodes.map((node) => ({ id: `sdn/${node}/${zone}`, type: 'sdn', node, sdn: zone, status: 'ok' }));
  }
  if (type === 'sdn') return [];
  return nodes.map((node) => ({
    id: `network/${node}/zone/${zone}`,
    type: 'network',
    node,
    network: zone,
    'network-type': 'zone',
    status: 'ok',
  }));
}
