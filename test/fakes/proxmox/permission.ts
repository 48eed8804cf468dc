/** May somebody call a method? The checks of the schema, with the words of Proxmox. */
import type { MethodFacts } from '../../../control-plane/backends/proxmox/schema/facts.ts';
import type { Caller } from './caller.ts';
import { ApiFailure, refusal } from './failure.ts';
import type { World } from './world.ts';

export const permissionFailure = (reason?: string): ApiFailure =>
  new ApiFailure(
    403,
    reason === undefined ? 'Permission check failed' : `Permission check failed (${reason})`,
  );

type Parameters = Readonly<Record<string, string>>;

interface Question {
  readonly world: World;
  readonly caller: Caller;
  readonly parameters: Parameters;
}

const filled = (path: string, parameters: Parameters): string =>
  path.replace(/\{([^}]*)\}/g, (_, name: string) => parameters[name] ?? '');

/** Throws 403 where the schema does not let the caller in. Nobody need be known for "world". */
export function checkPermission(question: Question, permission: MethodFacts['permission']): void {
  const { world, caller } = question;
  if (permission === 'world' || permission === 'all') return;
  if (permission === undefined) {
    if (caller.user !== 'root@pam' || caller.token !== undefined) throw permissionFailure();
    return;
  }
  if (caller.user === 'root@pam' && !isSeparated(world, caller)) return checkShapes(question, permission);
  check(question, permission);
}

/** Even root is refused where a name makes no path, or no user. */
function checkShapes(question: Question, [kind, ...rest]: readonly unknown[]): void {
  if (kind === 'perm') normalPath(filled(String(rest[0]), question.parameters), rest[1] as string[]);
  else if (kind === 'userid-param') checkUserName(question.parameters['userid'] ?? '');
  else if (kind === 'and') for (const part of rest) checkShapes(question, part as unknown[]);
}

function normalPath(path: string, privileges: readonly string[]): string {
  if (/^[A-Za-z0-9._/-]+$/.test(path)) return path;
  throw permissionFailure(`, ${privileges.join('|')}`);
}

function checkUserName(userid: string): void {
  if (/^[^\s:/]+@[A-Za-z][A-Za-z0-9._-]+$/.test(userid)) return;
  throw refusal(`value '${userid}' does not look like a valid user name`);
}

const isSeparated = (world: World, { user, token = '' }: Caller): boolean =>
  world.access.users.get(user)?.tokens.get(token)?.privilegeSeparation ?? false;

function check(question: Question, [kind, ...rest]: readonly unknown[]): void {
  if (kind === 'and') for (const part of rest) check(question, part as unknown[]);
  else if (kind === 'or') checkOr(question, rest as unknown[][]);
  else if (kind === 'perm') checkPath(question, rest);
  else if (kind === 'perm-modify') checkModify(question, rest);
  else if (kind === 'userid-param') checkUser(question, String(rest[0]));
  else if (kind === 'userid-group') checkGroups(question, rest[0] as string[]);
  else throw permissionFailure();
}

/** The last refusal is the one that is told. */
function checkOr(question: Question, parts: readonly unknown[][]): void {
  let refused: unknown;
  for (const part of parts) {
    try {
      return check(question, part);
    } catch (error) {
      refused = error;
    }
  }
  throw refused;
}

function checkPath(question: Question, rest: readonly unknown[]): void {
  const [template, privileges, ...options] = rest as [string, string[], ...unknown[]];
  const needed = options.indexOf('require_param');
  if (needed >= 0 && question.parameters[String(options[needed + 1])] === undefined)
    throw permissionFailure();
  const path = normalPath(filled(template, question.parameters), privileges);
  requirePrivileges(question, path, privileges, options.includes('any'));
}

export function requirePrivileges(
  { world, caller }: Omit<Question, 'parameters'>,
  path: string,
  privileges: readonly string[],
  any: boolean,
): void {
  const may = (privilege: string): boolean => world.access.may(caller, path, privilege);
  if (any ? privileges.some(may) : privileges.every(may)) return;
  const shown = any ? privileges.join('|') : privileges.find((privilege) => !may(privilege));
  throw permissionFailure(`${path}, ${any ? shown : privileges.join('|')}`);
}

function checkModify({ world, caller, parameters }: Question, [template]: readonly unknown[]): void {
  const path = filled(String(template), parameters);
  if (world.access.may(caller, path, 'Permissions.Modify')) return;
  throw permissionFailure(`${path}, Permissions.Modify`);
}

function checkUser({ world, caller, parameters }: Question, wanted: string): void {
  const { userid = '' } = parameters;
  if (wanted === 'self') {
    if (userid !== caller.user) throw permissionFailure();
    return;
  }
  checkUserName(userid);
  const path = `/access/realm/${userid.split('@')[1] ?? ''}`;
  requirePrivileges({ world, caller }, path, ['Realm.AllocateUser'], false);
}

function checkGroups({ world, caller }: Question, privileges: readonly string[]): void {
  if (privileges.some((privilege) => world.access.may(caller, '/access/groups', privilege))) return;
  throw permissionFailure(`/access/groups, ${privileges.join(', ')}`);
}
