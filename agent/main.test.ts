import { existsSync, readdirSync, rmdirSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId, InstanceSpec, Order } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createAuthority, createKey, issueCertificate } from '#shared/tls.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { buildBusybox, writeLayout } from '../test/image-builder.ts';
import { until } from '../test/until.ts';
import { readConfig } from './config.ts';
import { type Agent, startAgent } from './main.ts';
import { readMounts } from './volumes/mounts.ts';

const fleetId = '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0001';
const { signal } = new AbortController();

/** A host that has joined a fleet whose control plane is away. */
async function createHost() {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-main-'));
  await chmod(folder, 0o711);
  const stateDir = path.join(folder, 'state');
  await mkdir(path.join(stateDir, 'identity'), { recursive: true });
  const life = { nowMs: Date.now(), lifeMs: 3_600_000 };
  const authority = await createAuthority({ commonName: 'test', ...life });
  const key = await createKey();
  const identity = { fleetId, role: 'node', name: 'h1' } as const;
  const certificate = await issueCertificate({ authority, subject: key, identity, ...life });
  const stored = {
    fleetId,
    node: 'h1',
    address: '127.0.0.1:1',
    certificatePem: certificate.pem,
    keyPem: key.keyPem,
    authoritiesPem: authority.certificate.pem,
  };
  await writeFile(path.join(stateDir, 'identity/identity.json'), JSON.stringify(stored));
  const image = await buildBusybox();
  const layout = path.join(folder, 'layout');
  await writeLayout(layout, image, 'v1');
  const file = path.join(folder, 'agent.json');
  const configure = (more: object): Promise<void> =>
    writeFile(
      file,
      JSON.stringify({ stateDir, runDir: path.join(folder, 'run'), ociRoots: [folder], ...more }),
    );
  await configure({});
  return {
    stateDir,
    configure,
    image: `oci:${layout}@${image.root.digest}`,
    start: () => startAgent(readConfig(['--config', file], {}).config, silentLog),
    async [Symbol.asyncDispose]() {
      const incarnation = (await readFile(path.join(stateDir, 'incarnation'), 'utf8')).slice(0, 8);
      for (const group of cgroupsOf(incarnation)) rmdirSync(group);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

type TestHost = Awaited<ReturnType<typeof createHost>>;

const cgroupsOf = (incarnation: string): string[] =>
  ['.', ...readdirSync('/sys/fs/cgroup')]
    .map((hierarchy) => path.join('/sys/fs/cgroup', hierarchy, `drover-${incarnation}`))
    .filter((group) => existsSync(group));

const orderFor = (instanceId: InstanceId): Order => ({
  fleetId,
  fleetEpoch: 1,
  instanceId,
  generation: 1,
  requestId: systemRandom.uuidV4(),
});

const specFor = (image: string): InstanceSpec => ({
  runtime: 'crun',
  image,
  command: ['/bin/sh', '-c', 'trap "exit 5" TERM; echo up; while true; do sleep 0.1; done'],
  env: {},
  resources: { cpuMillicores: 500, memoryMib: 64, diskMib: 100, pids: 64 },
  network: 'none',
  restart: { policy: 'always', maxAttempts: 0 },
  stopGraceMs: 5000,
  displayName: 'web-aaaaa',
  workload: 'web',
  user: '',
  workingDir: '',
  imageCredential: '',
  ...plainGuestConfig,
  assigned: emptyAssignment,
});

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
