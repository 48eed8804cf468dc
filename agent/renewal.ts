import type { Clock } from '#shared/clock.ts';
import type { Log } from '#shared/log.ts';
import { isDueForRenewal, type NodeIdentity, renew } from './identity.ts';

const checkMs = 3_600_000;

export interface Renewal {
  /** The newest; sessions that stand on an older one go on until the control plane ends them. */
  identity(): NodeIdentity;
  stop(): void;
}

/** Renews the node's certificate from two thirds of its life on. Looks at once, and then every hour. */
export function startRenewal(options: {
  readonly stateDir: string;
  readonly first: NodeIdentity;
  readonly address: () => string;
  readonly clock: Clock;
  readonly log: Log;
}): Renewal {
  const { stateDir, address, clock, log } = options;
  let identity = options.first;
  let isRenewing = false;

  async function renewNow(): Promise<void> {
    isRenewing = true;
    try {
      identity = await renew(stateDir, identity, address());
      log.info({ event: 'certificate.renewed', notAfterMs: identity.certificate.notAfterMs });
    } catch (err) {
      // Tried again with the next check; a third of the certificate's life is left for it.
      log.warn({ event: 'renewal.failed', err });
    } finally {
      isRenewing = false;
    }
  }
  function look(): void {
    if (!isRenewing && isDueForRenewal(identity, clock)) void renewNow();
  }

  look();
  return { identity: () => identity, stop: clock.every(checkMs, look) };
}
