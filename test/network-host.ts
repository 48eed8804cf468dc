/** A host of its own for guest networks: the code under test runs on it as a process, guests are sleepers. */
import {
  type ChildProcess,
  type ExecFileSyncOptionsWithStringEncoding,
  execFileSync,
} from 'node:child_process';
import { mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DroverError, type ErrorKind } from '#shared/errors.ts';
import { systemRandom } from '#shared/random.ts';
import type { GuestNetworks } from '../agent/network/guest-network.ts';
import { type SimulatedHost, startSimulatedHost } from '../scripts/simulated-host.ts';
import type { GuestNetworkWorld } from './conformance/guest-network.ts';
import type { NetworkCall, NetworkChildOptions } from './guest-network-child.ts';
import { until } from './until.ts';

const node = path.resolve(import.meta.dirname, '../node_modules/.bin/node');
const program = path.join(import.meta.dirname, 'guest-network-child.ts');

export interface NetworkHost extends GuestNetworkWorld {
  readonly incarnation: string;
  readonly stateDir: string;
  /** Kills the agent and starts another, which may be told otherwise whether it has a firewall. */
  reopen(dieAt?: NetworkChildOptions['dieAt'], firewall?: boolean): Promise<RemoteNetworks>;
  readonly networks: RemoteNetworks;
  /** On the host, its output; throws when it fails. */
  run(...command: readonly string[]): string;
  /** In the network of a process. */
  runIn(pid: number, ...command: readonly string[]): string;
  /** A program that goes on, in the network of a process or on the host; ends with the host. */
  startIn(pid: number | undefined, ...command: readonly string[]): ChildProcess;
  /** A server in the network of a process: says its name and who asked. */
  serve(pid: number, port: number, name: string): Promise<void>;
}

export interface RemoteNetworks extends GuestNetworks {
  /** How often each tool was spawned. */
  spawns(): Promise<Readonly<Record<string, number>>>;
  /** Resolves once the process has ended. */
  readonly ended: Promise<void>;
  kill(): Promise<void>;
}

