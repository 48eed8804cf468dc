/** Users and their API tokens. */
import { parameterFailure, refusal } from './failure.ts';
import type { Token, User } from './access-model.ts';
import { permissionFailure } from './permission.ts';
import type { Call, Routes } from './route.ts';
import type { World } from './world.ts';

type Row = Readonly<Record<string, unknown>>;

const list = (text = ''): string[] => text.split(/[\s,;]+/).filter((word) => word !== '');
const fieldNames = ['comment', 'email', 'firstname', 'lastname', 'keys'];

function needUser({ access }: World, id: string): User {
  const user = access.users.get(id);
  if (user === undefined) throw refusal(`no such user ('${id}')`);
  return user;
}

function needToken(world: World, id: string, name: string): Token {
  const token = needUser(world, id).tokens.get(name);
  if (token === undefined) throw refusal(`no such token '${name}' for user '${id}'`);
  return token;
}

const realmOf = (id: string): string => id.split('@').at(-1) ?? '';
const tokenRow = ({ privilegeSeparation, expire, comment }: Token): Row => ({
  privsep: privilegeSeparation ? 1 : 0,
  expire,
  ...(comment === undefined ? {} : { comment }),
});

function userRow({ id, enable, expire, fields }: User): Row {
  return { userid: id, 'realm-type': realmOf(id), enable: enable ? 1 : 0, expire, ...fields };
}

function listUsers(call: Call): Row[] {
  const { world, caller, parameters } = call;
  const audits = ['User.Modify', 'Sys.Audit'].some((privilege) => call.may('/access/groups', privilege));
  const visible = [...world.access.users.values()].filter(({ id }) => audits || id === caller.authId);
  visible.sort((a, b) => (a.id < b.id ? -1 : 1));
  return visible.map((user) => {
    if (parameters['full'] !== '1') return userRow(user);
    const tokens = [...user.tokens.values()].map((token) => ({ tokenid: token.name, ...tokenRow(token) }));
    return { ...userRow(user), groups: [...user.groups].join(','), tokens };
  });
}

function setFields(user: User, parameters: Call['parameters']): void {
  const { enable, expire, groups, password } = parameters;
  if (enable !== undefined) user.enable = enable === '1';
  if (expire !== undefined) user.expire = Number(expire);
  if (password !== undefined) user.password = password;
  if (groups !== undefined) user.groups = new Set(list(groups));
  for (const name of fieldNames) {
    const value = parameters[name];
    if (value !== undefined) user.fields[name] = value;
  }
}

async function createUser({ world, parameters }: Call): Promise<null> {
  const { userid = '' } = parameters;
  if (!/^[^\s:/]+@[A-Za-z][A-Za-z0-9._-]+$/.test(userid)) {
    throw refusal(`value '${userid}' does not look like a valid user name`);
  }
  await world.clusterLock('file-user_cfg', 'create user failed: ');
  if (world.access.users.has(userid)) throw refusal(`create user failed: user '${userid}' already exists`);
  setFields(world.access.addUser(userid), parameters);
  return null;
}

async function updateUser({ world, parameters }: Call): Promise<null> {
  await world.clusterLock('file-user_cfg', 'update user failed: ');
  setFields(needUser(world, parameters['userid'] ?? ''), parameters);
  return null;
}

async function deleteUser({ world, parameters }: Call): Promise<null> {
  const { userid = '' } = parameters;
  await world.clusterLock('file-user_cfg', 'delete user failed: ');
  needUser(world, userid);
  world.access.users.delete(userid);
  const kept = world.access.acl.filter(({ subject }) => subject.split('!')[0] !== userid);
  world.access.acl.splice(0, world.access.acl.length, ...kept);
  return null;
}

function readUser({ world, parameters }: Call): Row {
  const { enable, expire, groups, tokens, fields } = needUser(world, parameters['userid'] ?? '');
  const rows = [...tokens.values()].map((token) => [token.name, tokenRow(token)] as const);
  return {
    enable: enable ? 1 : 0,
    expire,
    groups: [...groups],
    tokens: rows.length === 0 ? null : Object.fromEntries(rows),
    ...fields,
  };
}

/** What was given comes back as it was given. */
async function createToken({ world, parameters }: Call): Promise<Row> {
  const { userid = '', tokenid = '', privsep, expire, comment } = parameters;
  const user = needUser(world, userid);
  if (user.tokens.has(tokenid)) throw parameterFailure({ tokenid: 'Token already exists.' });
  await world.clusterLock('file-user_cfg', 'generating token failed: ');
  const secret = world.access.addToken(userid, tokenid, { privilegeSeparation: privsep !== '0' });
  const token = needToken(world, userid, tokenid);
  if (expire !== undefined) token.expire = Number(expire);
  if (comment !== undefined) token.comment = comment;
  const info = {
    privsep: privsep ?? 1,
    ...(expire === undefined ? {} : { expire }),
    ...(comment === undefined ? {} : { comment }),
  };
  return { value: secret, info, 'full-tokenid': `${userid}!${tokenid}` };
}

async function updateToken({ world, parameters }: Call): Promise<Row> {
  const { userid = '', tokenid = '', privsep, expire, comment } = parameters;
  await world.clusterLock('file-user_cfg', 'updating token info failed: ');
  const token = needToken(world, userid, tokenid);
  if (privsep !== undefined) token.privilegeSeparation = privsep === '1';
  if (expire !== undefined) token.expire = Number(expire);
  if (comment !== undefined) token.comment = comment;
  return { ...tokenRow(token), ...(expire === undefined ? {} : { expire }) };
}

async function deleteToken({ world, parameters }: Call): Promise<null> {
  const { userid = '', tokenid = '' } = parameters;
  await world.clusterLock('file-user_cfg', 'deleting token failed: ');
  needToken(world, userid, tokenid);
  world.access.users.get(userid)?.tokens.delete(tokenid);
  const kept = world.access.acl.filter(({ subject }) => subject !== `${userid}!${tokenid}`);
  world.access.acl.splice(0, world.access.acl.length, ...kept);
  return null;
}

function changePassword({ world, caller, parameters }: Call): null {
  if (caller.token !== undefined) {
    throw permissionFailure("URI '/access/password' not available with API token, need proper ticket.\n");
  }
  needUser(world, parameters['userid'] ?? '').password = parameters['password'] ?? '';
  return null;
}

export const userRoutes: Routes = {
  'GET /access/users': listUsers,
  'POST /access/users': createUser,
  'GET /access/users/{userid}': readUser,
  'PUT /access/users/{userid}': updateUser,
  'DELETE /access/users/{userid}': deleteUser,
  'GET /access/users/{userid}/token': ({ world, parameters }) =>
    [...needUser(world, parameters['userid'] ?? '').tokens.values()].map((token) => ({
      tokenid: token.name,
      ...tokenRow(token),
    })),
  'GET /access/users/{userid}/token/{tokenid}': ({ world, parameters }) =>
    tokenRow(needToken(world, parameters['userid'] ?? '', parameters['tokenid'] ?? '')),
  'POST /access/users/{userid}/token/{tokenid}': createToken,
  'PUT /access/users/{userid}/token/{tokenid}': updateToken,
  'DELETE /access/users/{userid}/token/{tokenid}': deleteToken,
  'PUT /access/password': changePassword,
};
