/** One fleet of real processes on simulated hosts, from an apply to nothing left. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fleet, startFleet } from '../../scripts/fleet.ts';
import { prepareHost } from '../../scripts/host.ts';
import { until } from '../until.ts';
import { apply, ask, instancesOf, nodesReady, remove, running, specText, traces } from './drive.ts';

let fleet: Fleet;
let undo: () => void;
let image: string;

beforeAll(async () => {
  undo = prepareHost(() => {});
  fleet = await startFleet({ hosts: 2, say: () => {} });
  image = await fleet.publishImage('small', '1');
}, 120_000);

afterAll(async () => {
  const swept = await fleet?.tearDown();
  undo?.();
  expect(swept).toEqual([]);
}, 60_000);

describe('a fleet', () => {
  it('places, runs, scales, shows, follows, enters, signals and removes a workload', async () => {
    await apply(fleet, specText('web', image, { replicas: 2 }), '--wait');
    const first = await running(fleet, 'web', 2);
    expect(new Set(first.map(({ node }) => node))).toEqual(new Set(['h1', 'h2']));

    const name = first[0]?.metadata.name ?? '';
    const logs = await fleet.drover(['logs', name]);
    expect(logs.stdout).toContain('started as web');
    const exec = await fleet.drover(['exec', name, '--', '/bin/sh', '-c', 'echo inside; cat; exit 7'], {
      input: 'typed',
    });
    expect(exec).toMatchObject({ code: 7, stdout: 'inside\ntyped' });

    expect((await fleet.drover(['scale', 'web', '4', '--wait'])).code).toBe(0);
    const four = await running(fleet, 'web', 4);
    expect(four.map(({ metadata }) => metadata.name)).toEqual(
      expect.arrayContaining(first.map(({ metadata }) => metadata.name)),
    );

    // KILL: the first process of a PID namespace ignores every other signal that it has no handler for.
    expect((await fleet.drover(['kill', name, '--signal', 'KILL'])).code).toBe(0);
    await until(
      async () => (await instancesOf(fleet, 'web')).some((one) => (one.observed?.restarts ?? 0) > 0),
      {
        what: 'the agent to start it again',
        deadlineMs: 30_000,
        everyMs: 200,
      },
    );
    await running(fleet, 'web', 4);

    await remove(fleet, 'web');
    expect(await instancesOf(fleet, 'web')).toEqual([]);
    expect(traces(fleet)).toEqual([]);
  }, 180_000);

  it('updates one at a time and says what a plan would do', async () => {
    await apply(fleet, specText('site', image, { replicas: 2 }), '--wait');
    const before = await running(fleet, 'site', 2);
    const changed = specText('site', image, { replicas: 2, env: { NAME: 'second' } });
    const plan = await fleet.drover(['plan', '-f', '-', '-o', 'json'], { input: changed });
    expect(plan.code).toBe(3);
    expect(plan.stdout).toContain('env.NAME');
    await apply(fleet, changed, '--wait');
    const after = await running(fleet, 'site', 2);
    const kept = after.filter((one) => before.some(({ metadata }) => metadata.id === one.metadata.id));
    expect(kept).toEqual([]);
    expect((await fleet.drover(['plan', '-f', '-'], { input: changed })).code).toBe(0);
    await remove(fleet, 'site');
  }, 180_000);

  it('answers 7 for what fits nowhere, and says why for every node', async () => {
    const greedy = specText('greedy', image, { resources: { memory: '900GiB' } });
    const { code, stderr } = await fleet.drover(['apply', '-f', '-', '--wait', '--timeout', '30s'], {
      input: greedy,
    });
    expect(code).toBe(7);
    expect(stderr).toMatch(/0 of 2/);
    await remove(fleet, 'greedy');
  }, 120_000);

  it('keeps guests, output and exit codes through kill -9 of an agent', async () => {
    const short = { command: ['/bin/sh', '-c', 'sleep 3; exit 5'], restart: { policy: 'never' } };
    await apply(fleet, specText('short', image, short), '--detach');
    const [row] = await running(fleet, 'short', 1);
    const host = fleet.hosts.find(({ name }) => name === row?.node);
    if (host === undefined) throw new Error('not placed');
    await fleet.stopAgent(host, 'SIGKILL');
    await until(() => !isAlive(row?.observed?.pid ?? 0), {
      what: 'the guest to end without its agent',
      deadlineMs: 20_000,
    });
    fleet.startAgent(host);
    const exited = await until(
      async () => {
        const [one] = await ask<
          { observed?: { phase?: string; exit?: { code?: number; unknown?: boolean } } }[]
        >(fleet, 'get', 'instances');
        return one?.observed?.phase === 'PHASE_EXITED' ? one.observed.exit : undefined;
      },
      { what: 'the exit to be reported', deadlineMs: 30_000, everyMs: 200 },
    );
    expect(exited).toMatchObject({ code: 5 });
    expect(exited.unknown ?? false).toBe(false);
    await remove(fleet, 'short');
  }, 120_000);

  it('loses nothing that was acknowledged to kill -9 of the control plane in mid-apply', async () => {
    await apply(fleet, specText('kept', image, { replicas: 3 }), '--detach');
    await fleet.stopControlPlane('SIGKILL');
    await fleet.startControlPlane();
    const rows = await running(fleet, 'kept', 3, 90_000);
    const pids = rows.map(({ observed }) => observed?.pid);
    await fleet.stopControlPlane('SIGKILL');
    expect(pids.every((pid) => isAlive(pid ?? 0))).toBe(true);
    await fleet.startControlPlane();
    await nodesReady(fleet, 2);
    expect(
      (await running(fleet, 'kept', 3)).map(({ observed }) => observed?.pid ?? 0).toSorted((a, b) => a - b),
    ).toEqual(pids.toSorted((a, b) => (a ?? 0) - (b ?? 0)));
    await remove(fleet, 'kept');
  }, 180_000);

  it('changes workloads while a host is cut off, and agrees with it afterwards', async () => {
    await apply(fleet, specText('away', image, { replicas: 2 }), '--wait');
    const before = await running(fleet, 'away', 2);
    const host = fleet.hosts[0];
    if (host === undefined) throw new Error('no host');
    host.host.cut();
    await until(async () => (await instancesOf(fleet, 'away')).some(({ stale }) => stale === true), {
      what: 'its instances to be stale',
      deadlineMs: 60_000,
      everyMs: 200,
    });
    const cutOff = before.find(({ node }) => node === host.name);
    expect(isAlive(cutOff?.observed?.pid ?? 0)).toBe(true);
    expect((await fleet.drover(['delete', 'away', '--yes', '--detach'])).code).toBe(0);
    expect((await instancesOf(fleet, 'away')).map(({ node }) => node)).toContain(host.name);
    host.host.mend();
    await until(async () => (await instancesOf(fleet, 'away')).length === 0, {
      what: 'the host to come back and remove its copy',
      deadlineMs: 90_000,
      everyMs: 200,
    });
    expect(traces(fleet)).toEqual([]);
  }, 240_000);

  it('lets root on a host read, stop and remove while the control plane is away', async () => {
    await apply(fleet, specText('alone', image), '--wait');
    const [row] = await running(fleet, 'alone', 1);
    const host = fleet.hosts.find(({ name }) => name === row?.node);
    const socket = path.join(host?.host.folder ?? '', 'run/drover/agent/agent.sock');
    const name = row?.metadata.name ?? '';
    await fleet.stopControlPlane('SIGKILL');
    try {
      const local = (...args: readonly string[]) => fleet.drover(['local', ...args, '--socket', socket]);
      const list = await local('list', '-o', 'json');
      expect(JSON.parse(list.stdout)).toMatchObject([{ displayName: name, phase: 'PHASE_RUNNING' }]);
      expect((await local('logs', name)).stdout).toContain('started as alone');
      expect((await local('logs', 'nobody')).code).toBe(5);
      expect((await local('stop', name)).code).toBe(0);
      expect(isAlive(row?.observed?.pid ?? 0)).toBe(false);
      expect((await local('remove', name)).code).toBe(2);
      expect((await local('remove', name, '--yes')).code).toBe(0);
      expect((await local('list', '-o', 'name')).stdout).toBe('');
    } finally {
      await fleet.startControlPlane();
    }
    await nodesReady(fleet, 2);
    // Absent is proof: another copy takes its place, under another name.
    const [next] = await running(fleet, 'alone', 1, 90_000);
    expect(next?.metadata.name).not.toBe(name);
    await remove(fleet, 'alone');
  }, 180_000);

  it('keeps secrets of the command line and of joining out of its logs', () => {
    const logs = [path.join(fleet.folder, 'control-plane.log'), ...fleet.hosts.map(({ logFile }) => logFile)];
    for (const file of logs) expect(readFileSync(file, 'utf8')).not.toMatch(/PRIVATE KEY|drover1\./);
  });
});

function isAlive(pid: number): boolean {
  try {
    return !/State:\s*[ZX]/.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
