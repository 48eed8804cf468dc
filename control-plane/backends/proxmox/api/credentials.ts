import type { Clock } from '#shared/clock.ts';
import { DroverError, isKind } from '#shared/errors.ts';
import type { ClusterCredential } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import { createBackoff } from '#shared/retry.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';
import { rowOf } from './answer-rows.ts';

export interface CallHeaders {
  readonly headers: Readonly<Record<string, string>>;
  /** Which ticket it was: whoever is refused with it says so. */
  readonly mark: number;
}

/** What a call shows to be let in. */
export interface Credential {
  /** unauthenticated: a login was refused, now or a moment ago. */
  headersFor(write: boolean, signal: AbortSignal): Promise<CallHeaders>;
  /** A 401 came for this mark. True: there is something newer, and the call may be made once more. */
  refused(mark: number, signal: AbortSignal): Promise<boolean>;
}

/** POST /access/ticket, wherever it is answered; gives its data. */
export type Login = (username: string, password: string, signal: AbortSignal) => Promise<unknown>;

/** Tickets are good for two hours (PVE::AccessControl); renewed with a margin for slow clocks. */
const lifeMs = 115 * 60_000;
const renewAfterMs = 90 * 60_000;
const loginTimeoutMs = 30_000;
/** Where a new ticket is refused as well, it was not for its age: so seldom a login is made for a refusal. */
const betweenRefusalsMs = 10_000;

/** invalid-argument: not of the form that the cluster takes; secrets are never repeated. */
export function credentialOf(
  credential: ClusterCredential,
  options: {
    readonly login: Login;
    readonly clock: Clock;
    readonly random: Random;
    readonly cluster: string;
  },
): Credential {
  if (credential.kind === 'token') return tokenCredential(credential.tokenId, credential.secret);
  return ticketCredential(credential, options);
}

/** With '=' between id and secret: the form with ':' is refused without a word. */
function tokenCredential(tokenId: string, secret: string): Credential {
  if (!/^[^\s:=!@]+@[^\s:=!]+![^\s:=!]+$/.test(tokenId) || !/^[\x21-\x7e]+$/.test(secret)) {
    throw new DroverError('invalid-argument', 'an API token is USER@REALM!TOKENID and its secret', {
      nextStep: 'see `pveum user token list USER@REALM`; the secret was shown once, when it was made',
    });
  }
  const headers = { authorization: `PVEAPIToken=${tokenId}=${secret}` };
  return {
    headersFor: () => Promise.resolve({ headers, mark: 0 }),
    refused: () => Promise.resolve(false),
  };
}

interface Ticket {
  readonly ticket: string;
  readonly csrf: string;
  readonly takenAtMs: number;
  readonly mark: number;
}

/**
 * A ticket, renewed before its end with itself for the password. Whoever needs one waits for the one login
 * that is under way; a refused login is not tried again for a while, as the server takes seconds for each.
 */
function ticketCredential(
  { user, password }: { readonly user: string; readonly password: string },
  options: {
    readonly login: Login;
    readonly clock: Clock;
    readonly random: Random;
    readonly cluster: string;
  },
): Credential {
  const { login, clock, cluster } = options;
  const backoff = createBackoff({ firstMs: 10_000, maxMs: 5 * 60_000, random: options.random });
  let held: Ticket | undefined;
  let marks = 0;
  let lastRefusedAtMs = Number.NEGATIVE_INFINITY;
  let underWay: Promise<Ticket> | undefined;
  let refusal: { readonly untilMs: number; readonly error: DroverError } | undefined;

  const ageMs = (ticket: Ticket): number => clock.monotonicMs() - ticket.takenAtMs;

  async function take(secret: string): Promise<Ticket> {
    const data = await login(user, secret, clock.timeout(loginTimeoutMs));
    marks += 1;
    held = { ...parseTicket(data, user), takenAtMs: clock.monotonicMs(), mark: marks };
    return held;
  }

  async function obtain(): Promise<Ticket> {
    if (refusal !== undefined && clock.monotonicMs() < refusal.untilMs) throw refusal.error;
    if (held !== undefined && ageMs(held) < lifeMs) {
      try {
        return await take(held.ticket);
      } catch (error) {
        if (!isKind(error, 'unauthenticated')) throw error;
        held = undefined;
      }
    }
    try {
      const ticket = await take(password);
      refusal = undefined;
      backoff.reset();
      return ticket;
    } catch (error) {
      if (isKind(error, 'unauthenticated', 'invalid-argument', 'permission-denied')) {
        refusal = {
          untilMs: clock.monotonicMs() + backoff.nextMs(),
          error: loginRefused(error, user, cluster),
        };
        throw refusal.error;
      }
      throw error;
    }
  }

  function single(): Promise<Ticket> {
    underWay ??= obtain().finally(() => {
      underWay = undefined;
    });
    return underWay;
  }

  async function current(signal: AbortSignal): Promise<Ticket> {
    signal.throwIfAborted();
    const known = held;
    if (known !== undefined && ageMs(known) < renewAfterMs) return known;
    try {
      return await unlessAborted(single(), signal);
    } catch (error) {
      // Good for a while yet: a renewal that found nobody may be tried again by the next call.
      if (!signal.aborted && known !== undefined && held === known && ageMs(known) < lifeMs) return known;
      throw error;
    }
  }

  return {
    async headersFor(write, signal) {
      const { ticket, csrf, mark } = await current(signal);
      const cookie = `PVEAuthCookie=${ticket}`;
      return { mark, headers: write ? { cookie, csrfpreventiontoken: csrf } : { cookie } };
    },
    async refused(mark, signal) {
      signal.throwIfAborted();
      if (held !== undefined && held.mark !== mark) return true;
      const nowMs = clock.monotonicMs();
      if (underWay === undefined && nowMs - lastRefusedAtMs < betweenRefusalsMs) return false;
      lastRefusedAtMs = nowMs;
      held = undefined;
      await unlessAborted(single(), signal);
      return true;
    },
  };
}

function parseTicket(data: unknown, user: string): { readonly ticket: string; readonly csrf: string } {
  const { ticket, CSRFPreventionToken: csrf, NeedTFA: second } = rowOf(data);
  if (second !== undefined && second !== 0 && second !== '0') {
    throw new DroverError('unauthenticated', `${user} needs a second factor, which Drover cannot give`, {
      reason: 'second-factor',
      nextStep: 'give an API token instead: `pveum user token add USER@REALM drover`',
    });
  }
  if (
    typeof ticket !== 'string' ||
    typeof csrf !== 'string' ||
    !/^[\x21\x23\x26-\x3a\x3c-\x7e]+$/.test(ticket + csrf)
  ) {
    throw new DroverError('internal', 'wanted a ticket and its CSRF token, found neither', {
      reason: 'garbage',
    });
  }
  return { ticket, csrf };
}

const loginRefused = (error: DroverError, user: string, cluster: string): DroverError =>
  new DroverError(
    'unauthenticated',
    error.reason === 'second-factor' ? error.message : `the cluster refuses the login of ${user}`,
    {
      reason: error.reason === 'second-factor' ? error.reason : 'login',
      subject: { ...error.subject, cluster, acted: 'no' },
      nextStep:
        error.reason === 'second-factor'
          ? error.nextStep
          : 'check user, realm ("drover@pve") and password; Drover tries again by itself, ever more seldom',
      cause: error,
    },
  );
