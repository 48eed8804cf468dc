/**
 * A whole fleet on this machine: one control plane, a registry, and agents on simulated hosts, all real
 * processes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { type Registry, startRegistry } from '../test/fakes/registry.ts';
import { buildBusybox, pushImage } from '../test/image-builder.ts';
import { type SimulatedHost, startSimulatedHost } from './simulated-host.ts';
import { sweep } from './sweep.ts';
import { writeSystemRoot } from './system-root.ts';

const root = path.resolve(import.meta.dirname, '..');
const drover = path.join(root, 'drover');

export interface CommandOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface FleetHost {
  readonly name: string;
  readonly host: SimulatedHost;
  readonly stateDir: string;
  readonly logFile: string;
  /** Undefined while no agent runs on it. */
  agent: ChildProcess | undefined;
}

export interface Fleet {
  readonly folder: string;
  /** Of the control plane, on loopback here and on every host. */
  readonly address: string;
  readonly registry: Registry;
  readonly hosts: readonly FleetHost[];
  /** What a person sets to talk to this fleet. */
  readonly environment: Readonly<Record<string, string>>;
  /** Runs the command line against this fleet. */
  drover(args: readonly string[], options?: { readonly input?: string }): Promise<CommandOutcome>;
  startControlPlane(): Promise<void>;
  stopControlPlane(signal?: NodeJS.Signals): Promise<void>;
  startAgent(host: FleetHost): void;
  stopAgent(host: FleetHost, signal?: NodeJS.Signals): Promise<void>;
  /** Publishes the small image that the examples use; answers its reference. */
  publishImage(repository: string, tag: string): Promise<string>;
  /** Builds the root file system of the system container that the examples use; answers its reference. */
  buildSystemRoot(): Promise<string>;
  /** Ends everything and removes all that was made; the answer names what had to be swept away by force. */
  tearDown(): Promise<readonly string[]>;
}

export async function startFleet(options: {
  readonly hosts: number;
  /** Of each host's own ZFS pool. */
  readonly poolMib?: number;
  readonly say: (line: string) => void;
}): Promise<Fleet> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'drover-fleet-'));
  chmodSync(folder, 0o711);
  const registry = await startRegistry();
  const port = await freePort();
  const fleet = createFleet(folder, registry, port);
  try {
    options.say(`control plane on 127.0.0.1:${port}, registry on ${registry.address}`);
    await fleet.startControlPlane();
    await succeed(fleet, ['context', 'import', path.join(folder, 'control-plane/admin.yaml')]);
    for (let number = 1; number <= options.hosts; number += 1) {
      const ports = [port, Number(registry.address.split(':')[1])];
      const { name, host } = await addHost(fleet, number, ports, options.poolMib);
      const pools = host.zfs === undefined ? 'a directory as its pool' : 'a ZFS pool of its own';
      options.say(`host ${name} joined, with ${pools} and the label zone=${labelsOf(number)['zone']}`);
    }
    await hostsReady(fleet);
    return fleet;
  } catch (error) {
    await fleet.tearDown();
    throw error;
  }
}

const readyMs = 60_000;

