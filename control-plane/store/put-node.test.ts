import { describe, expect, it } from 'vitest';
import type { Node } from '#shared/model.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import { putNodeCertificate, type RenewedCertificate } from './put-node.ts';
import type { Store } from './store.ts';
import { useJoinToken } from './use-join-token.ts';

const dayMs = 24 * 60 * 60 * 1000;
const nowMs = 100 * dayMs;
const node: Node = {
  metadata: {
    project: 'default',
    name: 'h1',
    id: 'id-of-h1',
    labels: {},
    annotations: {},
    revision: 0,
    generation: 1,
    createdAtMs: 0,
  },
  cordoned: false,
  facts: undefined,
  incarnation: 'a',
  bootId: '',
  certificateSerial: '01',
};
const renewal = (callerSerial: string, certificateSerial: string): RenewedCertificate => ({
  node: 'h1',
  callerSerial,
  certificateSerial,
  oldExpiresAtMs: nowMs + 2 * dayMs,
});

async function setUp(): Promise<Store> {
  const store = await openStore({ journal: createMemoryJournal(), clock: createFakeClock(nowMs) });
  const token = { node: 'h1', replace: true, expiresAtMs: nowMs + 1000, createdBy: 'admin/root' };
  await store.transact((tx) => {
    tx.put('node', node.metadata.id, node);
    tx.put('join-token', 'hash', { secretHash: 'hash', ...token });
  });
  return store;
}
const serialOf = (store: Store) => store.snapshot().named('node', 'h1')?.certificateSerial;

describe('renewing the certificate of a node', () => {
  it('may be done again with the one before, whose answer was lost', async () => {
    const store = await setUp();
    await store.transact((tx) => putNodeCertificate(tx, renewal('01', '02'), nowMs));
    await store.transact((tx) => putNodeCertificate(tx, renewal('01', '03'), nowMs + 1));
    expect(serialOf(store)).toBe('03');
    await store.close();
  });

  it('is refused once another host has taken its name, also half way', async () => {
    const store = await setUp();
    await store.transact((tx) => putNodeCertificate(tx, renewal('01', '02'), nowMs));
    const use = { secretHash: 'hash', nodeId: 'n', incarnation: 'b', certificateSerial: '09' };
    await store.transact((tx) => useJoinToken(tx, { ...use, certificateLifeMs: dayMs }, nowMs + 1));
    for (const before of ['01', '02']) {
      const late = store.transact((tx) => putNodeCertificate(tx, renewal(before, '0a'), nowMs + 1));
      await expect(late).rejects.toMatchObject({ kind: 'unauthenticated' });
    }
    expect(serialOf(store)).toBe('09');
    await store.close();
  });
});
