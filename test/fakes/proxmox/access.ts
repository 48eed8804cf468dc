/** Login, permissions, roles, ACLs, groups. */
import type { Caller } from './caller.ts';
import { ApiFailure, parameterFailure, refusal } from './failure.ts';
import { permissionFailure } from './permission.ts';
import type { AclEntry } from './access-model.ts';
import type { Call, Routes } from './route.ts';
import { isUsable } from './tickets.ts';
import type { Tickets } from './tickets.ts';
import type { World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

const list = (text = ''): string[] => text.split(/[\s,;]+/).filter((word) => word !== '');
const wrongLogin = (): ApiFailure => new ApiFailure(401, 'authentication failure');

/** What the person interface shows by; each group at its own path. */
const capabilityGroups: readonly (readonly [string, string, RegExp])[] = [
  ['vms', '/vms', /^VM\.|^Permissions\.Modify$/],
  ['access', '/access', /^(?:User|Group)\.|^Permissions\.Modify$/],
  ['storage', '/storage', /^Datastore\.|^Permissions\.Modify$/],
  ['nodes', '/nodes', /^Sys\.|^Permissions\.Modify$/],
  ['sdn', '/sdn', /^SDN\.|^Permissions\.Modify$/],
  ['dc', '/', /^Sys\.(?:Audit|Modify)$|^SDN\./],
  ['mapping', '/mapping', /^Mapping\.|^Permissions\.Modify$/],
];

function capabilities({ access }: World, caller: Caller): Row {
  const groups = capabilityGroups.map(([name, path, wanted]) => {
    const paths = [
      path,
      ...access.acl.map((entry) => entry.path).filter((one) => one.startsWith(`${path}/`)),
    ];
    const granted = paths.flatMap((one) => [...access.privileges(caller, one).keys()]);
    return [
      name,
      Object.fromEntries(granted.filter((one) => wanted.test(one)).map((one) => [one, 1])),
    ] as const;
  });
  return Object.fromEntries(groups);
}

function logIn(tickets: Tickets, { world, parameters }: Call): Row {
  const { username = '', realm, password = '', path, privs } = parameters;
  const user = realm === undefined ? username : `${username}@${realm}`;
  const known = world.access.users.get(user);
  const byTicket = tickets.verify(password) === user;
  const right = known !== undefined && (known.password === password || byTicket) && password !== '';
  if (!right || !isUsable(world, user)) throw wrongLogin();
  const caller = { user, authId: user };
  const head = {
    username: user,
    cap: capabilities(world, caller),
    ...(world.nodes.size > 1 ? { clustername: world.clusterName } : {}),
  };
  if (path !== undefined && privs !== undefined) {
    if (!list(privs).every((privilege) => world.access.may(caller, path, privilege))) throw wrongLogin();
    return head;
  }
  const { ticket, csrf } = tickets.issue(user);
  return { ...head, ticket, CSRFPreventionToken: csrf };
}

/** "alice@pve!t1" or "alice@pve". */
function callerOf(id: string): Caller {
  const [user = '', token] = id.split('!');
  return token === undefined ? { user, authId: user } : { user, token, authId: id };
}

const topPaths = ['/', '/access', '/access/groups', '/nodes', '/pool', '/sdn', '/storage', '/vms'];

function permissions(call: Call): Row {
  const { world, caller, parameters } = call;
  const { userid, path } = parameters;
  // Before 9 everybody could ask about anybody.
  if (world.major >= 9 && userid !== undefined && userid !== caller.authId && caller.user !== 'root@pam') {
    if (!call.may('/access', 'Sys.Audit') || userid === 'root@pam')
      throw permissionFailure('/access, Sys.Audit');
  }
  const whose = userid === undefined ? caller : callerOf(userid);
  const known = world.access.users.has(whose.user);
  const paths = path === undefined ? [...topPaths, ...world.access.acl.map((entry) => entry.path)] : [path];
  const rows = paths.flatMap((one) => {
    const granted = known ? [...world.access.privileges(whose, one)] : [];
    return granted.length === 0 && (path === undefined || !known)
      ? []
      : [[one, Object.fromEntries(granted.map(([name, down]) => [name, down ? 1 : 0]))]];
  });
  return Object.fromEntries(rows) as Row;
}

const roleRow = ({ privileges }: { readonly privileges: Set<string> }): Row =>
  Object.fromEntries([...privileges].map((privilege) => [privilege, 1]));

function checkPrivileges(world: World, privs = ''): string[] {
  const given = list(privs);
  const stray = given.find((privilege) => !world.access.allPrivileges.has(privilege));
  if (stray !== undefined)
    throw parameterFailure({ privs: `invalid format - invalid privilege '${stray}'\n` });
  return given;
}

async function createRole({ world, parameters }: Call): Promise<null> {
  const { roleid = '', privs } = parameters;
  const given = checkPrivileges(world, privs);
  await world.clusterLock('file-user_cfg', 'create role failed: ');
  if (world.access.roles.has(roleid)) throw refusal(`create role failed: role '${roleid}' already exists`);
  world.access.roles.set(roleid, { privileges: new Set(given), special: false });
  return null;
}

async function updateRole({ world, parameters }: Call): Promise<null> {
  const { roleid = '', privs, append } = parameters;
  const given = checkPrivileges(world, privs);
  await world.clusterLock('file-user_cfg', 'update role failed: ');
  const role = world.access.roles.get(roleid);
  if (role === undefined) throw refusal(`update role failed: role '${roleid}' does not exist`);
  if (role.special) throw refusal(`auto-generated role '${roleid}' cannot be modified`);
  if (append !== '1') role.privileges.clear();
  for (const privilege of given) role.privileges.add(privilege);
  return null;
}

async function deleteRole({ world, parameters }: Call): Promise<null> {
  const { roleid = '' } = parameters;
  await world.clusterLock('file-user_cfg', 'delete role failed: ');
  const role = world.access.roles.get(roleid);
  if (role === undefined) throw refusal(`delete role failed: role '${roleid}' does not exist`);
  if (role.special) throw refusal(`auto-generated role '${roleid}' cannot be deleted`);
  world.access.roles.delete(roleid);
  return null;
}

const aclPath =
  /^\/(?:access(?:\/(?:groups|realm)(?:\/[^/]+)?)?|mapping(?:\/[^/]+){0,2}|nodes(?:\/[^/]+)?|pool(?:\/[^/]+){0,3}|sdn(?:\/[^/]+){0,4}|storage(?:\/[^/]+)?|vms(?:\/\d+)?)?$/;

async function updateAcl({ world, parameters }: Call): Promise<null> {
  const { path = '', roles, users, groups, tokens, propagate = '1', delete: remove } = parameters;
  if (!aclPath.test(path)) throw parameterFailure({ path: `invalid ACL path '${path}'` });
  const prefix = 'ACL update failed: ';
  await world.clusterLock('file-user_cfg', prefix);
  const subjects = [
    ...list(users).map((subject) => ({ kind: 'user' as const, subject })),
    ...list(groups).map((subject) => ({ kind: 'group' as const, subject })),
    ...list(tokens).map((subject) => ({ kind: 'token' as const, subject })),
  ];
  for (const role of list(roles)) {
    if (!world.access.roles.has(role)) throw refusal(`${prefix}role '${role}' does not exist`);
    for (const { kind, subject } of subjects) {
      needSubject(world, kind, subject, prefix);
      const entry = { path, kind, subject, role, propagate: propagate === '1' };
      changeAcl(world, entry, remove === '1');
    }
  }
  return null;
}

function needSubject({ access }: World, kind: AclEntry['kind'], subject: string, prefix: string): void {
  const [user = '', token = ''] = subject.split('!');
  if (kind === 'group') {
    if (!access.groups.has(subject)) throw refusal(`${prefix}group '${subject}' does not exist`);
    return;
  }
  const found = access.users.get(user);
  if (found === undefined) throw refusal(`${prefix}user '${user}' does not exist`);
  if (kind === 'token' && !found.tokens.has(token))
    throw refusal(`${prefix}no such token '${token}' for user '${user}'`);
}

function changeAcl({ access }: World, entry: AclEntry, remove: boolean): void {
  const same = (one: AclEntry): boolean =>
    one.path === entry.path &&
    one.kind === entry.kind &&
    one.subject === entry.subject &&
    one.role === entry.role;
  const at = access.acl.findIndex(same);
  if (at >= 0) access.acl.splice(at, 1);
  if (!remove) access.acl.push(entry);
}

function listAcl({ world, may }: Call): Row[] {
  const all = may('/access', 'Sys.Audit') || may('/access', 'Permissions.Modify');
  const visible = world.access.acl.filter(({ path }) => all || may(path, 'Permissions.Modify'));
  return visible.map(({ path, kind, subject, role, propagate }) => ({
    path,
    type: kind,
    ugid: subject,
    roleid: role,
    propagate: propagate ? 1 : 0,
  }));
}

function groupRow({ access }: World, id: string): Row {
  const group = access.groups.get(id);
  if (group === undefined) throw refusal(`group '${id}' does not exist`);
  const members = [...access.users.values()].filter(({ groups }) => groups.has(id)).map((user) => user.id);
  return { members, ...group };
}

const subdirs = (names: string): Row[] => names.split(' ').map((subdir) => ({ subdir }));

export const accessRoutes = (tickets: Tickets): Routes => ({
  'GET /access': () => subdirs('users groups roles acl domains openid tfa ticket password'),
  'GET /access/domains': () => [
    { realm: 'pam', type: 'pam', comment: 'Linux PAM standard authentication' },
    { realm: 'pve', type: 'pve', comment: 'Proxmox VE authentication server' },
  ],
  'GET /access/ticket': () => null,
  'POST /access/ticket': (call) => logIn(tickets, call),
  'GET /access/permissions': permissions,
  'GET /access/roles': ({ world }) =>
    [...world.access.roles].map(([roleid, { privileges, special }]) => ({
      roleid,
      privs: [...privileges].sort().join(','),
      special: special ? 1 : 0,
    })),
  'GET /access/roles/{roleid}': ({ world, parameters }) => {
    const { roleid = '' } = parameters;
    const role = world.access.roles.get(roleid);
    if (role === undefined) throw refusal(`role '${roleid}' does not exist`);
    return roleRow(role);
  },
  'POST /access/roles': createRole,
  'PUT /access/roles/{roleid}': updateRole,
  'DELETE /access/roles/{roleid}': deleteRole,
  'GET /access/acl': listAcl,
  'PUT /access/acl': updateAcl,
  'GET /access/groups': ({ world }) =>
    [...world.access.groups].map(([groupid, group]) => ({ groupid, ...group, users: '' })),
  'GET /access/groups/{groupid}': ({ world, parameters }) => groupRow(world, parameters['groupid'] ?? ''),
  'POST /access/groups': async ({ world, parameters }) => {
    const { groupid = '', comment } = parameters;
    await world.clusterLock('file-user_cfg', 'create group failed: ');
    world.access.groups.set(groupid, comment === undefined ? {} : { comment });
    return null;
  },
  'DELETE /access/groups/{groupid}': async ({ world, parameters }) => {
    const { groupid = '' } = parameters;
    await world.clusterLock('file-user_cfg', 'delete group failed: ');
    groupRow(world, groupid);
    world.access.groups.delete(groupid);
    for (const user of world.access.users.values()) user.groups.delete(groupid);
    return null;
  },
});
