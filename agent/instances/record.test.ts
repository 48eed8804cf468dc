import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { formatInstanceState } from '#shared/wire/instance.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { createAgentWorld, forever, reach } from '../../test/fakes/agent-world.ts';
import { bodyDigest } from './orders.ts';
import { createRecords, type InstanceRecord } from './record.ts';
import { standIn } from './transitions.ts';

const { signal } = new AbortController();
const id = '0198c1de-0000-7000-8000-000000000001' as InstanceId;
const newKeys: readonly string[] = [...Object.keys(plainGuestConfig), 'assigned'];
const recordKeys = [
  'imageAsIs',
  'rootPool',
  'imageDigest',
  'volumes',
  'networked',
  'replaced',
  'limitsPending',
];

const without = (value: object, keys: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).filter(([key]) => !keys.includes(key)));

/** As an agent wrote it that knew nothing of pools, data volumes and networks. */
function asOld(record: InstanceRecord): string {
  const orders = record.orders.map((order) => ({
    ...order,
    answer: order.answer && without(order.answer, ['addresses', 'rootPool']),
  }));
  const old = { ...without(record, recordKeys), spec: without(record.spec, newKeys), orders };
  const body = JSON.stringify(old);
  const sha256 = createHash('sha256').update(body).digest('hex');
  return `${JSON.stringify({ format: 1, sha256 })}\n${body}\n`;
}

const readBody = (text: string): InstanceRecord => JSON.parse(text.split('\n')[1] ?? '') as InstanceRecord;

describe('a record of an older agent', () => {
  it.each([
    ['with the ids of the node', undefined, false],
    ['with ids of its own', { base: 1_065_536, size: 65_536 }, true],
  ])('is read as it was meant: %s', async (_name, range, imageAsIs) => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-record-'));
    try {
      const records = createRecords(folder);
      await records.write(standIn(id, 'crun', { range }));
      await writeFile(path.join(folder, id, 'record.json'), asOld(standIn(id, 'crun', { range })));
      const [found] = await records.readAll();
      expect(found).toMatchObject({
        kind: 'record',
        record: {
          spec: { ...plainGuestConfig, assigned: emptyAssignment },
          imageAsIs,
          rootPool: '',
          volumes: [],
          networked: false,
          limitsPending: false,
        },
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('carries its guest on, answers its orders and is removed', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const order = world.order(world.newId(), 1);
    const { instanceId } = order;
    await instances.ensure(order, world.spec(forever));
    await reach(instances, instanceId, 'running');
    await instances.close();
    const file = path.join(world.folder, 'state/instances', instanceId, 'record.json');
    await writeFile(file, asOld(readBody(await readFile(file, 'utf8'))));

    const next = await world.open();
    const answer = await next.ensure(order, world.spec(forever));
    expect(formatInstanceState(answer)).toMatchObject({ instanceId, addresses: [], rootPool: '' });
    // The same spec in the words of today is no other one.
    await next.ensure(world.order(instanceId, 1), world.spec(forever));
    expect((await next.inspect(instanceId)).state).toMatchObject({ phase: 'running', rootPool: 'local' });
    expect(world.host.calls.get('start')).toBe(1);
    world.host.end(instanceId, 1);
    await reach(next, instanceId, 'running');
    await next.remove(world.order(instanceId, 1), undefined, signal);
    expect(await world.volumes.list(signal)).toEqual([]);
  });

  it('an order of before has the same name', async () => {
    await using world = await createAgentWorld();
    const spec = world.spec(forever);
    const order = world.order(id, 1);
    const old = without(spec, newKeys);
    expect(bodyDigest('ensure', order, spec)).toBe(bodyDigest('ensure', order, old));
    const other = { ...spec, startOrder: 1 };
    expect(bodyDigest('ensure', order, other)).not.toBe(bodyDigest('ensure', order, spec));
  });
});
