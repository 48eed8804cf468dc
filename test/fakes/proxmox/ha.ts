/** cluster/ha: resources, groups before 9, rules from 9 on. */
import { createHash } from 'node:crypto';
import { ApiFailure, refusal } from './failure.ts';
import { parseList } from './guest-property.ts';
import { haOf, newService } from './ha-engine.ts';
import { blockingOn, companionsOf } from './ha-placement.ts';
import { currentStatus, managerStatus } from './ha-status.ts';
import type { Call, Routes } from './route.ts';
import type { HaResource, World } from './world.ts';

type Fields = Record<string, string>;

const digest = (value: unknown): string => createHash('sha1').update(JSON.stringify(value)).digest('hex');
const numbers = new Set([
  'max_restart',
  'max_relocate',
  'nofailback',
  'restricted',
  'strict',
  'disable',
  'failback',
]);
const shown = (fields: Readonly<Fields>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, numbers.has(key) ? Number(value) : value]),
  );

/** "7340" is the guest of that number, whatever it is. */
function sidOf({ world, parameters }: Call): string {
  const { sid = '' } = parameters;
  if (sid.includes(':')) return sid;
  const kind = world.guests.get(Number(sid))?.kind ?? (world.ha.resources.has(`vm:${sid}`) ? 'qemu' : 'lxc');
  return `${kind === 'lxc' ? 'ct' : 'vm'}:${sid}`;
}

function resourceRow(world: World, { sid, state, fields }: HaResource): Record<string, unknown> {
  const type = sid.slice(0, 2);
  const all = [...world.ha.resources.values()].map((one) => [one.sid, one.state, one.fields]);
  const { group, ...others } = fields;
  const known = areMigrated(world) || group === undefined ? others : fields;
  return { sid, type, state, ...shown(known), digest: digest(all) };
}

function needResource(call: Call): HaResource {
  const sid = sidOf(call);
  const resource = call.world.ha.resources.get(sid);
  if (resource === undefined) throw refusal(`no such resource '${sid}'`);
  return resource;
}

const lock = (call: Call, prefix: string): Promise<void> => call.world.clusterLock('domain-ha', prefix);

/** From 9 on, once there is none any more: not before all nodes have come to it. */
const areMigrated = ({ major, ha }: World): boolean => major > 8 && ha.groups.size === 0;

function refuseGroup({ world, parameters }: Call): void {
  if (areMigrated(world) && parameters['group'] !== undefined) {
    throw refusal("invalid parameter 'group': ha groups have been migrated to rules");
  }
}

const resourceFields = ['comment', 'group', 'max_restart', 'max_relocate', 'failback'];

async function addResource(call: Call): Promise<null> {
  const { world, parameters } = call;
  refuseGroup(call);
  const sid = sidOf(call);
  const guest = world.guests.get(Number(sid.slice(3)));
  if (guest === undefined || guest.kind !== (sid.startsWith('ct') ? 'lxc' : 'qemu')) {
    throw refusal(`resource '${sid}' does not exist in cluster`);
  }
  await lock(call, 'create resource failed: ');
  if (world.ha.resources.has(sid))
    throw refusal(`create resource failed: resource ID '${sid}' already defined`);
  const fields = pick(parameters, resourceFields);
  const state = parameters['state'] ?? 'started';
  world.ha.resources.set(sid, { sid, state, fields, current: 'queued' });
  haOf(world).changed();
  return null;
}

const pick = (parameters: Readonly<Fields>, names: readonly string[]): Fields =>
  Object.fromEntries(Object.entries(parameters).filter(([key]) => names.includes(key)));

async function changeResource(call: Call): Promise<null> {
  const { world, parameters } = call;
  refuseGroup(call);
  await lock(call, 'update resources config failed: ');
  const resource = needResource(call);
  resource.state = parameters['state'] ?? resource.state;
  Object.assign(resource.fields, pick(parameters, resourceFields));
  for (const key of parseList(parameters['delete'] ?? '')) delete resource.fields[key];
  haOf(world).changed();
  return null;
}

