/** What tasks of a cluster write reaches whoever follows the operation. */
import { afterEach, describe, expect, it } from 'vitest';
import type { OperationState } from '#shared/model.ts';
import { systemClock } from '#shared/clock.ts';
import { instanceRecord, workloadRecord } from '../../../../test/fakes/records.ts';
import { rootCaller } from '../../../../test/fakes/proxmox/caller.ts';
import { startProxmoxServer } from '../../../../test/fakes/proxmox-server.ts';
import { createSeededRandom } from '../../../../test/fakes/random.ts';
import {
  container,
  openProxmoxWorld,
  openQuickWorld,
  type ProxmoxWorld,
  specOf,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import { createMemoryJournal } from '../../../store/memory.ts';
import { openStore } from '../../../store/open-store.ts';
import { recordProgress } from '../../../store/record-progress.ts';
import { openClusterApi } from '../api/api.ts';
import type { GuestCall } from '../guests/guest-kind.ts';
import { perform } from './perform.ts';
import { createTasks } from './tasks.ts';

const { signal } = new AbortController();
const cleanUp: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const act of cleanUp.splice(0).toReversed()) await act();
});

const linesOf = ({ seen }: ProxmoxWorld): string[] =>
  seen.flatMap((one) => (one.kind === 'progress' ? one.lines : []));

describe('the log of a task', () => {
  it('is told of the guest that it works on, where it takes its time', async () => {
    await using world = await openQuickWorld({ pace: 20 });
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, container, signal);
    await until(() => linesOf(world).some((line) => line.includes('extracting archive')), {
      what: 'a line of its log',
    });
    const [first] = world.seen.filter((one) => one.kind === 'progress');
    expect(first).toMatchObject({ node: order.node, instanceId: order.instanceId });
  });

  it('is not asked for where the task is quick', async () => {
    await using world = await openProxmoxWorld();
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, container, signal);
    await until(
      () =>
        world.seen.some(
          (one) =>
            one.kind === 'instance' &&
            one.state.instanceId === order.instanceId &&
            one.state.phase === 'running',
        ),
      { what: 'running' },
    );
    expect(linesOf(world)).toEqual([]);
    expect(world.server.requests.list().filter((each) => each.endsWith('/log'))).toEqual([]);
  });

  it('tells the warnings of a task that went well', async () => {
    const server = await startProxmoxServer({ pace: 0.01 });
    cleanUp.push(() => server.close());
    const random = createSeededRandom(1);
    const api = openClusterApi('rig', specOf(server), { clock: systemClock, random });
    cleanUp.push(() => api.close());
    const tasks = createTasks({ cluster: 'rig', api, clock: systemClock });
    const place = { node: 'pve1', vmid: 100 };
    const about = { node: 'pve1', type: 'vzstart', id: 100, caller: rootCaller };
    const call: GuestCall = {
      method: 'POST /nodes/{node}/lxc/{vmid}/status/start',
      parameters: place,
      send: async () =>
        server.world.task(about, (task) => {
          task.log('starting');
          task.warn('old systemd inside');
        }).upid,
    };
    const told: string[] = [];
    const relay = (_place: unknown, line: string): void => void told.push(line);
    const end = await perform({ api, tasks, clock: systemClock, random, relay }, call, place, signal);
    expect([end, told]).toEqual([
      'done',
      ['starting', 'WARN: old systemd inside', 'TASK WARNINGS: 1', 'done, with a warning'],
    ]);
  });
});

describe('progress of an instance', () => {
  it('is a step of the operation that changes its workload, and of its own node alone', async () => {
    const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
    cleanUp.push(() => store.close());
    const workload = workloadRecord();
    const instance = instanceRecord(workload, 1);
    const { node } = instance;
    if (node === undefined) throw new Error('wanted a bound instance');
    const state: OperationState = 'running';
    const operation = {
      id: 'operation-1',
      kind: 'apply',
      project: 'default',
      workload: workload.metadata.name,
      generation: 1,
      state,
      total: 1,
      caller: 'admin/root',
      createdAtMs: 1,
      endedAtMs: 0,
      steps: [],
    } as const;
    const progress = { node, instanceId: instance.metadata.id as never, lines: ['one', 'two'] };
    await store.transact((tx) => {
      tx.put('workload', workload.metadata.id, workload);
      tx.put('instance', instance.metadata.id, instance);
      tx.put('operation', operation.id, operation);
    });
    await store.transact((tx) => recordProgress(tx, progress, 2));
    await store.transact((tx) => recordProgress(tx, { ...progress, node: 'other' as never }, 3));
    const steps = store
      .snapshot()
      .get('operation', operation.id)
      ?.steps.map(({ message }) => message);
    const { name } = instance.metadata;
    expect(steps).toEqual([`${name} on ${node}: one`, `${name} on ${node}: two`]);
  });
});
