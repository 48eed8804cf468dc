import type { Clock } from '#shared/clock.ts';
import type { Identity } from '#shared/tls.ts';
import type { Snapshot, Store } from '../store/store.ts';

/** Whom a verified certificate speaks for. */
export type CertifiedIdentity = Identity & { readonly serial: string; readonly notAfterMs: number };

/** Why a certificate that our authority signed is worth nothing now; undefined when it counts. */
function refusalOf(
  identity: CertifiedIdentity,
  fleetId: string,
  snapshot: Snapshot,
  nowMs: number,
): string | undefined {
  if (identity.fleetId !== fleetId) return `it is of fleet ${identity.fleetId}, this is ${fleetId}`;
  if (identity.notAfterMs <= nowMs) return 'it has expired';
  const revoked = snapshot.get('revoked-certificate', identity.serial);
  if (revoked !== undefined && revoked.revokedAtMs <= nowMs) return 'it was revoked';
  if (identity.role === 'control-plane') return 'it is a server certificate';
  if (identity.role === 'node' && snapshot.named('node', identity.name) === undefined) {
    return `there is no node ${identity.name}`;
  }
  return undefined;
}

/** A connection that stands on a certificate. */
export interface CertifiedConnection {
  readonly identity: CertifiedIdentity;
  end(reason: string): void;
}

/** Promised are ten seconds. */
const sweepMs = 2000;

export interface Revocation {
  readonly connections: Set<CertifiedConnection>;
  refusalOf(identity: CertifiedIdentity): string | undefined;
  close(): void;
}

/**
 * Ends connections, and with them every call and session on them, soon after their certificate was revoked
 * or expired.
 */
export function startRevocation(options: {
  readonly store: Store;
  readonly clock: Clock;
  readonly fleetId: string;
}): Revocation {
  const { store, clock, fleetId } = options;
  const connections = new Set<CertifiedConnection>();
  const refusal = (identity: CertifiedIdentity): string | undefined =>
    refusalOf(identity, fleetId, store.snapshot(), clock.nowMs());
  const close = clock.every(sweepMs, () => {
    for (const connection of connections) {
      const reason = refusal(connection.identity);
      if (reason !== undefined) connection.end(reason);
    }
  });
  return { connections, refusalOf: refusal, close };
}
