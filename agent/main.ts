import { chmod, mkdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { systemClock } from '#shared/clock.ts';
import { asDroverError, DroverError } from '#shared/errors.ts';
import { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { createLog, type Log } from '#shared/log.ts';
import type { Image, InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { mount } from '#shared/rpc-server.ts';
import { version } from '#shared/version.ts';
import { authenticateLocal, createSessionGate } from './api/authenticate.ts';
import { createNodeReports, type Fingerprints, type NodeReports } from './api/node-reports.ts';
import { localRuntimeService, type RuntimeParts, runtimeService } from './api/runtime-service.ts';
import { type AgentConfig, readConfig } from './config.ts';
import type { RuntimeDriver } from './drivers/driver.ts';
import { runtimeDrivers } from './drivers/index.ts';
import { createHostCommands, type HostCommands } from './host/command.ts';
import { readOrMake } from './host/durable-file.ts';
import { readBootId } from './host/facts.ts';
import { lockDirectory } from './host/state-lock.ts';
import { join, type NodeIdentity, readIdentity } from './identity.ts';
import { isPinned } from './images/collect.ts';
import { createImageCollector, createImageSources } from './images/index.ts';
import { type Instances, openInstances, type Tools } from './instances.ts';
import { createGuestNetworks } from './network/index.ts';
import { startRenewal } from './renewal.ts';
import { runSessions } from './session.ts';
import { agentUsage, joinUsage } from './usage.ts';
import { openPools, probeIdmap } from './volumes/index.ts';

const probeMs = 30_000;
const fingerprintMs = 5000;

/** Runs the agent until SIGTERM or SIGINT. Guests go on when it ends. Resolves with the exit code. */
export async function runAgent(argv: readonly string[]): Promise<number> {
  return reportingErrors('drover agent', agentUsage, argv, async () => {
    const { config } = readConfig(argv);
    const log = createLog({ level: config.logLevel });
    const ending = new AbortController();
    const end = (): void => ending.abort(new DroverError('unavailable', 'the agent was told to end'));
    process.once('SIGTERM', end);
    process.once('SIGINT', end);
    await using agent = await startAgent(config, log);
    await agent.run(ending.signal);
    log.info({ event: 'agent.ended' });
  });
}

/** `drover node join TOKEN`: makes this host a node of the fleet that the token is from. */
export async function joinNode(argv: readonly string[]): Promise<number> {
  return reportingErrors('drover node join', joinUsage, argv, async () => {
    const { config, positionals } = readConfig(argv);
    const [token, ...more] = positionals;
    if (token === undefined || more.length > 0)
      throw new DroverError('invalid-argument', `wanted one token, found ${positionals.length}`, {
        nextStep: '`drover node token NAME` makes one',
      });
    const { stateDir, name } = config;
    const incarnation = await prepareState(stateDir);
    const { node, fleetId } = await join(token, { stateDir, incarnation, name });
    process.stdout.write(`joined fleet ${fleetId} as node ${node}\n`);
  });
}

export interface Agent extends AsyncDisposable {
  readonly instances: Instances;
  /** As HostCommands.spawns. */
  readonly spawns: ReadonlyMap<string, number>;
  /** Keeps the session until the signal. */
  run(signal: AbortSignal): Promise<void>;
}

/** Takes the state directory, finds every guest again, and serves root on this host. */
export async function startAgent(config: AgentConfig, log: Log): Promise<Agent> {
  const { stateDir, runDir } = config;
  const incarnation = await prepareState(stateDir);
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  const cleanUp = new AsyncDisposableStack();
  try {
    for (const directory of [stateDir, runDir]) {
      cleanUp.defer(await lockDirectory(directory, systemRandom.uuidV4().slice(0, 8)));
    }
    const identity = await requireIdentity(stateDir);
    const commands = createHostCommands({ clock: systemClock });
    const parts = await openParts(config, { identity, incarnation, commands, log }, cleanUp);
    await serveLocal(path.join(runDir, 'agent.sock'), parts, log, cleanUp);
    log.info({
      event: 'agent.started',
      version,
      node: identity.node,
      fleetId: identity.fleetId,
      incarnation,
    });
    return {
      instances: parts.instances,
      spawns: commands.spawns,
      run: (signal) => runFleetSession(config, identity, parts, log, signal),
      [Symbol.asyncDispose]: () => cleanUp.disposeAsync(),
    };
  } catch (error) {
    await cleanUp.disposeAsync();
    throw error;
  }
}

type Parts = Omit<RuntimeParts, 'onHello'>;

interface Life {
  readonly identity: NodeIdentity;
  readonly incarnation: string;
  readonly commands: HostCommands;
  readonly log: Log;
}

async function openParts(config: AgentConfig, life: Life, cleanUp: AsyncDisposableStack): Promise<Parts> {
  const { stateDir, labels } = config;
  const { identity, log } = life;
  const { count, ...range } = config.idRange;
  const clock = systemClock;
  const bootId = await readBootId();
  const { drivers, images } = openDrivers(config, life);
  for (const driver of drivers) cleanUp.defer(() => driver.close());
  const idmappedMounts = await probe(config, life);
  const places = { pools: config.pools, stateDir, range, idmappedMounts };
  const pools = openPools({ ...places, commands: life.commands, clock, random: systemRandom });
  for (const pool of pools.all) cleanUp.defer(() => pool.close());
  const { incarnation, commands } = life;
  const { allowedDevices, allowsPrivileged, firewall } = config;
  const networks = createGuestNetworks({ stateDir, incarnation, run: commands.run, log, firewall });
  const host = { drivers, images, pools, networks, allowsPrivileged };
  const tools = { ...host, range, rangeCount: count, clock, random: systemRandom, log, bootId };
  const instances = await openInstances({ stateDir, fleetId: identity.fleetId, tools });
  cleanUp.defer(() => instances.close());
  const collection = { images, pools: pools.all, instances, policy: config.images, directory: stateDir };
  cleanUp.defer(createImageCollector({ ...collection, clock, log }).start());
  const node = { name: identity.node, labels, agentVersion: version, stateDir };
  const reports: NodeReports = await createNodeReports({
    node: { ...node, idmappedMounts, allowedDevices, allowsPrivileged },
    clock,
    log,
    countInstances: () => instances.list().length,
    fingerprint: () => askAll(tools),
  });
  cleanUp.defer(() => reports.close());
  const keeps = (image: Image): boolean => isPinned(image, config.images.pinned);
  return { instances, reports, images, isPinned: keeps, bootId, clock };
}

async function askAll({ drivers, pools, networks, clock }: Tools): Promise<Fingerprints> {
  const signal = clock.timeout(fingerprintMs);
  const [runtimes, found, network] = await Promise.all([
    Promise.all(drivers.map((driver) => driver.fingerprint(signal))),
    Promise.all(pools.all.map((pool) => pool.fingerprint(signal))),
    networks
      .fingerprint(signal)
      .catch((error: unknown) => ({ network: `unknown: ${asDroverError(error).message}`.slice(0, 200) })),
  ]);
  return { runtimes, pools: found, network };
}

const probe = ({ stateDir, idRange }: AgentConfig, { commands }: Life): Promise<string> =>
  probeIdmap({
    directory: path.join(stateDir, 'idmap-probe'),
    run: commands.run,
    start: commands.start,
    id: systemRandom.uuidV7() as InstanceId,
    range: { base: idRange.base, size: idRange.size },
    signal: systemClock.timeout(probeMs),
  });

function openDrivers(config: AgentConfig, { incarnation, commands, log }: Life) {
  const { stateDir, runDir } = config;
  const base = { clock: systemClock, random: systemRandom };
  const cgroupPrefix = config.cgroupPrefix || `/drover-${incarnation.slice(0, 8)}`;
  const { allowedDevices, allowsPrivileged } = config;
  const rights = { allowedDevices, allowsPrivileged };
  const context = { ...base, commands, log, stateDir, runDir, cgroupPrefix, ...rights };
  const drivers: RuntimeDriver[] = Object.values(runtimeDrivers).map((create) => create(context));
  const images = createImageSources(config, { ...base, commands });
  return { drivers, images };
}

async function runFleetSession(
  config: AgentConfig,
  first: NodeIdentity,
  parts: Parts,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const { stateDir } = config;
  const address = (): string => config.controlPlane || first.address;
  const renewal = startRenewal({ stateDir, first, address, clock: systemClock, log });
  const mountServices = (server: Server, onHello: () => void): void => {
    const gate = createSessionGate();
    const open = (): void => {
      gate.open();
      onHello();
    };
    mount(server, RuntimeServiceService, runtimeService({ ...parts, onHello: open }), {
      guard: gate.authenticate,
      onError: (err, { method }) => log.info({ event: 'call.failed', method, err }),
    });
  };
  const { identity } = renewal;
  const base = { clock: systemClock, random: systemRandom, log, signal };
  await runSessions({ ...base, identity, address, mountServices });
  renewal.stop();
}

/** For root on this host alone: 0600 in a directory of 0700. */
async function serveLocal(
  socket: string,
  parts: Parts,
  log: Log,
  cleanUp: AsyncDisposableStack,
): Promise<void> {
  await rm(socket, { force: true });
  const server = new Server();
  mount(server, RuntimeServiceService, localRuntimeService({ ...parts, onHello: () => {} }), {
    guard: authenticateLocal,
    onError: (err, { method }) => log.info({ event: 'call.failed', method, err }),
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  cleanUp.defer(() => server.forceShutdown());
  await chmod(socket, 0o600);
}

async function requireIdentity(stateDir: string): Promise<NodeIdentity> {
  const identity = await readIdentity(stateDir);
  if (identity !== undefined) return identity;
  throw new DroverError(
    'failed-precondition',
    `this host has not joined a fleet (no identity in ${stateDir})`,
    {
      nextStep: 'run `drover node token NODE` on the control plane and `drover node join TOKEN` here',
    },
  );
}

/**
 * Others may pass through the state directory, and not look into it: guests of shifted ids must reach their
 * roots.
 */
async function prepareState(stateDir: string): Promise<string> {
  await mkdir(stateDir, { recursive: true, mode: 0o711 });
  await chmod(stateDir, 0o711);
  return readOrMake(path.join(stateDir, 'incarnation'), () => systemRandom.uuidV4());
}

async function reportingErrors(
  command: string,
  usage: string,
  argv: readonly string[],
  work: () => Promise<void>,
): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(usage);
    return 0;
  }
  try {
    await work();
    return 0;
  } catch (error) {
    const { kind, message, nextStep } = asDroverError(error);
    process.stderr.write(`${command}: ${message}\n${nextStep === '' ? '' : `next: ${nextStep}\n`}`);
    return kind === 'invalid-argument' ? 2 : 1;
  }
}
