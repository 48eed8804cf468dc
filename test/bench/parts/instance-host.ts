import { once } from 'node:events';
import { existsSync, readdirSync, rmdirSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { createServer, type TLSSocket } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { Phase } from '#shared/gen/drover/model/v1/model.ts';
import { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { InstanceId, InstanceSpec, Order } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createClient, type RpcClient } from '#shared/rpc-client.ts';
import { createAuthority, createKey, issueCertificate, sessionProtocol } from '#shared/tls.ts';
import { version, wireMinor } from '#shared/version.ts';
import { formatInstanceSpec, formatOrder } from '#shared/wire/instance.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { openRelay } from '../../../control-plane/backends/agent/relay.ts';
import { buildBusybox, writeLayout } from '../../image-builder.ts';
import { openProcess } from './instance-child.ts';
import { groupsName, type SampleGuest } from './instance-sample.ts';

export const fleetId = '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0001';
const idRange = { base: 1_000_000, size: 65_536 };

type Client = RpcClient<typeof RuntimeServiceService>;

export interface BenchHost extends AsyncDisposable {
  /** Create, running, removed. */
  live(): Promise<void>;
  /** How long the answer to one inspect took; undefined while there is nothing to inspect. */
  inspect(): Promise<number | undefined>;
  spawns(): Promise<Readonly<Record<string, number>>>;
  /** Reads a guest while it runs. */
  sample<Sample>(read: (guest: SampleGuest) => Promise<Sample>): Promise<Sample>;
}

export interface HostOptions {
  /** What differs from specFor. */
  readonly spec?: Partial<InstanceSpec>;
  /** More of the agent's configuration. */
  readonly config?: object;
  /** Leads into the namespaces of the host: "nsenter -t PID -m --". */
  readonly enter?: readonly string[];
  /** Whether a life has an order to stop before the one to remove. */
  readonly stops?: boolean;
}

/** A real agent in its own process, and its control plane's side of the session here. */
export async function openHost(folder: string, options: HostOptions = {}): Promise<BenchHost> {
  await using cleanUp = new AsyncDisposableStack();
  const stateDir = path.join(folder, 'state');
  cleanUp.defer(() => removeGroups(stateDir));
  const { address, session } = await listen(folder, stateDir, cleanUp);
  const layout = path.join(folder, 'layout');
  const image = await buildBusybox();
  await writeLayout(layout, image, 'v1');
  const file = path.join(folder, 'agent.json');
  const places = { stateDir, runDir: path.join(folder, 'run') };
  const config = { ...places, ociRoots: [folder], idRange, controlPlane: address, ...options.config };
  await writeFile(file, JSON.stringify(config));
  const agent = openProcess<Readonly<Record<string, number>>>('./instance-agent.ts', file, options.enter);
  cleanUp.defer(() => agent.end());
  const client = await session;
  cleanUp.defer(() => client.close());
  await client.hello({
    version,
    wireMinor,
    capabilities: [],
    fleetId,
    fleetEpoch: 1n,
    clockMs: BigInt(Date.now()),
  });
  const reference = `oci:${layout}@${image.root.digest}`;
  for await (const { done } of client.pullImage({ reference, credential: '' })) if (done) break;
  const spec = { ...specFor(reference), ...options.spec };
  const guests = openGuests(client, { spec, stops: options.stops === true });
  cleanUp.defer(() => guests.removeAll());
  const ending = cleanUp.move();
  return {
    live: () => guests.live(),
    inspect: () => guests.inspect(),
    spawns: () => agent.ask('spawns'),
    async sample<Sample>(read: (guest: SampleGuest) => Promise<Sample>) {
      const found: Sample[] = [];
      await guests.live(async (id) => {
        found.push(await read({ id, ...places, owner: idRange.base }));
      });
      if (found[0] === undefined) throw new Error('no guest was there');
      return found[0];
    },
    [Symbol.asyncDispose]: () => ending.disposeAsync(),
  };
}

/** The agent's identity on its disk, and the one session that it will open. */
export async function listen(folder: string, stateDir: string, cleanUp: AsyncDisposableStack) {
  const life = { nowMs: Date.now(), lifeMs: 3_600_000 };
  const authority = await createAuthority({ commonName: 'bench', ...life });
  const issue = async (role: 'node' | 'control-plane') => {
    const key = await createKey();
    const identity = { fleetId, role, name: 'bench' };
    const { pem } = await issueCertificate({ authority, subject: key, identity, ...life });
    return { cert: pem, key: key.keyPem };
  };
  const authoritiesPem = authority.certificate.pem;
  const server = createServer({
    ...(await issue('control-plane')),
    ca: authoritiesPem,
    requestCert: true,
    minVersion: 'TLSv1.3',
    ALPNProtocols: [sessionProtocol],
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanUp.defer(() => void server.close());
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const node = await issue('node');
  const stored = { fleetId, node: 'bench', address, certificatePem: node.cert, keyPem: node.key };
  await mkdir(path.join(stateDir, 'identity'), { recursive: true });
  const identityFile = path.join(stateDir, 'identity/identity.json');
  await writeFile(identityFile, JSON.stringify({ ...stored, authoritiesPem }));
  const session = once(server, 'secureConnection').then(async ([socket]): Promise<Client> => {
    (socket as TLSSocket).setNoDelay(true);
    const { target } = await openRelay(socket as TLSSocket, folder);
    return createClient(RuntimeServiceService, target, credentials.createInsecure());
  });
  return { address, session };
}

function openGuests(client: Client, given: { readonly spec: InstanceSpec; readonly stops: boolean }) {
  const known = new Set<InstanceId>();
  const waiting = new Map<string, () => void>();
  const spec = formatInstanceSpec(given.spec);
  let turn = 0;

  async function watch(): Promise<void> {
    for await (const { event } of client.watchInstances({ incarnation: '', sequence: 0n })) {
      if (event?.$case !== 'changed' || event.value.phase !== Phase.PHASE_RUNNING) continue;
      waiting.get(event.value.instanceId)?.();
    }
  }
  watch().catch(() => undefined); // It ends with the client; a life that waits has a deadline.

  async function running(id: InstanceId): Promise<void> {
    const seen = Promise.withResolvers<void>();
    const late = setTimeout(() => seen.reject(new Error(`${id} does not run after a minute`)), 60_000);
    waiting.set(id, seen.resolve);
    await seen.promise.finally(() => {
      clearTimeout(late);
      waiting.delete(id);
    });
  }
  async function remove(id: InstanceId): Promise<void> {
    await client.removeInstance({ order: orderFor(id), graceMs: 0 }, { deadlineMs: 60_000 });
    known.delete(id);
  }

  return {
    async live(whileRunning = async (_id: InstanceId): Promise<void> => {}) {
      const id = systemRandom.uuidV7() as InstanceId;
      const runs = running(id);
      await client.ensureInstance({ order: orderFor(id), spec }, { deadlineMs: 60_000 });
      known.add(id);
      await runs;
      await whileRunning(id);
      if (given.stops) await client.stopInstance({ order: orderFor(id), graceMs: 0 }, { deadlineMs: 60_000 });
      await remove(id);
    },
    async inspect() {
      const id = [...known][turn++ % Math.max(1, known.size)];
      if (id === undefined) return undefined;
      const startMs = performance.now();
      // Not there any more: an answer like any other.
      await client.inspectInstance({ instanceId: id }).catch(() => undefined);
      return performance.now() - startMs;
    },
    removeAll: async () => void (await Promise.all([...known].map(remove))),
  };
}

const orderFor = (instanceId: InstanceId) => {
  const order: Order = {
    fleetId,
    fleetEpoch: 1,
    instanceId,
    generation: 1,
    requestId: systemRandom.uuidV4(),
  };
  return formatOrder(order);
};

export const specFor = (image: string): InstanceSpec => ({
  runtime: 'crun',
  image,
  command: ['/bin/sleep', '100000'],
  env: {},
  resources: { cpuMillicores: 500, memoryMib: 64, diskMib: 0, pids: 64 },
  network: 'none',
  restart: { policy: 'always', maxAttempts: 0 },
  stopGraceMs: 5000,
  displayName: 'bench-aaaaa',
  workload: 'bench',
  user: '',
  workingDir: '',
  imageCredential: '',
  ...plainGuestConfig,
  assigned: emptyAssignment,
});

/** The parent of the guests' groups, empty by now. */
export function removeGroups(stateDir: string): void {
  if (!existsSync(path.join(stateDir, 'incarnation'))) return;
  const name = groupsName(stateDir);
  for (const hierarchy of ['.', ...readdirSync('/sys/fs/cgroup')]) {
    const group = path.join('/sys/fs/cgroup', hierarchy, name);
    if (existsSync(group)) rmdirSync(group);
  }
}
