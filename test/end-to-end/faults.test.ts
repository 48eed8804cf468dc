/** What a fleet of real processes survives, and what it must never do meanwhile: run twice, lose, leave. */
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type { OrderHead } from '../../control-plane/backends/backend.ts';
import { type Fleet, startFleet } from '../../scripts/fleet.ts';
import { prepareHost } from '../../scripts/host.ts';
import { until } from '../until.ts';
import {
  apply,
  ask,
  exitOf,
  instancesOf,
  nodesReady,
  outcome,
  remove,
  running,
  specText,
  traces,
} from './drive.ts';
import { installFaultyCrun } from './faulty-crun.ts';
import {
  expectNothingTwice,
  firstProcesses,
  hostOf,
  isAlive,
  readText,
  removeByHand,
  runtimeTraces,
  starts,
} from './guests.ts';
import { giveOwnOrders, orderOf } from './own-orders.ts';
import { applyUntilRefused, moveToSmallDisk } from './small-disk.ts';

let fleet: Fleet;
let undo: () => void;
let image: string;

beforeAll(async () => {
  undo = prepareHost(() => {});
  fleet = await startFleet({ hosts: 2, say: () => {} });
  image = await fleet.publishImage('small', '1');
}, 120_000);

afterEach(async () => {
  for (const host of fleet.hosts) {
    host.host.mend();
    if (host.agent === undefined) fleet.startAgent(host);
  }
  const left = await ask<{ metadata: { name: string } }[]>(fleet, 'get', 'workloads');
  await Promise.all(left.map(({ metadata }) => remove(fleet, metadata.name)));
  expect([...traces(fleet), ...runtimeTraces(fleet)]).toEqual([]);
}, 90_000);

afterAll(async () => {
  const swept = await fleet?.tearDown();
  undo?.();
  expect(swept).toEqual([]);
}, 60_000);

describe('tools of the host', () => {
  it('lets no crun that hangs, lies or babbles stop what it does not run', { timeout: 180_000 }, async () => {
    const shims = await Promise.all(fleet.hosts.map(installFaultyCrun));
    try {
      const broken = ['create-hang', 'create-late', 'create-garbage', 'start-hang', 'start-garbage'];
      const documents = [...broken, 'start-late', 'delete-hang'].map((mode) =>
        specText(mode, image, { env: { NAME: mode, SHIM: mode } }),
      );
      await apply(fleet, documents.join('\n---\n'), '--detach');
      await apply(fleet, specText('healthy', image, { replicas: 2 }), '--wait', '--timeout', '15s');
      const [one] = await running(fleet, 'healthy', 2, 5000);
      const exec = await fleet.drover(['exec', one?.metadata.name ?? '', '--', '/bin/sh', '-c', 'exit 3']);
      expect(exec.code).toBe(3);
      await running(fleet, 'start-late', 1, 10_000);
      await running(fleet, 'delete-hang', 1, 10_000);
      const slowRemoval = remove(fleet, 'delete-hang');
      await remove(fleet, 'healthy');
      for (const mode of broken) {
        expect([mode, (await instancesOf(fleet, mode))[0]?.observed?.pid ?? 0]).toEqual([mode, 0]);
      }
      await slowRemoval;
      for (const shim of shims) shim.cure();
      for (const mode of [...broken, 'start-late']) expectNothingTwice(fleet, await running(fleet, mode, 1));
    } finally {
      for (const shim of shims) await shim.remove();
    }
  });

  it('says that it does not know how a guest ended whose monitor died', async () => {
    await apply(fleet, specText('lost', image, { restart: { policy: 'never' } }), '--wait');
    const [row] = await running(fleet, 'lost', 1);
    const { stateDir } = hostOf(fleet, row);
    const id = row?.metadata.id ?? '';
    process.kill(Number(readFileSync(path.join(stateDir, 'guests', id, 'conmon.pid'), 'utf8')), 'SIGKILL');
    expect(isAlive(row?.observed?.pid ?? 0)).toBe(true);
    const killed = await fleet.drover(['kill', row?.metadata.name ?? '', '--signal', 'KILL']);
    expect(killed).toMatchObject({ code: 0 });
    expect(await exitOf(fleet, 'lost')).toMatchObject({ unknown: true });
  });
});

