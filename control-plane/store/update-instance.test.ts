import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { Instance, NodeName, WorkloadSpec } from '#shared/model.ts';
import { networkDocument, subnet } from '../../test/fakes/networks.ts';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import { freeLeft } from './assign-addresses.ts';
import { bindInstance } from './bind-instance.ts';
import { instanceTemplate } from './instance-template.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import { putNetwork } from './put-network.ts';
import { scratchTransaction } from './scratch.ts';
import type { Transaction } from './store.ts';
import { updateInstance } from './update-instance.ts';

const project = 'default';
const newId = (): string => 'volume-1';
const networks = [{ network: 'lan', addresses: ['10.20.0.5'] }];
const claim = { name: 'data', mountPath: '/data', sizeMib: 10, pool: '', readOnly: false, keep: true };
const system = (spec: Partial<WorkloadSpec>, generation = 1) => {
  const all = { runtime: 'lxc', network: 'bridged', networks, volumes: [claim], ...spec } as const;
  const made = workloadRecord(all, { metadata: { generation } });
  return { ...made, resolved: made.resolved && { ...made.resolved, runtime: 'lxc' } };
};

function putLan(tx: Transaction, mtu: number): void {
  const document = networkDocument('lan', { subnets: [subnet('10.20.0.0/24')], mtu });
  putNetwork(tx, { document, networkId: 'id-lan', caller: 'test' }, 1);
}

/** One copy on h1, in a transaction that is never committed. */
async function begin(): Promise<{
  tx: Transaction;
  now(): Instance;
  update(spec: Partial<WorkloadSpec>): void;
}> {
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  const tx = scratchTransaction(store.snapshot());
  putLan(tx, 1500);
  const made = instanceRecord(system({}), 1, { node: undefined });
  const copy = { ...made, spec: { ...made.spec, runtime: 'lxc' } };
  tx.put('workload', 'workload-1', system({}));
  const { id } = copy.metadata;
  tx.put('instance', id, copy);
  bindInstance(tx, { id, project, node: 'h1' as NodeName, because: 'test', newId }, 1);
  return {
    tx,
    now: () => tx.get('instance', id) as Instance,
    update(spec) {
      const { metadata, spec: wanted, ...rest } = system(spec, 2);
      const template = instanceTemplate({ metadata, spec: wanted, ...rest });
      if (template === undefined) throw new Error('the record is resolved');
      const { placement } = wanted;
      updateInstance(tx, { id, project, template, placement, workloadGeneration: 2, newId }, 2);
    },
  };
}

describe('an update where an instance is', () => {
  it('of limits alone says nothing of a network that changed meanwhile', async () => {
    const { tx, now, update } = await begin();
    const before = now().spec;
    putLan(tx, 9000);
    const volumes = [{ ...claim, sizeMib: 20 }];
    update({ resources: { ...before.resources, memoryMib: 999 }, volumes });
    expect(now().spec).toEqual({ ...before, volumes, resources: { ...before.resources, memoryMib: 999 } });
    expect(tx.get('volume', 'volume-1')).toMatchObject({ sizeMib: 20, instanceId: now().metadata.id });
    update({ env: { A: 'b' } });
    expect(now().spec.assigned.attachments[0]).toMatchObject({ mtu: 9000, addresses: ['10.20.0.5/24'] });
    expect(now().leaving).toBeUndefined();
  });

  it('holds an address until nothing can use it, and takes it back if it is asked for again', async () => {
    const { tx, now, update } = await begin();
    const held = () => tx.heldAddresses('lan', 4).map(({ address }) => address);
    const [first] = now().spec.assigned.attachments;
    update({ networks: [{ network: 'lan', addresses: ['10.20.0.6'] }] });
    expect(held()).toEqual(['10.20.0.5', '10.20.0.6']);
    update({ networks: [] });
    update({ networks });
    expect(now().spec.assigned.attachments).toEqual([first]);
    expect(held()).toEqual(['10.20.0.5', '10.20.0.6']);
    freeLeft(tx, now());
    expect(held()).toEqual(['10.20.0.5']);
    expect(now().leaving).toBeUndefined();
  });
});
