/** What tells whether something was begun: lists of tasks that are long, cut, or of a clock that was set. */
import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import type { SnapshotId } from '#shared/model.ts';
import {
  container,
  openQuickWorld,
  type ProxmoxWorld,
  runGuest,
  startAnew,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import { begunSince, type ListedTask } from './begun-tasks.ts';

const upid = (startS: number): string =>
  `UPID:pve1:0000AAAA:0000BBBB:${startS.toString(16).toUpperCase().padStart(8, '0')}:vzrollback:101:root@pam:`;
const [one, two, three, four] = [upid(1000), upid(2000), upid(3000), upid(4000)] as const;
const ended = (text: string): ListedTask => ({ upid: text, isRunning: false });
const running = (text: string): ListedTask => ({ upid: text, isRunning: true });

describe('what was begun since', () => {
  it.each<[string, readonly string[], readonly ListedTask[], string | undefined]>([
    ['is nothing where all were there', [two, one], [ended(two), ended(one)], undefined],
    ['is the only one there is', [], [ended(one)], one],
    ['is the one that is new', [one], [ended(two), ended(one)], two],
    ['is the one that runs', [one], [running(two), ended(one)], two],
    ['is one that began earlier by a clock that was set back', [three], [ended(two), ended(three)], two],
    ['is the newest of several', [one], [ended(three), ended(two), ended(one)], three],
    [
      'is no older one that comes into the list where another left it',
      [four, two],
      [ended(two), ended(one)],
      undefined,
    ],
    ['is the new one beside one that runs as before', [four], [running(four), ended(two)], two],
    ['is nothing where one ended that ran before', [four, one], [ended(four), ended(one)], undefined],
    ['is what is there where all of before are forgotten', [one], [ended(three)], three],
  ])('%s', (_name, before, now, found) => {
    expect(begunSince(before, now)).toBe(found);
  });
});

const { signal } = new AbortController();
const begun = ({ server }: ProxmoxWorld, type: string): number =>
  server.world.tasks.list('pve1').filter((task) => task.type === type).length;
const nodeOf = ({ server }: ProxmoxWorld) => {
  const node = server.world.nodes.get('pve1');
  if (node === undefined) throw new Error('there is no pve1');
  return node;
};

describe.each(['8.4.21', '9.2.11'] as const)('an answer that was lost, on %s', (version) => {
  it('leaves its task found among many newer ones, and by a clock that was set back', async () => {
    await using world = await openQuickWorld({ version });
    const order = await runGuest(world);
    const reboot = 'POST /nodes/{node}/lxc/{vmid}/status/reboot';
    const { SIGINT } = constants.signals;
    await world.backend.signalInstance({ ...order, requestId: randomUUID() }, SIGINT, signal);
    expect(begun(world, 'vzreboot')).toBe(1);
    nodeOf(world).skewMs = -600_000;
    const caller = { user: 'root@pam', authId: 'root@pam' };
    for (let count = 0; count < 60; count += 1)
      world.server.world.task({ node: 'pve1', type: 'vzstart', id: 900 + count, caller }, () => undefined);
    world.server.faults.loseAnswer(reboot);
    await world.backend.signalInstance({ ...order, requestId: randomUUID() }, SIGINT, signal);
    expect(begun(world, 'vzreboot')).toBe(2);
  });

  it('leaves a step back unknown once its node has forgotten its tasks, and is not made again', async () => {
    await using world = await openQuickWorld({ version });
    const spec = { ...container, rootPool: 'btr' };
    const order = { ...(await runGuest(world, spec)), requestId: randomUUID() };
    const snapshot = randomUUIDv7() as SnapshotId;
    await world.backend.createSnapshot(order, { id: snapshot, name: 'before' }, signal);
    const result = world.backend.rollbackSnapshot(order, snapshot, signal).catch(() => 'given up');
    await until(() => begun(world, 'vzrollback') === 1, { what: 'it is under way' });
    await world.backend.close();
    expect(await result).toBe('given up');
    await world.server.world.tasks.idle();
    world.server.world.tasks.forgetEnded('pve1');
    const sent = (): number =>
      world.server.requests.list().filter((each) => each.endsWith('rollback')).length;
    const backend = await startAnew(world);
    try {
      await expect(backend.rollbackSnapshot(order, snapshot, signal)).rejects.toMatchObject({
        kind: 'failed-precondition',
        reason: 'task-lost',
        message: expect.stringContaining('pve1 has forgotten its tasks of then') as string,
      });
      expect(sent()).toBe(1);
      await backend.rollbackSnapshot({ ...order, requestId: randomUUID() }, snapshot, signal);
      expect(sent()).toBe(2);
    } finally {
      await backend.close();
    }
  });
});
