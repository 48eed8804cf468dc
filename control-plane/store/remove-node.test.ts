import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { Instance, Node, NodeName } from '#shared/model.ts';
import { newSpec } from '../../test/conformance/backend.ts';
import { networkDocument, subnet } from '../../test/fakes/networks.ts';
import { assignAddresses } from './assign-addresses.ts';
import { cordonNode } from './cordon-node.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import { putNetwork } from './put-network.ts';
import { giveUpNode, releaseInstances, removeNode } from './remove-node.ts';
import type { Store } from './store.ts';

const head = (name: string) => ({
  project: 'default',
  name,
  id: `id-of-${name}`,
  labels: {},
  annotations: {},
  revision: 0,
  generation: 1,
  createdAtMs: 0,
});
const node: Node = {
  metadata: head('h1'),
  cordoned: false,
  facts: undefined,
  incarnation: 'a',
  bootId: '',
  certificateSerial: 'ab12',
};
const instance = (name: string): Instance => ({
  metadata: head(name),
  workload: 'web',
  workloadGeneration: 1,
  intent: 'run',
  spec: newSpec(),
  placement: { require: [], strategy: 'spread' },
  node: 'h1' as NodeName,
  boundAtMs: 1,
  placedBecause: 'it fits',
  observed: undefined,
});
const removal = { node: 'h1', caller: 'admin/root', certificateLifeMs: 1000 };

async function setUp(instances: number): Promise<Store> {
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  await store.transact((tx) => tx.put('node', node.metadata.id, node));
  for (let count = 0; count < instances; count += 1) {
    const one = instance(`web-${count}`);
    await store.transact((tx) => tx.put('instance', one.metadata.id, one));
  }
  return store;
}

describe('taking a node out', () => {
  it('is refused while instances are bound to it, and names them', async () => {
    const store = await setUp(4);
    const attempt = store.transact((tx) => removeNode(tx, removal, 5));
    await expect(attempt).rejects.toMatchObject({ kind: 'failed-precondition', reason: 'instances-bound' });
    await expect(attempt).rejects.toThrow(/h1 has 4: web-0, web-1, web-2, …/);
    expect(store.snapshot().named('node', 'h1')).toBeDefined();
    await store.close();
  });

  it('revokes its certificate and leaves nothing of it', async () => {
    const store = await setUp(0);
    await store.transact((tx) => removeNode(tx, removal, 5));
    expect(store.snapshot().named('node', 'h1')).toBeUndefined();
    expect(store.snapshot().get('revoked-certificate', 'ab12')).toMatchObject({
      subject: 'node/h1',
      revokedAtMs: 5,
      expiresAtMs: 1005,
    });
    await expect(store.transact((tx) => removeNode(tx, removal, 6))).rejects.toMatchObject({
      kind: 'not-found',
    });
    await store.close();
  });

  it('that is lost cordons it, then gives up its instances in pieces that fit a transaction', async () => {
    const store = await setUp(60);
    await store.transact((tx) => giveUpNode(tx, removal, 5));
    expect(store.snapshot().named('node', 'h1')).toMatchObject({ cordoned: true, certificateSerial: '' });
    const released: string[] = [];
    for (;;) {
      const { result } = await store.transact((tx) => releaseInstances(tx, 'h1' as NodeName, 6));
      if (result.length === 0) break;
      released.push(...result);
    }
    expect(new Set(released).size).toBe(60);
    expect(store.snapshot().list('instance')).toEqual([]);
    const kept = store.snapshot().list('released-instance');
    expect(kept).toHaveLength(60);
    expect(kept[0]).toMatchObject({ node: 'h1', workload: 'web', generation: 2 });
    await store.transact((tx) => removeNode(tx, removal, 7));
    await store.close();
  });

  it('that is lost gives back every address, also of instances with as many as there can be', async () => {
    const store = await setUp(12);
    const names = Array.from({ length: 8 }, (_, place) => `net-${place}`);
    for (const [place, name] of names.entries()) {
      const subnets = [subnet(`10.${place}.0.0/24`), subnet(`fd00:${place}::/64`)];
      const put = { document: networkDocument(name, { subnets }), networkId: name, caller: 'test' };
      await store.transact((tx) => putNetwork(tx, put, 1));
    }
    const networks = names.map((network) => ({ network, addresses: [] }));
    for (const one of store.snapshot().list('instance'))
      await store.transact((tx) => {
        const asked = { ...one, spec: { ...one.spec, networks } };
        const assigned = { ...one.spec.assigned, ...assignAddresses(tx, asked, 'h1' as NodeName) };
        tx.put('instance', one.metadata.id, { ...asked, spec: { ...asked.spec, assigned } });
      });
    expect(store.snapshot().list('address')).toHaveLength(12 * 8 * 3);
    for (;;) {
      const { result } = await store.transact((tx) => releaseInstances(tx, 'h1' as NodeName, 6));
      if (result.length === 0) break;
    }
    expect(store.snapshot().list('instance')).toEqual([]);
    expect(store.snapshot().list('address')).toEqual([]);
    await store.close();
  });

  it('may be preceded by a cordon, which counts once', async () => {
    const store = await setUp(0);
    const cordon = { node: 'h1', cordoned: true, caller: 'operator/ann' };
    for (const _ of [1, 2]) await store.transact((tx) => cordonNode(tx, cordon, 5));
    const cordoned = store.snapshot().named('node', 'h1');
    expect(cordoned).toMatchObject({ cordoned: true, metadata: { generation: 2 } });
    expect(store.snapshot().list('event')).toHaveLength(1);
    await store.close();
  });
});
