import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { NodeName } from '#shared/model.ts';
import { networkDocument, subnet } from '../../test/fakes/networks.ts';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import { assignAddresses } from './assign-addresses.ts';
import { checkNetworkUses } from './check-network-uses.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import { putNetwork } from './put-network.ts';
import { removeNetwork } from './remove-network.ts';
import { scratchTransaction } from './scratch.ts';
import type { Transaction } from './store.ts';

const node = 'h1' as NodeName;

async function begin(): Promise<Transaction> {
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  return scratchTransaction(store.snapshot());
}

const put = (tx: Transaction, document: ReturnType<typeof networkDocument>) =>
  putNetwork(tx, { document, networkId: `id-${document.name}`, caller: 'admin/test' }, 1);

/** A workload with one copy in the network. */
function use(
  tx: Transaction,
  network: string,
  { name = 'web', addresses = [] as string[], replicas = 1 } = {},
): void {
  const web = workloadRecord(
    { replicas, network: 'bridged', networks: [{ network, addresses }] },
    { metadata: { name, id: `id-${name}` } },
  );
  tx.put('workload', web.metadata.id, web);
  const record = instanceRecord(web, name.length, { node });
  const assigned = { ...record.spec.assigned, ...assignAddresses(tx, record, node) };
  tx.put('instance', record.metadata.id, { ...record, spec: { ...record.spec, assigned } });
}

function refusal(
  act: () => unknown,
): Pick<DroverError, 'kind' | 'message' | 'reason' | 'faults'> | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (error instanceof DroverError) return error;
    throw error;
  }
}

describe('putNetwork', () => {
  it('makes, changes, and leaves alone what is the same', async () => {
    const tx = await begin();
    expect(put(tx, networkDocument())).toEqual({ networkId: 'id-lan', change: 'created' });
    expect(put(tx, networkDocument())).toEqual({ networkId: 'id-lan', change: 'unchanged' });
    expect(put(tx, networkDocument('lan', { mtu: 1400 }))).toEqual({
      networkId: 'id-lan',
      change: 'changed',
    });
    expect(put(tx, { ...networkDocument('lan', { mtu: 1400 }), labels: { a: 'b' } }).change).toBe('changed');
    expect(tx.named('network', 'lan')).toMatchObject({
      metadata: { name: 'lan', generation: 2, labels: { a: 'b' } },
      spec: { bridge: 'drv-lan', managedBridge: true, mtu: 1400 },
    });
  });

  it('keeps to the revision that was expected', async () => {
    const tx = await begin();
    const document = { ...networkDocument(), expectedRevision: 7 };
    expect(refusal(() => put(tx, document))).toMatchObject({ kind: 'aborted', reason: 'revision-changed' });
  });

  const bridged = (name: string, bridge: string, cidr: string, changes = {}) =>
    networkDocument(name, { bridge, subnets: [subnet(cidr)], ...changes });
  it.each([
    [
      'an overlapping subnet',
      bridged('b', 'br1', '10.20.0.128/25'),
      /overlaps network a: .*10\.20\.0\.0\/24/,
    ],
    ['the same bridge', bridged('b', 'br0', '10.21.0.0/24'), /would share bridge br0 with network a/],
    ['the same bridge, without addresses', networkDocument('b', { bridge: 'br0', subnets: [] }), undefined],
    ['the same bridge in another VLAN', bridged('b', 'br0', '10.21.0.0/24', { vlan: 7 }), undefined],
    ['a subnet beside', bridged('b', 'br1', '10.20.1.0/24'), undefined],
    [
      'a subnet that every node has for itself',
      networkDocument('b', { nodePrivate: true, subnets: [subnet('10.20.0.0/16')] }),
      undefined,
    ],
  ])('lets networks not get in the way of each other: %s', async (_title, document, wanted) => {
    const tx = await begin();
    put(tx, bridged('a', 'br0', '10.20.0.0/24'));
    const found = refusal(() => put(tx, document));
    if (wanted === undefined) expect(found).toBeUndefined();
    else expect(found).toMatchObject({ kind: 'failed-precondition', message: expect.stringMatching(wanted) });
  });

  it('gives no second network what one without addresses shares with another', async () => {
    const tx = await begin();
    put(tx, bridged('a', 'br0', '10.20.0.0/24'));
    put(tx, networkDocument('b', { bridge: 'br0', subnets: [] }));
    const later = refusal(() => put(tx, bridged('b', 'br0', '10.21.0.0/24')));
    expect(later?.message).toMatch(/would share bridge br0 with network a/);
  });

  it('refuses two subnets on bridges of ours that overlap, each node alone or not', async () => {
    const tx = await begin();
    put(tx, networkDocument());
    const own = networkDocument('own', { nodePrivate: true, subnets: [subnet('10.20.0.0/16')] });
    expect(refusal(() => put(tx, own))?.message).toMatch(/overlaps network lan/);
  });

  it.each([
    ['a subnet elsewhere', { subnets: [subnet('10.21.0.0/24')] }, /10\.20\.0\.2 of web-00003/],
    ['no subnet', { subnets: [] }, /would leave addresses outside that instances hold/],
    [
      'the held address as gateway',
      { subnets: [subnet('10.20.0.0/24', { gateway: '10.20.0.2' })] },
      /10\.20\.0\.2/,
    ],
    ['another bridge', { bridge: 'br0' }, /cannot have another bridge while instances are in it: web-00003/],
    ['another VLAN', { vlan: 3 }, /cannot have another vlan .*web-00003/],
    ['addresses of the nodes', { nodePrivate: true }, /cannot have another nodePrivate/],
    ['a wider subnet', { subnets: [subnet('10.20.0.0/16')] }, undefined],
    [
      'a range that the held one is not of',
      { subnets: [subnet('10.20.0.0/24', { first: '10.20.0.9' })] },
      undefined,
    ],
    ['another MTU', { mtu: 1400 }, undefined],
  ])('takes nothing away from instances: %s', async (_title, spec, wanted) => {
    const tx = await begin();
    put(tx, networkDocument());
    use(tx, 'lan');
    const found = refusal(() => put(tx, networkDocument('lan', spec)));
    if (wanted === undefined) expect(found).toBeUndefined();
    else expect(found).toMatchObject({ kind: 'failed-precondition', message: expect.stringMatching(wanted) });
  });

  it('takes no address away that a workload names and nobody holds yet', async () => {
    const tx = await begin();
    put(tx, networkDocument());
    const web = workloadRecord({ networks: [{ network: 'lan', addresses: ['10.20.0.200'] }] });
    tx.put('workload', web.metadata.id, web);
    const found = refusal(() => put(tx, networkDocument('lan', { subnets: [subnet('10.20.0.0/25')] })));
    expect(found?.message).toMatch(/that workloads name: 10\.20\.0\.200 of web/);
  });
});

