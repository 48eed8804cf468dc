/**
 * All instances of one node, listed through a real agent's gRPC interface: by its control plane over the
 * mutually authenticated session, and by root over the socket on the host. Nothing may be spawned for it.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { Phase } from '#shared/gen/drover/model/v1/model.ts';
import { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createClient, type RpcClient } from '#shared/rpc-client.ts';
import { version, wireMinor } from '#shared/version.ts';
import { encodeRecord, type InstanceRecord } from '../../agent/instances/record.ts';
import { passableDirectory } from '../passable-directory.ts';
import { until } from '../until.ts';
import { type Figure, median } from './parts/figure.ts';
import { openProcess } from './parts/instance-child.ts';
import { fleetId, listen, removeGroups, specFor } from './parts/instance-host.ts';

const count = 1000;
const rounds = 15;
const warmUpRounds = 10;
const image = `registry.example/web@sha256:${'a'.repeat(64)}`;

type Client = RpcClient<typeof RuntimeServiceService>;
type Spawns = Readonly<Record<string, number>>;

/** As an agent has written it down that saw the instance end. */
function endedRecord(place: number): InstanceRecord {
  const atMs = Date.now() - 60_000;
  return {
    id: systemRandom.uuidV7() as InstanceId,
    generation: 1,
    spec: { ...specFor(image), displayName: `web-${place}`, restart: { policy: 'never', maxAttempts: 0 } },
    range: undefined,
    imageAsIs: false,
    rootPool: 'local',
    imageDigest: undefined,
    volumes: [],
    networked: false,
    replaced: undefined,
    limitsPending: false,
    rollback: undefined,
    rolledBack: undefined,
    intent: 'run',
    orders: [],
    run: 'ended',
    bootId: 'before',
    startedAtMs: atMs - 60_000,
    exit: { code: 0, unknown: false, outOfMemory: false, atMs },
    final: true,
    restarts: 0,
    attempts: 0,
    nextStartAtMs: 0,
    stopping: undefined,
  };
}

async function writeRecords(stateDir: string): Promise<void> {
  for (let place = 0; place < count; place += 1) {
    const record = endedRecord(place);
    const directory = path.join(stateDir, 'instances', record.id);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFile(path.join(directory, 'record.json'), encodeRecord(record), { mode: 0o600 });
  }
}

async function list(client: Client): Promise<{ readonly tookMs: number; readonly listed: number }> {
  const startMs = performance.now();
  let listed = 0;
  for await (const { phase, spec } of client.listInstances({}))
    if (phase === Phase.PHASE_EXITED && spec !== undefined) listed += 1;
  return { tookMs: performance.now() - startMs, listed };
}

const total = (spawns: Spawns): number => Object.values(spawns).reduce((sum, each) => sum + each, 0);

/** `prefix` goes before the names of its figures. */
async function measure(prefix: string, client: Client, spawns: () => Promise<Spawns>): Promise<Figure[]> {
  await until(async () => (await list(client)).listed === count, {
    what: `${count} instances`,
    deadlineMs: 60_000,
  });
  // A fresh process is slow in its first calls.
  for (let round = 0; round < warmUpRounds; round += 1) await list(client);
  const tookMs: number[] = [];
  const spawned: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const before = total(await spawns());
    const answer = await list(client);
    if (answer.listed !== count) throw new Error(`${answer.listed} of ${count} instances were listed`);
    tookMs.push(answer.tookMs);
    spawned.push(total(await spawns()) - before);
  }
  // The agent measures its node now and then, which may fall into one of the rounds, but not into each.
  const least = Math.min(...spawned);
  if (least > 0) throw new Error(`each listing spawned ${least} processes`);
  return [
    { name: `${prefix}ms`, value: Math.round(median(tookMs) * 10) / 10, unit: 'ms', goal: { atMost: 100 } },
    { name: `${prefix}max-ms`, value: Math.round(Math.max(...tookMs) * 10) / 10, unit: 'ms' },
    { name: `${prefix}spawns`, value: least, unit: 'spawns', goal: { atMost: 0 } },
  ];
}

export async function run(): Promise<readonly Figure[]> {
  await using cleanUp = new AsyncDisposableStack();
  const folder = cleanUp.use(await passableDirectory('bench'));
  const [stateDir, runDir] = [path.join(folder.path, 'state'), path.join(folder.path, 'run')];
  cleanUp.defer(() => removeGroups(stateDir));
  await writeRecords(stateDir);
  const { address, session } = await listen(folder.path, stateDir, cleanUp);
  const file = path.join(folder.path, 'agent.json');
  const idRange = { base: 1_000_000, size: 65_536 };
  await writeFile(file, JSON.stringify({ stateDir, runDir, idRange, controlPlane: address }));
  const agent = openProcess<Spawns>('./instance-agent.ts', file);
  cleanUp.defer(() => agent.end());
  const overSession = await session;
  cleanUp.defer(() => overSession.close());
  const clockMs = BigInt(Date.now());
  await overSession.hello({ version, wireMinor, capabilities: [], fleetId, fleetEpoch: 1n, clockMs });
  const socket = `unix:${path.join(runDir, 'agent.sock')}`;
  const local = createClient(RuntimeServiceService, socket, credentials.createInsecure());
  cleanUp.defer(() => local.close());
  const spawns = (): Promise<Spawns> => agent.ask('spawns');
  return [...(await measure('', overSession, spawns)), ...(await measure('local-', local, spawns))];
}
