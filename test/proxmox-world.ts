/** A Proxmox cluster on loopback with the backend of clusters on top of it, for tests. */
import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { tmpdir } from 'node:os';
import type { OrderHead, Observation } from '../control-plane/backends/backend.ts';
import type { ClusterBackend } from '../control-plane/backends/cluster-backend.ts';
import { proxmoxBackend, type ProxmoxOptions } from '../control-plane/backends/proxmox/index.ts';
import { createMemoryJournal } from '../control-plane/store/memory.ts';
import { openStore } from '../control-plane/store/open-store.ts';
import { addCluster } from '../control-plane/store/put-cluster.ts';
import { clusterNodeName } from '../control-plane/store/put-cluster-node.ts';
import type { Store } from '../control-plane/store/store.ts';
import { type Clock, systemClock } from '#shared/clock.ts';
import { createLog } from '#shared/log.ts';
import type { ClusterSpec, InstanceId, InstanceSpec, InstanceState, NodeName } from '#shared/model.ts';
import { usualPace } from '../control-plane/backends/proxmox/observe/poll.ts';
import { newSpec } from './conformance/backend.ts';
import { placeFile } from './fakes/proxmox/storage-paths.ts';
import { recordedTemplate } from './fakes/proxmox/standard-storages.ts';
import { type ProxmoxServer, type ProxmoxServerOptions, startProxmoxServer } from './fakes/proxmox-server.ts';
import { createQuickClock } from './fakes/quick-clock.ts';
import { createSeededRandom } from './fakes/random.ts';
import type { Guest } from './fakes/proxmox/world.ts';
import { until } from './until.ts';

export const storedTemplate = `proxmox:local:vztmpl/${recordedTemplate}`;

/** Everything a hundred times as fast, on a real clock. */
export const quickPace = { busyMs: 20, idleMs: 50, detailsMs: 60_000 } as const;

export const specOf = (server: ProxmoxServer): ClusterSpec => ({
  endpoints: [...server.endpoints.values()],
  trust: { kind: 'authority', pem: server.authorityPem },
  credential: { kind: 'token', tokenId: server.tokenId, secret: server.secret },
});

export interface ProxmoxWorld extends AsyncDisposable {
  readonly server: ProxmoxServer;
  readonly store: Store;
  readonly backend: ClusterBackend;
  /** Everything that was told since the start. */
  readonly seen: Observation[];
  node(name: string): NodeName;
  state(id: InstanceId): InstanceState | 'absent' | undefined;
  order(node: string, patch?: Partial<OrderHead>): OrderHead;
}

const resources = { cpuMillicores: 1000, memoryMib: 64, diskMib: 1024, pids: 0 };

export const container: InstanceSpec = newSpec({
  runtime: 'proxmox-lxc',
  image: storedTemplate,
  command: [],
  rootPool: 'local',
  resources,
});

export const machine: InstanceSpec = newSpec({
  runtime: 'proxmox-vm',
  image: 'proxmox:local:import/noble.qcow2',
  command: [],
  rootPool: 'local',
  resources: { ...resources, diskMib: 3072 },
});

/** "running 2": phase and generation, as last told. */
export function phaseOf({ state }: Pick<ProxmoxWorld, 'state'>, id: InstanceId): string {
  const now = state(id);
  if (now === undefined) return 'unseen';
  return now === 'absent' ? now : `${now.phase} ${now.generation}`;
}

const { signal } = new AbortController();

/** The cluster's own of an instance. */
export function guestOf({ server, store }: Pick<ProxmoxWorld, 'server' | 'store'>, id: InstanceId): Guest {
  const guest = server.world.guests.get(store.snapshot().get('cluster-guest', id)?.vmid ?? 0);
  if (guest === undefined) throw new Error(`there is no guest of ${id}`);
  return guest;
}

/** The first of the cluster. */
export function anyGuest({ server }: Pick<ProxmoxWorld, 'server'>): Guest {
  const [guest] = server.world.guests.values();
  if (guest === undefined) throw new Error('there is no guest');
  return guest;
}

