/** Tickets, their CSRF tokens, and API tokens: who sends this request? */
import { createHmac } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Caller } from './caller.ts';
import type { World } from './world.ts';

export const ticketLifeMs = 2 * 60 * 60 * 1000;

export interface Tickets {
  issue(user: string): { readonly ticket: string; readonly csrf: string };
  /** The user of a ticket that is valid now. */
  verify(ticket: string): string | undefined;
  csrfIsValid(user: string, token: string | undefined): boolean;
  /** All that were issued so far end now. */
  expireAll(): void;
}

export function createTickets(world: World): Tickets {
  const key = world.random.bytes(32);
  /** Those of an older key do not verify. */
  let epoch = 0;
  const sign = (text: string): string =>
    createHmac('sha256', key).update(`${epoch} ${text}`).digest('base64');
  const stamp = (): string =>
    Math.floor(world.clock.nowMs() / 1000)
      .toString(16)
      .toUpperCase();
  function isFresh(time: string): boolean {
    const ageMs = world.clock.nowMs() - Number.parseInt(time, 16) * 1000;
    return ageMs > -300_000 && ageMs < ticketLifeMs;
  }
  return {
    issue(user) {
      const time = stamp();
      return {
        ticket: `PVE:${user}:${time}::${sign(`${user} ${time}`)}`,
        csrf: `${time}:${sign(`csrf ${user} ${time}`).slice(0, 27)}`,
      };
    },
    verify(ticket) {
      const [, user = '', time = '', signature] = /^PVE:([^:]+):([0-9A-F]{8})::(.+)$/.exec(ticket) ?? [];
      return signature === sign(`${user} ${time}`) && isFresh(time) ? user : undefined;
    },
    csrfIsValid(user, token) {
      const [time = '', signature] = (token ?? '').split(':');
      return signature === sign(`csrf ${user} ${time}`).slice(0, 27) && isFresh(time);
    },
    expireAll() {
      epoch += 1;
    },
  };
}

export type Identified = { readonly caller: Caller } | { readonly refused: string };

const refused = { refused: 'Authentication failed!' };

/** Whom the headers speak for; a write with a ticket needs its CSRF token. */
export function identify(
  world: World,
  tickets: Tickets,
  method: string,
  headers: IncomingHttpHeaders,
): Identified {
  const { authorization } = headers;
  if (authorization?.startsWith('PVEAPIToken') === true) return identifyToken(world, authorization);
  const cookie = /(?:^|;\s*)PVEAuthCookie=([^;]+)/.exec(headers.cookie ?? '')?.[1];
  if (cookie === undefined) return { refused: 'No ticket' };
  const user = tickets.verify(decodeURIComponent(cookie));
  if (user === undefined || !isUsable(world, user)) return refused;
  const { csrfpreventiontoken } = headers;
  if (method !== 'GET' && !tickets.csrfIsValid(user, csrfpreventiontoken?.toString())) {
    return { refused: 'Permission denied - invalid csrf token' };
  }
  return { caller: { user, authId: user } };
}

function identifyToken(world: World, authorization: string): Identified {
  const match = /^PVEAPIToken=([^!=\s]+)!([^=\s]+)=([0-9a-fA-F-]{36})$/.exec(authorization);
  if (match === null) return refused;
  const [, user = '', name = '', secret] = match;
  const token = world.access.users.get(user)?.tokens.get(name);
  if (token === undefined || token.secret !== secret || !isUsable(world, user)) return refused;
  if (token.expire !== 0 && token.expire < world.now()) return refused;
  return { caller: { user, token: name, authId: `${user}!${name}` } };
}

export function isUsable(world: World, id: string): boolean {
  const user = world.access.users.get(id);
  return user !== undefined && user.enable && (user.expire === 0 || user.expire > world.now());
}
