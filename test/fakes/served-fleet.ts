import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { fleetService } from '../../control-plane/api/fleet-service.ts';
import type { HandlerContext } from '../../control-plane/api/handler.ts';
import type { Backend } from '../../control-plane/backends/backend.ts';
import { createMemoryJournal } from '../../control-plane/store/memory.ts';
import { systemClock } from '#shared/clock.ts';
import { FleetServiceService } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { systemRandom } from '#shared/random.ts';
import { createClient } from '#shared/rpc-client.ts';
import { type CallContext, mount } from '#shared/rpc-server.ts';
import { simpleSpec, startControlPlane } from '../simulation/control-plane.ts';
import { until } from '../until.ts';
import { createFakeFleet } from './backend.ts';

const asAdmin = (context: CallContext): HandlerContext => ({
  ...context,
  caller: { role: 'admin', name: 'root' },
  certificateSerial: '',
});

/** The real handlers over a real connection, and fake nodes h1 and h2 behind them. */
export async function createServedFleet(changed: Partial<Backend> = {}) {
  const world = { clock: systemClock, random: systemRandom };
  const fleet = createFakeFleet(world);
  const backend = { ...fleet.backend, ...changed };
  const control = await startControlPlane({ ...world, backend, journal: createMemoryJournal() });
  for (const name of ['h1', 'h2']) {
    await control.enroll(name);
    fleet.addNode(name, { startMs: 1 });
  }
  const { store, view, reconciler } = control;
  const deps = { ...world, store, view, wake: reconciler.wake, backendOf: () => backend };
  const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-served-'));
  const address = `unix:${path.join(folder, 's')}`;
  const server = new Server();
  mount(server, FleetServiceService, fleetService(deps), { guard: asAdmin });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  const client = createClient(FleetServiceService, address, credentials.createInsecure());
  return {
    control,
    nodes: fleet.nodes,
    client,
    /** The names of its instances, all of them running. */
    async run(workload: string, replicas = 1): Promise<string[]> {
      const update = { readyAfterMs: 0 };
      await control.apply(workload, { ...simpleSpec, replicas, update });
      reconciler.wake();
      const running = () =>
        control
          .instances(workload)
          .filter(({ observed }) => typeof observed === 'object' && observed.phase === 'running');
      await until(() => running().length === replicas, { what: `${replicas} of ${workload} run` });
      return running().map(({ metadata }) => metadata.name);
    },
    async [Symbol.asyncDispose]() {
      client.close();
      server.forceShutdown();
      await control.close();
      await fleet.backend.close();
      await rm(folder, { recursive: true });
    },
  };
}