describe('sessions and orders', () => {
  it('carries out no order twice, none out of order, and says why', { timeout: 90_000 }, async () => {
    await apply(fleet, specText('seed', image), '--wait');
    const [row] = await running(fleet, 'seed', 1);
    const host = hostOf(fleet, row);
    await fleet.stopControlPlane();
    try {
      await using own = await giveOwnOrders(fleet);
      const spec = own.specOf(host, row?.metadata.id ?? '');
      const instanceId = systemRandom.uuidV7() as InstanceId;
      const { backend, signal } = own;
      const order = (generation: number, requestId?: string) =>
        orderOf(host, instanceId, generation, requestId);
      const ensure = (head: OrderHead, changed = spec): Promise<unknown> =>
        backend.ensureInstance(head, changed, signal);
      const other = { ...spec, env: { ...spec.env, MORE: 'x' } };

      const first = order(2);
      await until(
        () =>
          ensure(first).then(
            () => true,
            () => false,
          ),
        {
          what: 'the agent to take the order',
          deadlineMs: 40_000,
          everyMs: 100,
        },
      );
      await Promise.all([ensure(first), ensure(first), ensure(order(2)), ensure(order(2))]);
      await expect(ensure(first, other)).rejects.toMatchObject({ reason: 'request-id-reused' });
      await expect(ensure(order(3, first.requestId))).rejects.toMatchObject({ reason: 'request-id-reused' });
      await expect(ensure(order(2), other)).rejects.toMatchObject({ reason: 'generation-reused' });
      await expect(ensure(order(1))).rejects.toMatchObject({ reason: 'stale-generation' });
      await until(() => starts(host, instanceId) > 0, { what: 'it to begin', deadlineMs: 20_000 });

      await backend.stopInstance(order(5), 0, signal);
      expect(firstProcesses(host, instanceId)).toEqual([]);
      await expect(ensure(order(4))).rejects.toMatchObject({ reason: 'stale-generation' });
      await ensure(first);
      const stale = backend.stopInstance(order(4), 0, signal);
      await expect(stale).rejects.toMatchObject({ reason: 'stale-generation' });
      expect([firstProcesses(host, instanceId), starts(host, instanceId)]).toEqual([[], 1]);

      const removal = order(6);
      await backend.removeInstance(removal, 0, signal);
      await backend.removeInstance(removal, 0, signal);
      await expect(ensure(order(7))).rejects.toMatchObject({ reason: 'removed' });
    } finally {
      await fleet.startControlPlane();
    }
    await nodesReady(fleet, 2);
    expectNothingTwice(fleet, await running(fleet, 'seed', 1));
  });

  it('agrees again after every cut with orders in flight', { timeout: 150_000 }, async () => {
    const flap = async (): Promise<void> => {
      for (const pauseMs of [300, 700, 1100]) {
        await systemClock.sleep(pauseMs);
        for (const { host } of fleet.hosts) host.cut();
        await systemClock.sleep(50);
        for (const { host } of fleet.hosts) host.mend();
      }
    };
    const applying = apply(fleet, specText('flap', image, { replicas: 8 }), '--detach');
    await Promise.all([applying, flap()]);
    expectNothingTwice(fleet, await running(fleet, 'flap', 8));
    const scaling = fleet.drover(['scale', 'flap', '3', '--detach']);
    await Promise.all([scaling, flap()]);
    expectNothingTwice(fleet, await running(fleet, 'flap', 3));
  });
});

describe('kill -9 of agents', () => {
  it('leaves nothing and doubles nothing at twenty random moments', { timeout: 180_000 }, async () => {
    await apply(fleet, specText('storm', image, { replicas: 2, stop: { grace: '1s' } }), '--wait');
    const [first] = await running(fleet, 'storm', 2);
    const inside = ['exec', first?.metadata.name ?? '', '--', '/bin/sleep', '1'];
    const rounds = [6, 2, 5, 2, 5].flatMap((count) => [['scale', 'storm', `${count}`, '--detach'], inside]);
    let replicas = 2;
    for (const args of rounds) {
      if (args[0] === 'scale') replicas = Number(args[2]);
      const acting = fleet.drover(args);
      await systemClock.sleep(300 + Math.random() * 900);
      await Promise.all(fleet.hosts.map((host) => fleet.stopAgent(host, 'SIGKILL')));
      for (const host of fleet.hosts) fleet.startAgent(host);
      await acting;
      expectNothingTwice(fleet, await running(fleet, 'storm', replicas));
    }
  });

  it('keeps the exit code of a command inside, and the guest in hand', { timeout: 90_000 }, async () => {
    await apply(fleet, specText('held', image), '--wait');
    const [row] = await running(fleet, 'held', 1);
    const host = hostOf(fleet, row);
    const [name = '', id = ''] = [row?.metadata.name, row?.metadata.id];
    const command = ['exec', name, '--', '/bin/sh', '-c', 'echo begun; sleep 2; exit 9'];
    const inside = fleet.drover(command);
    const folder = path.join(host.stateDir, 'execs');
    const before = new Set(readdirSync(folder));
    const execId = await until(() => readdirSync(folder).find((one) => !before.has(one)), {
      what: 'the command to begin',
    });
    await until(() => isAlive(Number(readText(path.join(folder, execId, 'pid')))), { what: 'its process' });
    await fleet.stopAgent(host, 'SIGKILL');
    fleet.startAgent(host);
    expect((await inside).code).not.toBe(0);
    const exit = await until(() => readText(path.join(folder, execId, 'exits', id)), {
      what: 'its exit code',
    });
    expect(exit.trim()).toBe('9');
    await nodesReady(fleet, 2);
    expect((await fleet.drover(['kill', name, '--signal', 'KILL'])).code).toBe(0);
    await until(async () => (await instancesOf(fleet, 'held'))[0]?.observed?.restarts === 1, {
      what: 'the guest to be started again',
      deadlineMs: 20_000,
      everyMs: 200,
    });
  });
});