async function removeResource(call: Call): Promise<null> {
  const { world } = call;
  const sid = sidOf(call);
  if (!world.ha.resources.has(sid)) throw refusal(`cannot delete service '${sid}', not HA managed!`);
  await lock(call, 'delete resource failed: ');
  world.ha.resources.delete(sid);
  haOf(world).changed();
  return null;
}

function requestMove(call: Call, kind: 'migrate' | 'relocate'): unknown {
  const { world, parameters } = call;
  const { sid } = needResource(call);
  const { node = '' } = parameters;
  const engine = haOf(world);
  const guest = world.guests.get(Number(sid.slice(3)));
  const service = engine.services.get(sid) ?? newService(sid, guest?.node ?? '');
  engine.services.set(sid, service);
  // A node that is not there is taken as well, and nothing comes of it.
  if (world.nodes.has(node)) engine.order(sid, kind, node);
  engine.changed();
  const along = companionsOf(world, sid, 'positive');
  const blocking = blockingOn(world, sid, node).map((one) => ({ sid: one, cause: 'resource-affinity' }));
  if (world.major === 8) return null;
  return {
    'requested-node': node,
    sid,
    ...(along.length > 0 && { 'comigrated-resources': along }),
    ...(blocking.length > 0 && { 'blocking-resources': blocking }),
  };
}

/** Once they are gone they say so. */
const group =
  (verb: string, work: (call: Call) => unknown) =>
  (call: Call): unknown => {
    if (areMigrated(call.world)) throw refusal(`cannot ${verb}: ha groups have been migrated to rules`);
    return work(call);
  };

function groupRow(world: World, name: string): Record<string, unknown> {
  const fields = world.ha.groups.get(name);
  if (fields === undefined) throw refusal(`no such ha group '${name}'`);
  return { group: name, type: 'group', ...shown(fields), digest: digest([...world.ha.groups]) };
}

async function addGroup(call: Call): Promise<null> {
  const { world, parameters } = call;
  const { group: name = '' } = parameters;
  await lock(call, 'create ha group failed: ');
  if (world.ha.groups.has(name))
    throw refusal(`create ha group failed: ha group ID '${name}' already defined`);
  world.ha.groups.set(name, pick(parameters, ['comment', 'nodes', 'nofailback', 'restricted']));
  return null;
}

async function changeGroup(call: Call): Promise<null> {
  const { world, parameters } = call;
  await lock(call, 'update ha group failed: ');
  const fields = world.ha.groups.get(parameters['group'] ?? '');
  if (fields === undefined) throw refusal(`no such ha group '${parameters['group']}'`);
  Object.assign(fields, pick(parameters, ['comment', 'nodes', 'nofailback', 'restricted']));
  for (const key of parseList(parameters['delete'] ?? '')) delete fields[key];
  return null;
}

async function removeGroup(call: Call): Promise<null> {
  const { world, parameters } = call;
  const { group: name = '' } = parameters;
  await lock(call, 'delete ha group failed: ');
  const user = [...world.ha.resources.values()].find(({ fields }) => fields['group'] === name);
  if (user !== undefined) throw refusal(`delete ha group failed: ha group is used by service '${user.sid}'`);
  world.ha.groups.delete(name);
  return null;
}

function ruleRow(world: World, name: string, fields: Readonly<Fields>): Record<string, unknown> {
  const order = [...world.ha.rules.keys()].indexOf(name) + 1;
  return { rule: name, ...shown(fields), order, digest: digest([...world.ha.rules]) };
}

const ruleFields = ['type', 'comment', 'nodes', 'resources', 'strict', 'disable', 'affinity'];

async function addRule(call: Call): Promise<null> {
  const { world, parameters } = call;
  const { rule: name = '', resources = '' } = parameters;
  const failed = 'create ha rule failed: ';
  await lock(call, failed);
  if (world.ha.rules.has(name)) throw refusal(`${failed}HA rule '${name}' already defined`);
  checkRule(world, name, resources, parameters['type'] ?? '');
  world.ha.rules.set(name, pick(parameters, ruleFields));
  return null;
}

