import { existsSync, readdirSync, rmdirSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId, InstanceSpec, Order } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createAuthority, createKey, issueCertificate } from '#shared/tls.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { readConfig } from '../agent/config.ts';
import { startAgent } from '../agent/main.ts';
import { buildBusybox, writeLayout } from './image-builder.ts';

const fleetId = '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0001';
/** A host that has joined a fleet whose control plane is away. */
export async function createHost() {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-main-'));
  await chmod(folder, 0o711);
  const stateDir = path.join(folder, 'state');
  await mkdir(path.join(stateDir, 'identity'), { recursive: true });
  const life = { nowMs: systemClock.nowMs(), lifeMs: 3_600_000 };
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

export type TestHost = Awaited<ReturnType<typeof createHost>>;

const cgroupsOf = (incarnation: string): string[] =>
  ['.', ...readdirSync('/sys/fs/cgroup')]
    .map((hierarchy) => path.join('/sys/fs/cgroup', hierarchy, `drover-${incarnation}`))
    .filter((group) => existsSync(group));

export const orderFor = (instanceId: InstanceId, generation = 1): Order => ({
  fleetId,
  fleetEpoch: 1,
  instanceId,
  generation,
  requestId: systemRandom.uuidV4(),
});

export const specFor = (image: string): InstanceSpec => ({
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
