/** Users, tokens, roles and ACLs, as a world keeps them. */
import type { Random } from '#shared/random.ts';
import { specialRoles } from './roles.ts';
import type { Caller } from './caller.ts';

export interface Token {
  readonly name: string;
  secret: string;
  /** With it the token has what its own ACLs and its user's both give. */
  privilegeSeparation: boolean;
  comment?: string;
  expire: number;
}

export interface User {
  /** "alice@pve". */
  readonly id: string;
  password: string;
  enable: boolean;
  expire: number;
  groups: Set<string>;
  fields: Record<string, string>;
  readonly tokens: Map<string, Token>;
}

export interface AclEntry {
  readonly path: string;
  readonly kind: 'user' | 'group' | 'token';
  /** "alice@pve", "auditors", "alice@pve!t1". */
  readonly subject: string;
  readonly role: string;
  propagate: boolean;
}

/** Rights of users and tokens. root@pam has all of them; its separated tokens only what their ACLs give. */
export interface AccessModel {
  readonly users: Map<string, User>;
  readonly groups: Map<string, { comment?: string }>;
  /** Privileges by role. */
  readonly roles: Map<string, { readonly privileges: Set<string>; readonly special: boolean }>;
  readonly acl: AclEntry[];
  readonly allPrivileges: ReadonlySet<string>;
  /** What somebody may do at a path; the value says whether it reaches below. */
  privileges(caller: Caller, path: string): ReadonlyMap<string, boolean>;
  may(caller: Caller, path: string, privilege: string): boolean;
  /** Makes a user or token for a test and gives it roles: `grant('alice@pve!t1', '/vms', 'PVEVMUser')`. */
  grant(subject: string, path: string, role: string): void;
  addUser(id: string, password?: string): User;
  /** Gives the secret. */
  addToken(user: string, name: string, options?: { readonly privilegeSeparation?: boolean }): string;
}

export function createAccessModel(random: Random, major: number): AccessModel {
  const users = new Map<string, User>();
  const acl: AclEntry[] = [];
  const roles: AccessModel['roles'] = new Map();
  const special = specialRoles(major);
  const allPrivileges = new Set(special['Administrator']);
  for (const [name, privileges] of Object.entries(special)) {
    roles.set(name, { privileges: new Set(privileges), special: true });
  }

  function grantedAt(path: string, applies: (entry: AclEntry) => boolean): Map<string, boolean> {
    let granted = new Map<string, boolean>();
    for (const [depth, step] of stepsOf(path).entries()) {
      const here = acl.filter((entry) => entry.path === step && applies(entry));
      const last = depth === stepsOf(path).length - 1;
      const reaching = here.filter((entry) => entry.propagate || last);
      if (reaching.length === 0) {
        granted = new Map([...granted].filter(([, propagates]) => propagates));
        continue;
      }
      granted = new Map();
      for (const { role, propagate } of reaching) {
        for (const one of roles.get(role)?.privileges ?? [])
          granted.set(one, propagate || (granted.get(one) ?? false));
        if (role === 'NoAccess') return new Map();
      }
    }
    return granted;
  }
  function ofUser(id: string, path: string): Map<string, boolean> {
    if (id === 'root@pam') return new Map([...allPrivileges].map((one) => [one, true]));
    const own = acl.some((entry) => entry.kind === 'user' && entry.subject === id && entry.path === path);
    const groups = users.get(id)?.groups ?? new Set<string>();
    const mine = (entry: AclEntry): boolean => entry.kind === 'user' && entry.subject === id;
    const ofGroup = (entry: AclEntry): boolean => entry.kind === 'group' && groups.has(entry.subject);
    return grantedAt(path, (entry) => mine(entry) || (!own && ofGroup(entry)));
  }
  function privileges(caller: Caller, path: string): ReadonlyMap<string, boolean> {
    const whole = ofUser(caller.user, path);
    const token = users.get(caller.user)?.tokens.get(caller.token ?? '');
    if (token === undefined || !token.privilegeSeparation) return whole;
    const own = grantedAt(path, (entry) => entry.kind === 'token' && entry.subject === caller.authId);
    return new Map([...own].filter(([one]) => whole.has(one)));
  }
  function addUser(id: string, password = ''): User {
    const user: User = {
      id,
      password,
      enable: true,
      expire: 0,
      groups: new Set(),
      fields: {},
      tokens: new Map(),
    };
    users.set(id, user);
    return user;
  }
  addUser('root@pam', random.uuidV4());
  return {
    users,
    groups: new Map(),
    roles,
    acl,
    allPrivileges,
    privileges,
    may: (caller, path, privilege) => privileges(caller, path).has(privilege),
    grant(subject, path, role) {
      const kind = subject.includes('!') ? 'token' : subject.includes('@') ? 'user' : 'group';
      acl.push({ path, kind, subject, role, propagate: true });
    },
    addUser,
    addToken(user, name, { privilegeSeparation = true } = {}) {
      const secret = random.uuidV4();
      users.get(user)?.tokens.set(name, { name, secret, privilegeSeparation, expire: 0 });
      return secret;
    },
  };
}

/** "/vms/101" → "/", "/vms", "/vms/101". */
export function stepsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return ['/', ...parts.map((_, index) => `/${parts.slice(0, index + 1).join('/')}`)];
}
