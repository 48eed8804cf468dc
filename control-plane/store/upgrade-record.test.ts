import { describe, expect, it } from 'vitest';
import type { Instance, Node, Workload } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import { fakeFacts } from '../../test/fakes/node.ts';
import { rollout } from '../reconciler/rollout.ts';
import { isOutdated } from './instance-template.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import { recordKey } from './replica.ts';
import { upgradeRecord } from './upgrade-record.ts';

const workload = workloadRecord({ replicas: 1 });
const instance = instanceRecord(workload, 1);
const node = {
  metadata: { ...workload.metadata, name: 'h1', id: 'node-1' },
  cordoned: false,
  facts: fakeFacts('h1'),
  incarnation: 'i',
  bootId: 'b',
  certificateSerial: '01',
} satisfies Node;

const without = (record: object, ...fields: string[]): object =>
  Object.fromEntries(Object.entries(record).filter(([field]) => !fields.includes(field)));

const guestFields = Object.keys(plainGuestConfig);
const oldWorkload = {
  ...workload,
  spec: without(workload.spec, ...guestFields),
  resolved: without(workload.resolved ?? {}, 'runtimeBecause'),
};
const oldInstance = {
  ...instance,
  spec: without(instance.spec, 'assigned', ...guestFields),
  observed: without(instance.observed as object, 'addresses', 'rootPool'),
};
const oldNode = { ...node, facts: without(node.facts, 'pools', 'allowedDevices', 'allowsPrivileged') };

describe('records of an earlier version', () => {
  it('are read as if they had said nothing of what was not there yet', () => {
    expect(upgradeRecord('workload', oldWorkload as Workload)).toEqual(workload);
    expect(upgradeRecord('instance', oldInstance as unknown as Instance)).toEqual(instance);
    expect(upgradeRecord('node', oldNode as Node)).toEqual(node);
    const chosen = { ...oldWorkload, spec: { ...oldWorkload.spec, runtime: '' } };
    expect(upgradeRecord('workload', chosen as Workload)).toMatchObject({
      resolved: { runtimeBecause: 'chosen before there were rules' },
    });
  });

  it('keep what they do not have at all', () => {
    const young = { ...oldInstance, observed: undefined };
    expect(upgradeRecord('instance', young as unknown as Instance)).toMatchObject({
      observed: undefined,
      spec: { assigned: emptyAssignment },
    });
    expect(upgradeRecord('workload', { ...oldWorkload, resolved: undefined } as Workload)).toEqual({
      ...workload,
      resolved: undefined,
    });
    expect(upgradeRecord('node', { ...node, facts: undefined })).toEqual({ ...node, facts: undefined });
  });

  it('of the present version are the same objects', () => {
    for (const [kind, record] of [
      ['workload', workload],
      ['instance', instance],
      ['node', node],
    ] as const)
      expect(upgradeRecord(kind, record)).toBe(record);
  });

  it('move nobody when a store that holds them is opened', async () => {
    const journal = createMemoryJournal();
    await journal.load();
    const old = [
      ['workload', oldWorkload],
      ['instance', oldInstance],
      ['node', oldNode],
    ] as const;
    const writes = old.map(([kind, record]) => ({
      kind: 'put' as const,
      key: recordKey(kind, 'default', record.metadata.id),
      value: JSON.stringify(record),
    }));
    await journal.commit({ compares: [], writes });
    const store = await openStore({ journal, clock: createFakeClock() });
    const [read] = store.snapshot().list('workload') as [Workload];
    const copies = store.snapshot().instancesOfWorkload('web');
    expect(copies.map((each) => isOutdated(each, read))).toEqual([false]);
    const world = { nowMs: 1_000_000, stale: () => false };
    expect(rollout(read, copies, world)).toEqual([{ kind: 'finish' }]);
    await store.close();
  });
});