/** An instance that runs. */
export async function runGuest(
  world: ProxmoxWorld,
  spec: InstanceSpec = container,
  node = 'pve1',
): Promise<OrderHead> {
  const order = world.order(node);
  await world.backend.ensureInstance(order, spec, signal);
  await until(() => phaseOf(world, order.instanceId) === 'running 1', { what: 'running' });
  return order;
}

export type ProxmoxWorldOptions = ProxmoxServerOptions & {
  readonly backend?: Partial<ProxmoxOptions>;
  readonly unwatched?: boolean;
  /** How the cluster is reached; by all its addresses, with all rights, where left out. */
  readonly reachedBy?: (server: ProxmoxServer) => Partial<ClusterSpec>;
};

/** Another control plane over the same store, once the first has ended. */
export async function startAnew({
  store,
  backend: first,
}: Pick<ProxmoxWorld, 'store' | 'backend'>): Promise<ClusterBackend> {
  await first.close();
  const backend = proxmoxBackend({
    store,
    fleet: { fleetId: 'fleet-1', fleetEpoch: 1 },
    clock: createQuickClock(20),
    random: createSeededRandom(9),
    log: createLog({ level: 'silent' }),
    pace: usualPace,
  });
  await until(() => backend.status('lab')?.connected, { what: 'a connected cluster', deadlineMs: 30_000 });
  return backend;
}

/** As openProxmoxWorld, with all waits as they are, on a clock that runs twenty times as fast. */
export async function openQuickWorld(options: ProxmoxWorldOptions = {}): Promise<ProxmoxWorld> {
  const clock = createQuickClock(20);
  const backend = { pace: usualPace };
  const world = await openProxmoxWorld({ version: '8.4.21', clock, pace: 0.2, backend, ...options });
  const file = { content: 'import', name: 'noble.qcow2', sizeBytes: 2 * 1024 ** 3 };
  for (const name of world.server.world.nodes.keys()) placeFile(world.server.world, name, 'local', file);
  return world;
}

/** One cluster called "lab", its nodes connected. */
export async function openProxmoxWorld(options: ProxmoxWorldOptions = {}): Promise<ProxmoxWorld> {
  const clock: Clock = options.clock ?? systemClock;
  const server = await startProxmoxServer({ pace: 0.01, ...options, clock });
  const store = await openStore({ journal: createMemoryJournal(), clock });
  const spec = { ...specOf(server), ...options.reachedBy?.(server) };
  await store.transact((tx) =>
    addCluster(tx, { name: 'lab', spec, id: randomUUIDv7(), caller: 'test' }, clock.nowMs()),
  );
  const backend = proxmoxBackend({
    store,
    fleet: { fleetId: 'fleet-1', fleetEpoch: 1 },
    clock,
    random: createSeededRandom(7),
    log: createLog({ level: 'silent' }),
    pace: quickPace,
    templateRoots: [tmpdir()],
    ...options.backend,
  });
  const seen: Observation[] = [];
  const ending = new AbortController();
  const reading = options.unwatched
    ? Promise.resolve()
    : (async () => {
        for await (const observation of backend.watch(ending.signal)) seen.push(observation);
      })();
  const count = server.world.nodes.size;
  await until(
    () => (backend.status('lab')?.nodes.length === count && backend.status('lab')?.connected) || undefined,
    {
      what: 'a connected cluster',
    },
  );
  return {
    server,
    store,
    backend,
    seen,
    node: (name) => clusterNodeName('lab', name),
    state: (id) => {
      const last = seen.findLast(
        (one) =>
          (one.kind === 'instance' && one.state.instanceId === id) ||
          (one.kind === 'absent' && one.instanceId === id),
      );
      if (last?.kind === 'absent') return 'absent';
      return last?.kind === 'instance' ? last.state : undefined;
    },
    order: (node, patch = {}) => ({
      node: clusterNodeName('lab', node),
      instanceId: randomUUIDv7() as InstanceId,
      generation: 1,
      requestId: randomUUID(),
      ...patch,
    }),
    async [Symbol.asyncDispose]() {
      ending.abort();
      await backend.close();
      await reading;
      await store.close();
      await server.close();
    },
  };
}
