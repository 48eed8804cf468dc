import { chmod, mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { type Clock, systemClock } from '#shared/clock.ts';
import { asDroverError } from '#shared/errors.ts';
import { createLog, type Log } from '#shared/log.ts';
import type { NodeName } from '#shared/model.ts';
import { type Random, systemRandom } from '#shared/random.ts';
import { clusterService } from './api/cluster-service.ts';
import type { ClusterDeps } from './api/cluster/deps.ts';
import { fleetService } from './api/fleet-service.ts';
import { createApi } from './api/grpc.ts';
import { nodeService } from './api/node-service.ts';
import { operationService } from './api/operation-service.ts';
import type { Backend } from './backends/backend.ts';
import type { ClusterBackend } from './backends/cluster-backend.ts';
import { type AgentBackend, agentBackend, proxmoxBackend } from './backends/index.ts';
import { type Config, formatHostPort, parseConfig, usage } from './config.ts';
import { createFleetView } from './fleet-view.ts';
import { writeAdminContext } from './identity/admin-context.ts';
import { type Authority, openAuthority } from './identity/authority.ts';
import { type Revocation, startRevocation } from './identity/revocation.ts';
import { createJoinTokens } from './identity/tokens.ts';
import { type Listener, listen } from './listener.ts';
import { startObserver } from './reconciler/observe.ts';
import { startReconciler } from './reconciler/reconcile.ts';
import { takeBackAllAdoptions } from './store/adopt-guest.ts';
import { ensureFleet } from './store/ensure-fleet.ts';
import { openStore } from './store/open-store.ts';
import { createSqliteJournal } from './store/sqlite.ts';
import type { FleetRecord, Store } from './store/store.ts';

/** `drover control-plane`: runs until SIGTERM or SIGINT; resolves with the exit code. */
export async function runControlPlane(argv: readonly string[]): Promise<number> {
  try {
    const config = parseConfig(argv);
    if (config === 'help') {
      process.stdout.write(usage);
      return 0;
    }
    // Nothing that we write is for other users of the host.
    process.umask(0o077);
    const log = createLog({ level: config.logLevel });
    const stopped = stopSignal();
    const controlPlane = await startControlPlane(config, { clock: systemClock, random: systemRandom, log });
    log.info({ event: 'control-plane.started', address: controlPlane.address, stateDir: config.stateDir });
    const reason = await Promise.race([stopped, controlPlane.failed]);
    await controlPlane.close();
    log.info({ event: 'control-plane.stopped', reason: String(reason) });
    if (reason instanceof Error) throw reason;
    return 0;
  } catch (caught) {
    const { kind, message, nextStep } = asDroverError(caught);
    process.stderr.write(`drover control-plane: ${message}\n${nextStep === '' ? '' : `next: ${nextStep}\n`}`);
    return kind === 'invalid-argument' ? 2 : 1;
  }
}

const stopSignal = (): Promise<string> =>
  new Promise((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });

export interface ControlPlane {
  readonly address: string;
  /** Resolves with what makes it useless. */
  readonly failed: Promise<Error>;
  close(): Promise<void>;
}

interface World {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * Puts the parts together, each after what it stands on; what was opened is closed again when a later one
 * fails.
 */
export async function startControlPlane(config: Config, world: World): Promise<ControlPlane> {
  await using opened = new AsyncDisposableStack();
  const { stateDir } = config;
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  await chmod(stateDir, 0o700);
  const journal = createSqliteJournal({ file: path.join(stateDir, 'store.db'), clock: world.clock });
  const store = await openStore({ journal, clock: world.clock });
  opened.defer(() => store.close());
  const { result: fleet } = await store.transact((tx) =>
    ensureFleet(tx, world.random.uuidV4(), config.fleetEpoch),
  );
  const authority = await openAuthority({ stateDir, fleetId: fleet.fleetId, clock: world.clock });
  const revocation = startRevocation({ store, clock: world.clock, fleetId: fleet.fleetId });
  opened.defer(() => revocation.close());
  const backends = await openBackends({ config, store, fleet, world });
  opened.defer(() => backends.close());
  const engine = startEngine({ store, backends, world });
  opened.defer(() => engine.close());
  const { listener, address } = await openApi({
    config,
    world,
    store,
    authority,
    revocation,
    backends,
    engine,
  });
  opened.defer(() => listener.close());
  if (await writeAdminContext({ stateDir, authority, address })) {
    world.log.info({ event: 'admin-context.written', file: path.join(stateDir, 'admin.yaml') });
  }
  const parts = opened.move();
  return { address: listener.address, failed: engine.failed, close: () => parts.disposeAsync() };
}

interface Backends {
  /** Nodes with an agent. */
  readonly agents: AgentBackend;
  /** Nodes of clusters. */
  readonly clusters: ClusterBackend;
  /** The one that reaches the node. */
  of(node: NodeName): Backend;
  close(): Promise<void>;
}

async function openBackends(options: {
  readonly config: Config;
  readonly store: Store;
  readonly fleet: FleetRecord;
  readonly world: World;
}): Promise<Backends> {
  const { config, store, fleet, world } = options;
  const relayDir = path.join(config.stateDir, 'sessions');
  await rm(relayDir, { recursive: true, force: true });
  await mkdir(relayDir, { mode: 0o700 });
  const head = { fleetId: fleet.fleetId, fleetEpoch: fleet.epoch };
  // Before anybody looks at clusters: what was being adopted is nobody's.
  await store.transact((tx) => takeBackAllAdoptions(tx, world.clock.nowMs()));
  const agents = agentBackend({ store, fleet: head, clock: world.clock, log: world.log, relayDir });
  const clusters = proxmoxBackend({ ...world, store, fleet: head, templateRoots: config.templateRoots });
  return {
    agents,
    clusters,
    of: (node) => (store.snapshot().named('node', node)?.cluster === undefined ? agents : clusters),
    async close() {
      await Promise.all([agents.close(), clusters.close()]);
    },
  };
}

type Engine = ReturnType<typeof startEngine>;

/** Observing and reconciling. */
function startEngine({
  store,
  backends,
  world,
}: {
  readonly store: Store;
  readonly backends: Backends;
  readonly world: World;
}) {
  const view = createFleetView();
  const ending = new AbortController();
  const backendOf = backends.of;
  const reconciler = startReconciler({ ...world, store, view, backendOf });
  const observer = startObserver({
    ...world,
    backends: [backends.agents, backends.clusters],
    store,
    view,
    signal: ending.signal,
    wake: reconciler.wake,
  });
  const failed = new Promise<Error>((resolve) => {
    observer.ended.catch((caught: unknown) => resolve(asDroverError(caught)));
  });
  const close = async (): Promise<void> => {
    ending.abort();
    await Promise.allSettled([reconciler.close(), observer.ended]);
  };
  return { view, backendOf, wake: reconciler.wake, failed, close };
}

async function openApi(parts: {
  readonly config: Config;
  readonly world: World;
  readonly store: Store;
  readonly authority: Authority;
  readonly revocation: Revocation;
  readonly backends: Backends;
  readonly engine: Engine;
}): Promise<{ listener: Listener; address: string }> {
  const { config, world, store, authority, revocation, backends, engine } = parts;
  const { clock, log, random } = world;
  const hosts = ['localhost', '127.0.0.1', config.host, ...config.advertise.map(({ host }) => host)];
  const server = await authority.issueWithKey({ role: 'control-plane', name: 'control-plane' }, [
    ...new Set(hosts),
  ]);
  const [first] = config.advertise;
  // A port of 0 is known only once it is bound: tokens ask for the address when one is made.
  let port = config.port;
  const address = (): string => formatHostPort(first?.host ?? config.host, first?.port ?? port);
  const tokens = createJoinTokens({ store, authority, clock, random, address });
  const { view, backendOf, wake } = engine;
  const { clusters, agents } = backends;
  const deps: ClusterDeps = { store, view, backendOf, clusters, clock, random, wake };
  const disconnect = (node: NodeName, reason: string): void => backendOf(node).disconnect(node, reason);
  const api = createApi(
    {
      fleet: fleetService(deps),
      node: nodeService({ ...deps, authority, tokens, disconnect }),
      operation: operationService(deps),
      cluster: clusterService(deps),
    },
    { revocation, log },
  );
  const listener = await listen({
    host: config.host,
    port: config.port,
    server,
    authority: authority.certificate.pem,
    revocation,
    clock,
    log,
    serve: api.serve,
    acceptSession: agents.accept,
  });
  port = Number(listener.address.slice(listener.address.lastIndexOf(':') + 1));
  const close = async (): Promise<void> => {
    api.close();
    await listener.close();
  };
  return { listener: { ...listener, close }, address: address() };
}
