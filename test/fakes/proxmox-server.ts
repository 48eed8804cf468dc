/**
 * A Proxmox cluster for tests: real HTTPS on loopback, one endpoint and certificate per node, and answers as
 * recorded clusters gave them (test/golden/proxmox-*). Time is that of the clock it is given.
 */
import type { Clock } from '#shared/clock.ts';
import { systemClock } from '#shared/clock.ts';
import type { Random } from '#shared/random.ts';
import type { KeyedCertificate } from '#shared/tls.ts';
import { createWorld } from './proxmox/create-world.ts';
import { createClusterAuthority, openEndpoint } from './proxmox/endpoint.ts';
import type { Endpoint } from './proxmox/endpoint.ts';
import { createFaults } from './proxmox/faults.ts';
import type { Faults } from './proxmox/faults.ts';
import type { HttpSurroundings } from './proxmox/http.ts';
import type { NodeOptions, WorldNode } from './proxmox/node-model.ts';
import { createRouteTable } from './proxmox/route-table.ts';
import { allRoutes } from './proxmox/routes.ts';
import { standardStorages } from './proxmox/standard-storages.ts';
import { createTickets } from './proxmox/tickets.ts';
import type { NodeDeath, ProxmoxVersion, World } from './proxmox/world.ts';
import { createSeededRandom } from './random.ts';

export interface ProxmoxServerOptions {
  readonly version?: ProxmoxVersion;
  /** systemClock where left out. */
  readonly clock?: Clock;
  readonly random?: Random;
  /** pve1, pve2 and pve3 where left out. A single node is no cluster. */
  readonly nodes?: readonly (string | NodeOptions)[];
  readonly clusterName?: string;
  /** Where the only node listens: "::1". A loopback address for each where left out. */
  readonly address?: string;
  /** What durations are multiplied with: 0.01 for tests on a real clock. */
  readonly pace?: number;
  /** Whether refused logins cost three virtual seconds, as they do in truth. */
  readonly slowRefusals?: boolean;
}

export interface ServerFaults extends Faults {
  /** Refused connections from now on, or silence; its tasks stop where they are. */
  killNode(name: string, how?: NodeDeath): Promise<void>;
  reviveNode(name: string): Promise<void>;
  /** It runs on and nobody reaches it. */
  cutNode(name: string): void;
  joinNode(name: string): void;
  /** What serves the cluster's files on it is started again, and every request is refused meanwhile. */
  loseFiles(name: string): void;
  /** Without corosync: it answers as if it were in no cluster, with the guests that there are by now. */
  setApart(name: string): void;
  /** After either. */
  restoreFiles(name: string): void;
  /** All nodes but this one die: what it has left is no majority. */
  loseQuorum(remaining: string): Promise<void>;
  regainQuorum(): Promise<void>;
  /** All that were issued so far. */
  expireTickets(): void;
  /** By the cluster's authority, or by a new one. Open connections are dropped. */
  rotateCertificate(name: string, by?: 'same' | 'new'): Promise<void>;
  dropConnections(name: string): void;
  /** Its end is "unexpected status". */
  killTaskWorker(upid: string): void;
}

export interface ProxmoxServer extends AsyncDisposable {
  readonly world: World;
  /** By node: "127.1.2.11:40123". All have the same port. */
  readonly endpoints: ReadonlyMap<string, string>;
  /** The cluster's authority. */
  readonly authorityPem: string;
  /** By node, now; upper-case SHA-256 with colons. */
  fingerprints(): ReadonlyMap<string, string>;
  /** root@pam's, without privilege separation. */
  readonly tokenId: string;
  readonly secret: string;
  readonly user: string;
  readonly password: string;
  readonly faults: ServerFaults;
  /** How often which method was asked since the last reset: for tests that count. */
  readonly requests: { count(): number; list(): readonly string[]; reset(): void };
  close(): Promise<void>;
}

