import { expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import { createMemoryJournal } from '../store/memory.ts';
import { openStore } from '../store/open-store.ts';
import type { Snapshot } from '../store/store.ts';
import { findInstance, findTargets, findWorkload } from './resolve-name.ts';

/** The workload web with its instance. */
async function withWeb(): Promise<{ readonly snapshot: Snapshot; readonly name: string }> {
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  const web = workloadRecord({ replicas: 1 }, { metadata: { name: 'web', id: 'id-web' } });
  const record = instanceRecord(web, 1);
  await store.transact((tx) => {
    tx.put('workload', web.metadata.id, web);
    tx.put('instance', record.metadata.id, record);
  });
  return { snapshot: store.snapshot(), name: record.metadata.name };
}

it('finds by name, and says what was meant or where the names are', async () => {
  const { snapshot, name } = await withWeb();
  expect(findInstance(snapshot, name, 'default').metadata.name).toBe(name);
  expect(findTargets(snapshot, 'web', 'default')).toHaveLength(1);
  const refused = (find: () => unknown): unknown => {
    try {
      return find();
    } catch (error) {
      return error;
    }
  };
  expect(refused(() => findWorkload(snapshot, 'wbe', 'default'))).toMatchObject({
    nextStep: 'did you mean "web"?',
  });
  expect(refused(() => findWorkload(snapshot, 'something-else', 'default'))).toMatchObject({
    kind: 'not-found',
    nextStep: 'see `drover get workloads`',
  });
  expect(refused(() => findInstance(snapshot, 'web', 'default'))).toMatchObject({
    kind: 'not-found',
    message: '"web" is a workload, where an instance was wanted',
    nextStep: `name one of its instances: ${name}`,
  });
});
