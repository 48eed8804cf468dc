/** Takes the place of a fleet's control plane, to give its agents orders that a sound one never gives. */
import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import { parseNodeName } from '#shared/wire/checks.ts';
import { systemRandom } from '#shared/random.ts';
import { agentBackend } from '../../control-plane/backends/index.ts';
import type { Backend, OrderHead } from '../../control-plane/backends/backend.ts';
import { openAuthority } from '../../control-plane/identity/authority.ts';
import { listen } from '../../control-plane/listener.ts';
import { createMemoryJournal } from '../../control-plane/store/memory.ts';
import { openStore } from '../../control-plane/store/open-store.ts';
import type { Fleet, FleetHost } from '../../scripts/fleet.ts';

export interface OwnOrders extends AsyncDisposable {
  readonly backend: Backend;
  /** For all calls together: a minute from the beginning. */
  readonly signal: AbortSignal;
  /** Of an instance that the host holds. */
  specOf(host: FleetHost, instanceId: string): InstanceSpec;
}

export const orderOf = (
  host: FleetHost,
  instanceId: InstanceId,
  generation: number,
  requestId = systemRandom.uuidV4(),
): OrderHead => ({ node: parseNodeName(host.name), instanceId, generation, requestId });

/** The fleet's own control plane must not run. */
export async function giveOwnOrders(fleet: Fleet): Promise<OwnOrders> {
  const stateDir = path.join(fleet.folder, 'control-plane');
  const { subject } = new X509Certificate(readFileSync(path.join(stateDir, 'ca/ca.pem')));
  const fleetId = /Drover fleet (\S+)/.exec(subject)?.[1] ?? '';
  const world = { clock: systemClock, log: silentLog };
  const authority = await openAuthority({ stateDir, fleetId, clock: systemClock });
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  const relayDir = path.join(fleet.folder, 'own-orders');
  mkdirSync(relayDir, { mode: 0o700 });
  const backend = agentBackend({ ...world, store, fleet: { fleetId, fleetEpoch: 1 }, relayDir });
  const [host = '', port = ''] = fleet.address.split(':');
  const listener = await listen({
    ...world,
    host,
    port: Number(port),
    server: await authority.issueWithKey({ role: 'control-plane', name: 'control-plane' }, [host]),
    authority: authority.certificate.pem,
    revocation: { connections: new Set(), refusalOf: () => undefined, close: () => {} },
    serve: (socket) => socket.destroy(),
    acceptSession: backend.accept,
  });
  const reading = new AbortController();
  const observed = (async () => {
    for await (const _ of backend.watch(reading.signal));
  })();
  return {
    backend,
    signal: systemClock.timeout(60_000),
    specOf: ({ stateDir: agentDir }, instanceId) => {
      const file = path.join(agentDir, 'instances', instanceId, 'record.json');
      // A checksum is on the first line.
      const [, body = ''] = readFileSync(file, 'utf8').split('\n');
      return (JSON.parse(body) as { spec: InstanceSpec }).spec;
    },
    async [Symbol.asyncDispose]() {
      reading.abort();
      await backend.close();
      await Promise.allSettled([observed]);
      await listener.close();
      await store.close();
      rmSync(relayDir, { recursive: true, force: true });
    },
  };
}
