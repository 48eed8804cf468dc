import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import { createClient } from '#shared/rpc-client.ts';
import { mount } from '#shared/rpc-server.ts';
import { wireMinor } from '#shared/version.ts';
import { formatInstanceSpec, formatOrder, parseInstanceState } from '#shared/wire/instance.ts';
import { authenticateLocal, createSessionGate } from '../../agent/api/authenticate.ts';
import { createNodeReports } from '../../agent/api/node-reports.ts';
import { localRuntimeService, runtimeService } from '../../agent/api/runtime-service.ts';
import { until } from '../until.ts';
import { createAgentWorld, fleetId } from './agent-world.ts';

export const script = ['sh', '-c', 'trap "exit 0" TERM; echo hello; wait'];

/** The agent's interface, both ways in, over real sockets and a fake host. */
export async function openApi() {
  const world = await createAgentWorld();
  const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-api-'));
  const instances = await world.open();
  const node = {
    name: 'h1',
    labels: { zone: 'a' },
    agentVersion: '0.1.0',
    idmappedMounts: 'yes',
    allowedDevices: [],
    allowsPrivileged: false,
    stateDir: folder,
  };
  const fingerprint = async () => ({
    runtimes: [{ name: 'fake', version: '1', healthy: true, detail: '', capabilities: [] }],
    pools: [await world.volumes.fingerprint(new AbortController().signal)],
    network: {},
  });
  const countInstances = (): number => instances.list().length;
  const measured = { node, fingerprint, countInstances };
  const reports = await createNodeReports({ ...measured, clock: systemClock, log: silentLog });
  const gate = createSessionGate();
  const parts = {
    instances,
    reports,
    images: [world.images],
    bootId: 'boot-1',
    clock: systemClock,
    onHello: gate.open,
  };
  const session = await serve(path.join(folder, 's'), (server) =>
    mount(server, RuntimeServiceService, runtimeService(parts), { guard: gate.authenticate }),
  );
  const local = await serve(path.join(folder, 'l'), (server) =>
    mount(server, RuntimeServiceService, localRuntimeService(parts), { guard: authenticateLocal }),
  );
  const hello = {
    version: '0.1.0',
    wireMinor,
    capabilities: [],
    fleetId,
    fleetEpoch: 1n,
    clockMs: BigInt(systemClock.nowMs()),
  };
  return {
    world,
    instances,
    hello,
    session: session.client,
    local: local.client,
    async [Symbol.asyncDispose]() {
      for (const { client, server } of [session, local]) {
        client.close();
        server.forceShutdown();
      }
      reports.close();
      await world[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function serve(socket: string, add: (server: Server) => void) {
  const server = new Server();
  add(server);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  const client = createClient(RuntimeServiceService, `unix:${socket}`, credentials.createInsecure());
  return { server, client };
}

export type Api = Awaited<ReturnType<typeof openApi>>;

export async function ensureRunning(
  { world, session }: Api,
  more: Partial<InstanceSpec> = {},
): Promise<InstanceId> {
  const id = world.newId();
  const order = formatOrder(world.order(id, 1));
  await session.ensureInstance({ order, spec: formatInstanceSpec(world.spec(script, more)) });
  await until(
    async () => {
      const { state } = await session.inspectInstance({ instanceId: id });
      return parseInstanceState(state).phase === 'running';
    },
    { what: 'running' },
  );
  return id;
}