export async function startNetworkHost(options: { readonly firewall?: boolean } = {}): Promise<NetworkHost> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'drover-network-'));
  const tail = systemRandom.uuidV4().slice(0, 8);
  const host = await startSimulatedHost({ name: `drv-${tail}`, folder, ports: [] });
  const own = { incarnation: systemRandom.uuidV4(), stateDir: path.join(folder, 'state') };
  const { firewall = false } = options;
  const children = new Set<ChildProcess>();
  const start = (...command: string[]): ChildProcess => {
    const child = host.spawn(command, { stdio: 'ignore' });
    children.add(child);
    return child;
  };
  const open = (dieAt?: NetworkChildOptions['dieAt'], isFirewalled = firewall): RemoteNetworks =>
    openRemote(host, { ...own, firewall: isFirewalled, ...(dieAt === undefined ? {} : { dieAt }) });
  const inside = ['-t', `${await holderOf(host, start)}`, '-m', '-n', '--'];
  const quiet: ExecFileSyncOptionsWithStringEncoding = {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  };
  const run = (...command: readonly string[]): string =>
    execFileSync('nsenter', [...inside, ...command], quiet);
  const foreign = new Set<string>();
  let networks = open();

  return {
    ...own,
    get networks() {
      return networks;
    },
    async reopen(dieAt, isFirewalled) {
      await networks.kill();
      networks = open(dieAt, isFirewalled);
      return networks;
    },
    newGuest: () => newGuest(start),
    endGuest: (pid) => end([...children].find((child) => child.pid === pid)),
    run,
    runIn: (pid, ...command) => execFileSync('nsenter', ['-t', `${pid}`, '-n', '--', ...command], quiet),
    startIn: (pid, ...command) =>
      pid === undefined ? start(...command) : start('nsenter', '-t', `${pid}`, '-n', '--', ...command),
    async serve(pid, port, name) {
      start('nsenter', '-t', `${pid}`, '-n', '--', node, '-e', echoServer, `${port}`, name);
      await untilListening(port, () => readFileSync(`/proc/${pid}/net/tcp6`, 'utf8'));
    },
    async makeForeignBridge(name) {
      run('ip', 'link', 'add', name, 'type', 'bridge');
      run('ip', 'link', 'set', name, 'up');
      foreign.add(name);
    },
    async remains() {
      const links = run('ls', '/sys/class/net').split('\n');
      const rules = ['iptables-save', 'ip6tables-save'].flatMap((tool) =>
        run(tool)
          .split('\n')
          .filter((line) => /^(-A|:CNI)/.test(line))
          .map((line) => `${tool} ${line}`),
      );
      const tables = run('nft', 'list', 'tables')
        .split('\n')
        .filter((line) => line.includes('drover'));
      const mine = (name: string): boolean => name !== '' && name !== 'lo' && !foreign.has(name);
      return [...links.filter(mine), ...rules, ...tables].map(plain).toSorted();
    },
    async listen(port) {
      start(node, '-e', echoServer, `${port}`);
      await untilListening(port, () => run('cat', '/proc/net/tcp6'));
    },
    async [Symbol.asyncDispose]() {
      await networks.kill();
      for (const child of children) await end(child);
      await host.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const echoServer = `
  const [port, name = ''] = process.argv.slice(1);
  require('net').createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(name + ' ' + socket.remoteAddress.replace('::ffff:', '') + '\\n');
  }).listen({ port: Number(port), host: '::' });`;

/** What a server says; the empty text where none answers. */
export const askServer = `
  const [port, host] = process.argv.slice(1);
  const socket = require('net').connect({ port: Number(port), host });
  socket.setTimeout(2000, () => socket.destroy());
  socket.on('error', () => undefined).pipe(process.stdout);`;

async function untilListening(port: number, table: () => string): Promise<void> {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')} `;
  await until(() => table().includes(local), { what: `a listener on ${port}` });
}

/** The kernel counts what passes through a rule; that is no difference. */
const plain = (line: string): string => line.replace(/^:(\S+) .*$/, ':$1');

/** A process on the host whose pid others may enter it by. */
async function holderOf(host: SimulatedHost, start: (...command: string[]) => ChildProcess): Promise<number> {
  const { pid = 0 } = start('sleep', '3600');
  const wanted = readlinkSync('/proc/self/ns/mnt');
  await until(
    () =>
      readlinkSync(`/proc/${pid}/ns/mnt`) !== wanted && readlinkSync(`/proc/${pid}/exe`).endsWith('/sleep'),
    {
      what: `a process on ${host.name}`,
    },
  );
  return pid;
}

async function newGuest(start: (...command: string[]) => ChildProcess): Promise<number> {
  const { pid = 0 } = start('unshare', '-n', 'sleep', '3600');
  await until(() => readlinkSync(`/proc/${pid}/exe`).endsWith('/sleep'), { what: 'a guest' });
  return pid;
}

async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
}

function openRemote(host: SimulatedHost, options: NetworkChildOptions): RemoteNetworks {
  const child = host.spawn([node, program, JSON.stringify(options)], { stdio: 'pipe' });
  const calls = new Map<number, PromiseWithResolvers<unknown>>();
  let last = 0;
  let errors = '';
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  child.stderr?.on('data', (chunk: Buffer) => (errors += String(chunk)));
  child.stdin?.on('error', () => undefined);
  child.once('exit', () => {
    for (const call of calls.values()) call.reject(new Error(`the agent ended ${errors}`));
    resolve();
  });
  if (child.stdout !== null)
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { id, value, error } = JSON.parse(line) as RemoteAnswer;
      const call = calls.get(id);
      calls.delete(id);
      if (error === undefined) call?.resolve(value);
      else call?.reject(new DroverError(error.kind, error.message, error));
    });
  const ask = <T>(call: NetworkCall): Promise<T> => {
    last += 1;
    const answer = Promise.withResolvers<unknown>();
    answer.promise.catch(() => undefined);
    calls.set(last, answer);
    child.stdin?.write(`${JSON.stringify({ id: last, call })}\n`);
    return answer.promise as Promise<T>;
  };
  return {
    ended,
    kill: () => end(child),
    spawns: () => ask({ call: 'spawns' }),
    fingerprint: () => ask({ call: 'fingerprint' }),
    prepare: (network) => ask({ call: 'prepare', network }),
    attach: (network, pid) => ask({ call: 'attach', network, pid: pid ?? null }),
    detach: (id) => ask({ call: 'detach', id }),
    addressesOf: (id) => ask({ call: 'addressesOf', id }),
    sweep: (wanted) => ask({ call: 'sweep', wanted: [...wanted] }),
  };
}

interface RemoteAnswer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: {
    readonly kind: ErrorKind;
    readonly message: string;
    readonly subject: Record<string, string>;
    readonly nextStep: string;
  };
}
