import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createHost, orderFor, specFor, type TestHost } from '../test/agent-host.ts';
import { until } from '../test/until.ts';
import type { Agent } from './main.ts';
import { readMounts } from './volumes/mounts.ts';

const { signal } = new AbortController();

describe('a whole agent', () => {
  it('carries a real container through a restart, and leaves nothing', { timeout: 60_000 }, async () => {
    await using host = await createHost();
    const id = systemRandom.uuidV7() as InstanceId;
    let pid = 0;
    {
      await using agent = await host.start();
      await agent.instances.ensure(orderFor(id), specFor(host.image));
      const running = await until(
        async () => {
          const { state } = await agent.instances.inspect(id);
          return state.phase === 'running' ? state : undefined;
        },
        { what: 'running', deadlineMs: 20_000 },
      );
      expect(running).toMatchObject({ notEnforced: ['disk'], limits: { memoryMib: 64, pids: 64 } });
      ({ pid } = running);
      await expect(host.start()).rejects.toThrow(/another agent runs on/);
    }
    await using agent = await host.start();
    const { instances } = agent;
    expect((await instances.inspect(id)).state).toMatchObject({ phase: 'running', pid, restarts: 0 });
    const size = { columns: 80, rows: 24 };
    const start = { instance: id, command: ['/bin/sh', '-c', 'echo in; exit 3'], stdin: false, tty: false };
    const more = { env: {}, user: '', workingDir: '', project: '', size };
    const session = await instances.exec(id, { ...start, ...more }, signal);
    const outputs = [];
    for await (const output of session.output) outputs.push(output);
    expect(outputs.at(-1)).toMatchObject({ kind: 'exit', exit: { code: 3 } });
    const lines = [];
    const all = { tail: undefined, sinceMs: 0, follow: false, stream: undefined };
    for await (const line of instances.logs(id, all, signal))
      lines.push(Buffer.from(line.content).toString());
    expect(lines).toEqual(['up']);
    const stopped = await instances.stop(orderFor(id), undefined, systemClock.timeout(20_000));
    expect(stopped).toMatchObject({ phase: 'stopped', exit: { code: 5, unknown: false } });
    await instances.remove(orderFor(id), undefined, systemClock.timeout(20_000));
    const left = await Promise.all(
      ['guests', 'volumes', 'instances'].map((name) => readdir(path.join(host.stateDir, name))),
    );
    expect(left.flat().filter((name) => name !== 'write-probe')).toEqual([]);
  });
});

const nodeBase = 1_000_000;
const rangeSize = 65_536;

/** The guest's first process as the host sees it, and the owner of a file that it wrote. */
async function idsOf(host: TestHost, { instances }: Agent, id: InstanceId) {
  const state = await until(
    async () => {
      const found = (await instances.inspect(id)).state;
      return found.phase === 'running' ? found : undefined;
    },
    { what: `${id} running`, deadlineMs: 20_000 },
  );
  const root = path.join(host.stateDir, 'volumes', id, 'root');
  const file = path.join(root, 'tmp/written');
  const written = await until(async () => stat(file).catch(() => undefined), { what: 'a file of the guest' });
  const [, base, size] = (await readFile(`/proc/${state.pid}/uid_map`, 'utf8')).trim().split(/\s+/);
  const image = await stat(path.join(root, 'bin/busybox'));
  return { map: [Number(base), Number(size)], written: written.uid, image: image.uid };
}

const all = (base: number) => ({ map: [base, rangeSize], written: base, image: base });
const writer = (image: string): InstanceSpec => ({
  ...specFor(image),
  command: [
    '/bin/sh',
    '-c',
    'mkdir -p /tmp; echo x > /tmp/written; trap "exit 5" TERM; while true; do sleep 0.1; done',
  ],
});

describe('host ids of instances', () => {
  it('each has its own, keeps it over a restart, and gives it back', { timeout: 60_000 }, async () => {
    await using host = await createHost();
    const ids = [1, 2, 3].map(() => systemRandom.uuidV7() as InstanceId) as [
      InstanceId,
      InstanceId,
      InstanceId,
    ];
    const [first, second, third] = ids;
    {
      await using agent = await host.start();
      for (const id of [first, second]) await agent.instances.ensure(orderFor(id), writer(host.image));
      expect(await idsOf(host, agent, first)).toEqual(all(nodeBase + rangeSize));
      expect(await idsOf(host, agent, second)).toEqual(all(nodeBase + 2 * rangeSize));
    }
    const images = path.join(host.stateDir, 'images/roots');
    const [root = '', ...others] = await readdir(images);
    expect([root.replace(/^.{64}/, ''), others]).toEqual([`-0-${rangeSize}`, []]);
    expect((await stat(path.join(images, root))).mode & 0o777).toBe(0o700);
    await using agent = await host.start();
    const { instances } = agent;
    expect(await idsOf(host, agent, second)).toEqual(all(nodeBase + 2 * rangeSize));
    await instances.remove(orderFor(first), 0, systemClock.timeout(20_000));
    await instances.ensure(orderFor(third), writer(host.image));
    expect(await idsOf(host, agent, third)).toEqual(all(nodeBase + rangeSize));
    for (const id of [second, third]) await instances.remove(orderFor(id), 0, systemClock.timeout(20_000));
    expect((await readMounts()).filter(({ target }) => target.startsWith(host.stateDir))).toEqual([]);
  });

  it('an instance of before keeps those of the node; more than there are is refused', async () => {
    await using host = await createHost();
    const ids = [1, 2, 3].map(() => systemRandom.uuidV7() as InstanceId) as [
      InstanceId,
      InstanceId,
      InstanceId,
    ];
    const [old, own, surplus] = ids;
    const idRange = { base: nodeBase, size: rangeSize };
    await host.configure({ idRange });
    {
      await using agent = await host.start();
      await agent.instances.ensure(orderFor(old), writer(host.image));
      expect(await idsOf(host, agent, old)).toEqual(all(nodeBase));
      await agent.instances.stop(orderFor(old), 0, systemClock.timeout(20_000));
    }
    await host.configure({ idRange: { ...idRange, count: 1 } });
    await using agent = await host.start();
    const { instances } = agent;
    await instances.ensure({ ...orderFor(old), generation: 2 }, writer(host.image));
    await instances.ensure(orderFor(own), writer(host.image));
    expect(await idsOf(host, agent, old)).toEqual(all(nodeBase));
    expect(await idsOf(host, agent, own)).toEqual(all(nodeBase + rangeSize));
    const refused = instances.ensure(orderFor(surplus), writer(host.image));
    await expect(refused).rejects.toMatchObject({ kind: 'resource-exhausted' });
    for (const id of [old, own]) {
      const order = { ...orderFor(id), generation: 2 };
      await instances.remove(order, 0, systemClock.timeout(20_000));
    }
    expect(instances.list()).toEqual([]);
  }, 60_000);
});