/** What is applied before would go to the first host alone. */
async function hostsReady(fleet: Fleet): Promise<void> {
  const endMs = Date.now() + readyMs;
  for (;;) {
    const { stdout } = await succeed(fleet, ['get', 'nodes', '-o', 'json']);
    const nodes = JSON.parse(stdout) as {
      readonly ready?: boolean;
      readonly metadata: { readonly name: string };
    }[];
    const waiting = nodes.filter(({ ready }) => ready !== true).map(({ metadata }) => metadata.name);
    if (nodes.length === fleet.hosts.length && waiting.length === 0) return;
    if (Date.now() > endMs) throw new Error(`not ready after ${readyMs / 1000} s: ${waiting.join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

type FleetUnderWay = Fleet & { readonly hosts: FleetHost[] };

function createFleet(folder: string, registry: Registry, port: number): FleetUnderWay {
  const address = `127.0.0.1:${port}`;
  const environment = {
    XDG_CONFIG_HOME: path.join(folder, 'config'),
    XDG_CACHE_HOME: path.join(folder, 'cache'),
  };
  const stateDir = path.join(folder, 'control-plane');
  let controlPlane: ChildProcess | undefined;
  const fleet: FleetUnderWay = {
    folder,
    address,
    registry,
    hosts: [],
    environment,
    drover: (args, { input = '' } = {}) => runDrover(args, input, environment),
    startControlPlane: async () => {
      const log = openSync(path.join(folder, 'control-plane.log'), 'a');
      const args = ['control-plane', '--state-dir', stateDir, '--listen', address];
      controlPlane = spawn(drover, args, { stdio: ['ignore', log, log], detached: true });
      closeSync(log);
      await listening(port, controlPlane, path.join(folder, 'control-plane.log'));
    },
    stopControlPlane: async (signal = 'SIGTERM') => {
      await end(controlPlane, signal);
      controlPlane = undefined;
    },
    startAgent: (host) => {
      const command = [drover, 'agent', '--config', path.join(folder, host.name, 'agent.yaml')];
      const quoted = [...command.map((word) => `'${word}'`), '>>', `'${host.logFile}'`, '2>&1'].join(' ');
      host.agent = host.host.spawn(['sh', '-c', `exec ${quoted}`], { stdio: 'ignore' });
    },
    stopAgent: async (host, signal = 'SIGTERM') => {
      await end(host.agent, signal);
      host.agent = undefined;
    },
    publishImage: async (repository, tag) => {
      const image = await buildBusybox({ Cmd: ['/bin/sh'] });
      await pushImage({ url: registry.url, repository, tag }, image);
      return `${registry.address}/${repository}:${tag}`;
    },
    buildSystemRoot: async () => {
      const file = path.join(folder, 'templates/system.tar.gz');
      mkdirSync(path.dirname(file), { recursive: true });
      await writeSystemRoot(file);
      return `tar:${file}`;
    },
    tearDown: () => tearDown(fleet),
  };
  return fleet;
}

async function tearDown(fleet: Fleet): Promise<readonly string[]> {
  for (const host of fleet.hosts) await fleet.stopAgent(host);
  await fleet.stopControlPlane();
  const swept = sweep(
    fleet.folder,
    fleet.hosts.map(({ stateDir, host }) => ({ stateDir, pid: host.pid })),
  );
  for (const { host } of fleet.hosts) await host.close();
  await fleet.registry.stop();
  rmSync(fleet.folder, { recursive: true, force: true });
  return swept;
}

const ownPool = { name: 'local', driver: 'directory' };
const zfsPool = { name: 'tank', driver: 'zfs', dataset: 'tank/drover' };
const labelsOf = (number: number): Record<string, string> => ({ zone: number % 2 === 1 ? 'a' : 'b' });

async function addHost(
  fleet: FleetUnderWay,
  number: number,
  ports: readonly number[],
  poolMib = 512,
): Promise<FleetHost> {
  const name = `h${number}`;
  const home = path.join(fleet.folder, name);
  const stateDir = path.join(home, 'state');
  mkdirSync(stateDir, { recursive: true, mode: 0o711 });
  // The namespace's name is seen by the whole machine, so it carries what tells this fleet from another.
  const unique = `drv-${path.basename(fleet.folder).slice(-6)}-${name}`;
  const host = await startSimulatedHost({ name: unique, folder: path.join(home, 'host'), ports, poolMib });
  const made: FleetHost = { name, host, stateDir, logFile: path.join(home, 'agent.log'), agent: undefined };
  fleet.hosts.push(made);
  const config = {
    name,
    stateDir,
    runDir: '/run/drover/agent',
    labels: labelsOf(number),
    insecureRegistries: [fleet.registry.address],
    templateRoots: [path.join(fleet.folder, 'templates')],
    pools: host.zfs === undefined ? [ownPool] : [ownPool, zfsPool],
  };
  // JSON is YAML, too.
  writeFileSync(path.join(home, 'agent.yaml'), JSON.stringify(config, undefined, 2));
  const { stdout } = await succeed(fleet, ['node', 'token', name, '-o', 'json']);
  const { token } = JSON.parse(stdout) as { token: string };
  const join = host.spawn([drover, 'node', 'join', token, '--config', path.join(home, 'agent.yaml')], {
    stdio: 'pipe',
  });
  const outcome = await collect(join, '');
  if (outcome.code !== 0) throw new Error(`${name} did not join: ${outcome.stderr}`);
  fleet.startAgent(made);
  return made;
}

async function succeed(fleet: Fleet, args: readonly string[]): Promise<CommandOutcome> {
  const outcome = await fleet.drover(args);
  if (outcome.code !== 0)
    throw new Error(`drover ${args.join(' ')}: exit ${outcome.code}: ${outcome.stderr}`);
  return outcome;
}

function runDrover(args: readonly string[], input: string, environment: Readonly<Record<string, string>>) {
  const child = spawn(drover, args, {
    env: { ...process.env, ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  return collect(child, input);
}

async function collect(child: ChildProcess, input: string): Promise<CommandOutcome> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code: code ?? 128, stdout, stderr };
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  const late = setTimeout(() => child.kill('SIGKILL'), 15_000);
  await ended;
  clearTimeout(late);
}

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(port: number, process: ChildProcess, logFile: string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    if (process.exitCode !== null) break;
    const socket = net.connect({ host: '127.0.0.1', port });
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const log = existsSync(logFile) ? readFileSync(logFile, 'utf8').slice(-2000) : '';
  throw new Error(`nothing listens on 127.0.0.1:${port}; the log says:\n${log}`);
}