function checkRule(world: World, name: string, resources: string, type: string): void {
  const sids = parseList(resources);
  const strangers = sids.filter((sid) => !world.ha.resources.has(sid));
  const failed = 'create ha rule failed: ';
  if (strangers.length > 0)
    throw refusal(`${failed}cannot use unmanaged resource(s) ${strangers.join(', ')}.`);
  if (type !== 'resource-affinity' || sids.length > 1) return;
  const why = 'resources: rule is ineffective as there are less than two resources';
  throw new ApiFailure(500, `${failed}400 Rule '${name}' is invalid.\n${why}`);
}

async function changeRule(call: Call): Promise<null> {
  const { world, parameters } = call;
  await lock(call, 'update ha rules failed: ');
  const fields = world.ha.rules.get(parameters['rule'] ?? '');
  if (fields === undefined) throw refusal(`update ha rules failed: no such HA rule '${parameters['rule']}'`);
  Object.assign(fields, pick(parameters, ruleFields));
  for (const key of parseList(parameters['delete'] ?? '')) delete fields[key];
  return null;
}

async function removeRule(call: Call): Promise<null> {
  await lock(call, 'delete ha rule failed: ');
  call.world.ha.rules.delete(call.parameters['rule'] ?? '');
  return null;
}

function needRule(call: Call): unknown {
  const { rule = '' } = call.parameters;
  const fields = call.world.ha.rules.get(rule);
  if (fields === undefined) throw refusal(`no such ha rule '${rule}'`);
  return ruleRow(call.world, rule, fields);
}

const groupRoutes: Routes = {
  'GET /cluster/ha/groups': group('index groups', ({ world }) =>
    [...world.ha.groups.keys()].map((name) => groupRow(world, name)),
  ),
  'POST /cluster/ha/groups': group('create group', addGroup),
  'GET /cluster/ha/groups/{group}': group('read group', (call) =>
    groupRow(call.world, call.parameters['group'] ?? ''),
  ),
  'PUT /cluster/ha/groups/{group}': group('update group', changeGroup),
  'DELETE /cluster/ha/groups/{group}': group('delete group', removeGroup),
};

const ruleRoutes: Routes = {
  'GET /cluster/ha/rules': ({ world }) =>
    [...world.ha.rules].map(([name, fields]) => ruleRow(world, name, fields)),
  'POST /cluster/ha/rules': addRule,
  'GET /cluster/ha/rules/{rule}': needRule,
  'PUT /cluster/ha/rules/{rule}': changeRule,
  'DELETE /cluster/ha/rules/{rule}': removeRule,
};

export const haRoutes: Routes = {
  'GET /cluster/ha': ({ world }) =>
    ['status', 'resources', 'groups', ...(world.major > 8 ? ['rules'] : [])].map((id) => ({ id })),
  'GET /cluster/ha/status': () => [{ name: 'current' }, { name: 'manager_status' }],
  'GET /cluster/ha/status/current': currentStatus,
  'GET /cluster/ha/status/manager_status': managerStatus,
  'GET /cluster/ha/resources': ({ world }) =>
    [...world.ha.resources.values()].map((resource) => resourceRow(world, resource)),
  'POST /cluster/ha/resources': addResource,
  'GET /cluster/ha/resources/{sid}': (call) => resourceRow(call.world, needResource(call)),
  'PUT /cluster/ha/resources/{sid}': changeResource,
  'DELETE /cluster/ha/resources/{sid}': removeResource,
  'POST /cluster/ha/resources/{sid}/migrate': (call) => requestMove(call, 'migrate'),
  'POST /cluster/ha/resources/{sid}/relocate': (call) => requestMove(call, 'relocate'),
  ...groupRoutes,
  ...ruleRoutes,
};
