/** What concerns the whole cluster: version, status, resources, options, log, next id. */
import { owns } from './caller.ts';
import { parameterFailure } from './failure.ts';
import { seenOnline, viewOf } from './node-model.ts';
import { resourceRows } from './resource-rows.ts';
import type { Call, Routes } from './route.ts';
import { allowedTags, registeredTags } from './tag-rights.ts';
import { endedRow } from './tasks.ts';
import type { World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

const repositories: Readonly<Record<string, string>> = { '8.4.21': '2606ac85', '9.2.11': '14a22df3' };

export const versionRow = ({ version }: World): Row => ({
  version,
  release: version.split('.').slice(0, 2).join('.'),
  repoid: repositories[version],
});

/** One node alone is no cluster, and has no number. */
function clusterStatus({ world, endpoint }: Call): Row[] {
  const { nodes: seen } = viewOf(world.nodes, endpoint);
  const single = seen.length === 1;
  const rows: Row[] = seen.map((node) => ({
    id: `node/${node.name}`,
    name: node.name,
    type: 'node',
    level: '',
    nodeid: single ? 0 : node.id,
    ip: node.ip,
    local: node.name === endpoint ? 1 : 0,
    online: node.name === endpoint || seenOnline(node, world.clock.nowMs()) ? 1 : 0,
  }));
  if (single) return rows;
  const { clusterName: name, nodes } = world;
  const quorate = world.seenQuorate() ? 1 : 0;
  return [{ id: 'cluster', type: 'cluster', name, nodes: nodes.size, quorate, version: nodes.size }, ...rows];
}

function nextId({ world, parameters }: Call): string {
  const { vmid } = parameters;
  if (vmid === undefined) {
    let free = 100;
    while (world.guests.has(free)) free += 1;
    return String(free);
  }
  if (world.guests.has(Number(vmid))) throw parameterFailure({ vmid: `VM ${vmid} already exists` });
  return vmid;
}

function readOptions(call: Call): Row {
  const { world } = call;
  const {
    'tag-style': style,
    'registered-tags': registered,
    'user-tag-access': access,
    ...rest
  } = world.options;
  return {
    mac_prefix: 'BC:24:11',
    description: '',
    'allowed-tags': allowedTags(call),
    ...rest,
    ...(style === undefined ? {} : { 'tag-style': propertyObject(style) }),
    ...(registered === undefined ? {} : { 'registered-tags': registeredTags(world).sort() }),
    ...(access === undefined ? {} : { 'user-tag-access': tagAccess(access) }),
  };
}

function tagAccess(text: string): Row {
  const { 'user-allow-list': list, ...rest } = propertyObject(text);
  return typeof list === 'string' ? { ...rest, 'user-allow-list': list.split(';') } : rest;
}

const propertyObject = (text: string): Row =>
  Object.fromEntries(text.split(',').map((part) => part.split(/=(.*)/).slice(0, 2)) as [string, string][]);

async function writeOptions({ world, parameters }: Call): Promise<null> {
  await world.clusterLock('file-datacenter_cfg');
  const { delete: removed = '', ...set } = parameters;
  Object.assign(world.options, set);
  for (const name of removed.split(/[\s,;]+/)) delete world.options[name];
  return null;
}

function readLog({ world, parameters, caller, may }: Call): Row[] {
  const all = may('/', 'Sys.Syslog');
  const mine = world.log.filter(({ user }) => all || user === caller.user);
  return mine
    .slice(0, Number(parameters['max'] ?? 50))
    .map(({ uid, node, time, user, tag, pid, message }) => ({
      id: `${uid}:${node}`,
      uid,
      node,
      time,
      user,
      tag,
      pid,
      pri: 6,
      msg: message,
    }));
}

/** The last of every node, at most 25 of each; the rows are text where the saved list has text. */
function recentTasks({ world, caller, may }: Call): Row[] {
  const all = [...world.nodes.keys()].flatMap((node) => world.tasks.list(node).slice(0, 25));
  const visible = all.filter((task) => owns(caller, task) || may(`/nodes/${task.node}`, 'Sys.Audit'));
  visible.sort((a, b) => b.startTime - a.startTime);
  return visible.map((task) => {
    const { pid, pstart: _pstart, ...row } = endedRow(task);
    if (task.exitStatus !== undefined) return { ...row, saved: '1' };
    return { ...row, pid, ...(world.major >= 9 ? {} : { saved: '0' }) };
  });
}

const names = (text: string): Row[] => text.split(' ').map((name) => ({ name }));
const indexBefore9 = `acme backup backup-info ceph config firewall ha jobs log mapping metrics notifications nextid \
options replication resources status tasks sdn`;
const indexSince9 = `acme backup backup-info bulk-action ceph config firewall ha jobs log mapping metrics \
notifications nextid options qemu replication resources status tasks sdn`;

export const clusterRoutes: Routes = {
  'GET /version': ({ world }) => versionRow(world),
  'GET /cluster': ({ world }) => names(world.major >= 9 ? indexSince9 : indexBefore9),
  'GET /cluster/status': clusterStatus,
  'GET /cluster/resources': ({ world, caller, parameters, endpoint }) =>
    resourceRows(world, caller, parameters['type'], endpoint),
  'GET /cluster/nextid': nextId,
  'GET /cluster/options': readOptions,
  'PUT /cluster/options': writeOptions,
  'GET /cluster/log': readLog,
  'GET /cluster/tasks': recentTasks,
  'GET /cluster/backup': () => [],
  'GET /cluster/config/nodes': ({ world }) =>
    world.nodes.size === 1
      ? []
      : [...world.nodes.values()].map(({ name, id, ip }) => ({
          name,
          node: name,
          nodeid: String(id),
          ring0_addr: ip,
          quorum_votes: '1',
        })),
};