describe('removeNetwork', () => {
  const removal = { project: 'default', name: 'lan', caller: 'admin/test' };

  it('names the workloads that name it, then the instances that are left', async () => {
    const tx = await begin();
    put(tx, networkDocument());
    use(tx, 'lan');
    const found = refusal(() => removeNetwork(tx, removal, 1));
    expect(found).toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringMatching(/workloads: web$/),
    });
    tx.delete('workload', 'id-web');
    expect(refusal(() => removeNetwork(tx, removal, 1))?.message).toMatch(/instances: web-00003$/);
  });

  it('removes what nobody uses; a second time there is none', async () => {
    const tx = await begin();
    put(tx, networkDocument());
    removeNetwork(tx, removal, 1);
    expect(tx.named('network', 'lan')).toBeUndefined();
    expect(refusal(() => removeNetwork(tx, removal, 1))?.kind).toBe('not-found');
  });
});

describe('checkNetworkUses', () => {
  const check = (tx: Transaction, name = 'web'): string[] =>
    (
      refusal(() => checkNetworkUses(tx, [{ name, project: 'default', prefix: 'documents[0].' }]))?.faults ??
      []
    ).map(({ field, message }) => `${field}: ${message}`);
  const asks = (
    tx: Transaction,
    addresses: string[],
    { network = 'lan', name = 'web', replicas = 1 } = {},
  ): void => {
    const head = { metadata: { name, id: `id-${name}` } };
    const record = workloadRecord({ replicas, networks: [{ network, addresses }] }, head);
    tx.put('workload', record.metadata.id, record);
  };

  it('names the network that there is not, and the nearest', async () => {
    const tx = await begin();
    put(tx, networkDocument());
    asks(tx, [], { network: 'lam' });
    expect(check(tx)).toEqual([
      'documents[0].networks[0].name: there is no network "lam"; did you mean "lan"?',
    ]);
  });

  it('names every address that cannot be', async () => {
    const tx = await begin();
    put(tx, networkDocument());
    use(tx, 'lan', { name: 'other', addresses: ['10.20.0.7'] });
    asks(tx, ['10.20.0.9'], { name: 'third' });
    asks(tx, ['10.20.0.5', '10.21.0.5', '10.20.0.1', '10.20.0.7', '10.20.0.9'], { replicas: 6 });
    expect(check(tx)).toEqual([
      'documents[0].networks[0].addresses: has 5 of IPv4 for 6 copies; wanted one for each',
      'documents[0].networks[0].addresses[1]: 10.21.0.5 lies in no subnet of network lan',
      'documents[0].networks[0].addresses[2]: 10.20.0.1 is the gateway in network lan',
      'documents[0].networks[0].addresses[3]: 10.20.0.7 is held by other-00005',
      'documents[0].networks[0].addresses[4]: 10.20.0.9 is named by workload third, too',
    ]);
  });

  it('takes the addresses that its own copies hold', async () => {
    const tx = await begin();
    put(tx, networkDocument());
    use(tx, 'lan', { addresses: ['10.20.0.7'] });
    expect(check(tx)).toEqual([]);
  });
});