describe('the control plane', () => {
  it('refuses on a full disk, goes on reading, and works again with room', { timeout: 90_000 }, async () => {
    await apply(fleet, specText('kept', image), '--wait');
    const [before] = await running(fleet, 'kept', 1);
    await using disk = await moveToSmallDisk(fleet);
    disk.fill();
    expect(await applyUntilRefused(fleet, image)).toContain('resource-exhausted');
    expect(await instancesOf(fleet, 'kept')).toMatchObject([{ metadata: before?.metadata }]);
    disk.makeRoom();
    await apply(fleet, specText('after', image), '--wait');
    expectNothingTwice(fleet, [...(await running(fleet, 'kept', 1)), ...(await running(fleet, 'after', 1))]);
  });
});

describe('one of each', () => {
  it('ends a second agent and a second control plane at once, saying why', async () => {
    const [host] = fleet.hosts;
    if (host === undefined) throw new Error('no host');
    const agent = [drover, 'agent', '--config', path.join(fleet.folder, host.name, 'agent.yaml')];
    expect(await outcome(host.host.spawn(agent, { stdio: 'pipe' }))).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/another agent runs on/),
    });
    const stateDir = path.join(fleet.folder, 'control-plane');
    const second = spawn(drover, ['control-plane', '--state-dir', stateDir, '--listen', '127.0.0.1:0']);
    expect(await outcome(second)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/another|in use|locked/),
    });
    await nodesReady(fleet, 2);
  });
});

describe('nodes', () => {
  it('joins with a token once', async () => {
    const { token } = await ask<{ token: string }>(fleet, 'node', 'token', 'h3');
    const join = (name: string) => {
      const stateDir = path.join(fleet.folder, name);
      const command = [drover, 'node', 'join', token, '--state-dir', stateDir];
      return outcome(spawn(command[0] ?? '', command.slice(1), { stdio: 'pipe' }));
    };
    expect(await join('h3')).toMatchObject({ code: 0 });
    expect(await join('h3-again')).toMatchObject({ code: 1, stderr: expect.stringMatching(/token.*used/i) });
    expect((await fleet.drover(['node', 'remove', 'h3', '--yes'])).code).toBe(0);
  });

  // The last one: it costs the fleet a host.
  it('keeps a node with instances, and gives up a lost one', { timeout: 90_000 }, async () => {
    await apply(fleet, specText('moving', image, { replicas: 2 }), '--wait');
    const before = await running(fleet, 'moving', 2);
    const [stays, lost] = fleet.hosts;
    if (stays === undefined || lost === undefined) throw new Error('no hosts');
    const refused = await fleet.drover(['node', 'remove', lost.name, '--yes']);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/without instances/) });
    await running(fleet, 'moving', 2);

    const logged = readText(lost.logFile).length;
    expect((await fleet.drover(['node', 'remove', lost.name, '--lost', '--yes'])).code).toBe(0);
    await until(() => /session\.ended/.test(readText(lost.logFile).slice(logged)), {
      what: 'its session to end',
    });
    const after = await running(fleet, 'moving', 2);
    expect(after.map(({ node }) => node)).toEqual([stays.name, stays.name]);
    const [left] = before.filter(({ node }) => node === lost.name);
    expect(isAlive(left?.observed?.pid ?? 0)).toBe(true);
    expect((await ask<unknown[]>(fleet, 'get', 'nodes')).length).toBe(1);
    await removeByHand(lost, left?.metadata.id ?? '');
  });
});

const drover = path.resolve(import.meta.dirname, '../../drover');