export async function startProxmoxServer(options: ProxmoxServerOptions = {}): Promise<ProxmoxServer> {
  const random = options.random ?? createSeededRandom(1);
  const world = createWorld({
    version: options.version ?? '9.2.11',
    clock: options.clock ?? systemClock,
    random,
    nodes: options.nodes ?? ['pve1', 'pve2', 'pve3'],
    clusterName: options.clusterName ?? 'rig',
    pace: options.pace ?? 1,
  });
  standardStorages(world);
  const tickets = createTickets(world);
  const faults = createFaults();
  const seen: string[] = [];
  const table = createRouteTable(world.version, allRoutes(tickets));
  const surroundings: HttpSurroundings = {
    world,
    table,
    tickets,
    faults,
    slowRefusals: options.slowRefusals ?? false,
    onRequest: (method, path) => seen.push(`${method} ${path}`),
  };
  const authority = await createClusterAuthority();
  const endpoints = await openAll(surroundings, authority, options.address);
  const root = world.access.users.get('root@pam');
  const close = async (): Promise<void> => {
    faults.reset();
    world.close();
    await Promise.all([...endpoints.values()].map((endpoint) => endpoint.close()));
  };
  return {
    world,
    endpoints: new Map([...endpoints].map(([name, { address }]) => [name, address])),
    authorityPem: authority.certificate.pem,
    fingerprints: () =>
      new Map([...world.nodes.values()].map(({ name, fingerprint }) => [name, fingerprint])),
    tokenId: 'root@pam!rig',
    secret: world.access.addToken('root@pam', 'rig', { privilegeSeparation: false }),
    user: 'root@pam',
    password: root?.password ?? '',
    faults: { ...faults, ...nodeFaults(world, endpoints, authority), expireTickets: tickets.expireAll },
    requests: { count: () => seen.length, list: () => seen, reset: () => seen.splice(0) },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** One address per node, so that all can have one port, as the nodes of a cluster do. */
async function openAll(
  surroundings: HttpSurroundings,
  authority: KeyedCertificate,
  address: string | undefined,
): Promise<Map<string, Endpoint>> {
  const { world } = surroundings;
  for (let attempt = 0; ; attempt += 1) {
    const [a = 0, b = 0] = crypto.getRandomValues(new Uint8Array(2));
    const endpoints = new Map<string, Endpoint>();
    try {
      let port = 0;
      for (const node of world.nodes.values()) {
        node.ip = address ?? `127.${1 + (a % 254)}.${b}.${10 + node.id}`;
        const endpoint = await openEndpoint(surroundings, node, authority, port);
        endpoints.set(node.name, endpoint);
        ({ port } = endpoint);
      }
      return endpoints;
    } catch (error) {
      await Promise.all([...endpoints.values()].map((endpoint) => endpoint.close()));
      if (attempt === 5) throw error;
    }
  }
}

function nodeFaults(
  world: World,
  endpoints: ReadonlyMap<string, Endpoint>,
  authority: KeyedCertificate,
): Omit<ServerFaults, keyof Faults | 'expireTickets'> {
  const changed = (name: string, cut: boolean): void => {
    const node = world.nodes.get(name);
    if (node === undefined) return;
    node.cut = cut;
    node.answers = 'silent';
    node.changedAtMs = world.clock.nowMs();
  };
  const setFiles = (name: string, files: WorldNode['files']): void => {
    const node = world.nodes.get(name);
    if (node !== undefined) node.files = files;
  };
  async function killNode(name: string, how?: NodeDeath): Promise<void> {
    world.killNode(name, how);
    if (how?.answers !== 'silent') await endpoints.get(name)?.stop();
  }
  async function reviveNode(name: string): Promise<void> {
    const wasSilent = world.nodes.get(name)?.answers === 'silent';
    world.reviveNode(name);
    if (!wasSilent) await endpoints.get(name)?.start();
  }
  const dead = (): string[] =>
    [...world.nodes.values()].filter(({ alive }) => !alive).map(({ name }) => name);
  return {
    killNode,
    reviveNode,
    cutNode: (name) => changed(name, true),
    joinNode: (name) => changed(name, false),
    loseFiles: (name) => setFiles(name, 'away'),
    setApart: (name) => setFiles(name, { apartWith: new Set(world.guests.keys()) }),
    restoreFiles: (name) => setFiles(name, 'there'),
    async loseQuorum(remaining) {
      const others = [...world.nodes.keys()].filter((name) => name !== remaining);
      await Promise.all(others.map((name) => killNode(name)));
    },
    async regainQuorum() {
      await Promise.all(dead().map(reviveNode));
    },
    async rotateCertificate(name, by = 'same') {
      await endpoints.get(name)?.rotate(by === 'same' ? authority : await createClusterAuthority());
    },
    dropConnections: (name) => endpoints.get(name)?.dropConnections(),
    killTaskWorker(upid) {
      const task = world.tasks.find(upid);
      if (task !== undefined) world.tasks.kill(task);
    },
  };
}
