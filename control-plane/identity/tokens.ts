import { createHash, timingSafeEqual } from 'node:crypto';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Node } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import { type Certificate, formatJoinToken } from '#shared/tls.ts';
import { putJoinToken } from '../store/put-join-token.ts';
import type { JoinToken, Snapshot, Store } from '../store/store.ts';
import { tokenRefused, useJoinToken } from '../store/use-join-token.ts';
import { type Authority, certificateLife } from './authority.ts';

const minuteMs = 60_000;
const tokenTtl = { defaultMs: 15 * minuteMs, maxMs: 24 * 60 * minuteMs } as const;
/** Guessing 256 bits is hopeless anyway; this keeps the guesses out of the log and off the disk. */
const failures = { most: 60, perMs: minuteMs } as const;

export interface JoinTokens {
  /** The only copy of the text. already-exists: the name is taken, and replace is not set. */
  create(request: {
    readonly node: string;
    /** Zero: 15 minutes. */
    readonly ttlMs: number;
    readonly replace: boolean;
    readonly caller: string;
  }): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  /**
   * Spends a token, once. permission-denied for one that is unknown, used or expired, without telling which;
   * resource-exhausted after too many of those; invalid-argument for the request.
   */
  redeem(request: {
    readonly secret: string;
    readonly csr: Uint8Array;
    readonly incarnation: string;
  }): Promise<{ readonly node: Node; readonly certificate: Certificate }>;
}

export function createJoinTokens(options: {
  readonly store: Store;
  readonly authority: Authority;
  readonly clock: Clock;
  readonly random: Random;
  /** Where agents find us: "host:port". */
  readonly address: () => string;
}): JoinTokens {
  const { store, authority, clock, random } = options;
  let failed: number[] = [];

  function refuse(): never {
    failed.push(clock.monotonicMs());
    throw tokenRefused();
  }

  function checkFailures(): void {
    failed = failed.filter((atMs) => atMs > clock.monotonicMs() - failures.perMs);
    if (failed.length < failures.most) return;
    throw new DroverError('resource-exhausted', 'too many join tokens were refused within a minute', {
      nextStep: 'wait a minute',
    });
  }

  return {
    async create({ node, ttlMs, replace, caller }) {
      if (ttlMs > tokenTtl.maxMs) {
        throw new DroverError('invalid-argument', `a token lives at most 24 hours, found ${ttlMs} ms`);
      }
      const secret = Buffer.from(random.bytes(32)).toString('base64url');
      const expiresAtMs = clock.nowMs() + (ttlMs === 0 ? tokenTtl.defaultMs : ttlMs);
      const record: JoinToken = { secretHash: hashOf(secret), node, replace, expiresAtMs, createdBy: caller };
      await store.transact((tx) => putJoinToken(tx, record, clock.nowMs()));
      const token = formatJoinToken({ address: options.address(), pin: authority.pin, secret, node });
      return { token, expiresAtMs };
    },
    async redeem({ secret, csr, incarnation }) {
      checkFailures();
      const secretHash = hashOf(secret);
      const token = findToken(store.snapshot(), secretHash);
      if (token === undefined || token.expiresAtMs <= clock.nowMs()) refuse();
      const certificate = await authority.issue({ role: 'node', name: token.node }, csr);
      const use = {
        secretHash,
        nodeId: random.uuidV7(),
        incarnation,
        certificateSerial: certificate.serial,
        certificateLifeMs: certificateLife.nodeMs,
      };
      const { result: node } = await store.transact((tx) => useJoinToken(tx, use, clock.nowMs()));
      return { node, certificate };
    },
  };
}

const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** Takes as long for a near miss as for a far one. */
function findToken(snapshot: Snapshot, secretHash: string): JoinToken | undefined {
  const wanted = Buffer.from(secretHash, 'hex');
  let found: JoinToken | undefined;
  for (const token of snapshot.list('join-token')) {
    if (timingSafeEqual(Buffer.from(token.secretHash, 'hex'), wanted)) found = token;
  }
  return found;
}
