import { existsSync, readdirSync, rmdirSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId, InstanceSpec, Order } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createAuthority, createKey, issueCertificate } from '#shared/tls.ts';
import { buildBusybox, writeLayout } from '../test/image-builder.ts';
import { until } from '../test/until.ts';
import { readConfig } from './config.ts';
import { startAgent } from './main.ts';

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
  await writeFile(file, JSON.stringify({ stateDir, runDir: path.join(folder, 'run'), ociRoots: [folder] }));
  return {
    stateDir,
    image: `oci:${layout}@${image.root.digest}`,
    start: () => startAgent(readConfig(['--config', file], {}).config, silentLog),
    async [Symbol.asyncDispose]() {
      const incarnation = (await readFile(path.join(stateDir, 'incarnation'), 'utf8')).slice(0, 8);
      for (const group of cgroupsOf(incarnation)) rmdirSync(group);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

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
    expect(left.flat()).toEqual([]);
  });
});
