/** What the quickstart asks of the hosts themselves: that it runs is not believed because it is said. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Fleet, FleetHost } from './fleet.ts';

const runFile = promisify(execFile);

export interface InstanceRow {
  readonly metadata: { readonly name: string; readonly id: string };
  readonly workload: string;
  readonly node: string;
  readonly observed?: {
    readonly pid?: number;
    readonly phase?: string;
    readonly addresses?: readonly string[];
  };
}

export async function instancesOf(fleet: Fleet, workload: string): Promise<InstanceRow[]> {
  const { stdout } = await fleet.drover(['get', 'instances', '-o', 'json']);
  return (JSON.parse(stdout) as InstanceRow[]).filter((row) => row.workload === workload);
}

const hostOf = (fleet: Fleet, row: InstanceRow): FleetHost => {
  const host = fleet.hosts.find(({ name }) => name === row.node);
  if (host === undefined) throw new Error(`${row.metadata.name} is on no node`);
  return host;
};

const pidOf = ({ observed }: InstanceRow): number => observed?.pid ?? 0;
const addressOf = ({ observed }: InstanceRow): string => observed?.addresses?.[0] ?? 'no address';

/** A user namespace of its own, a seccomp filter, and for OCI containers no way to more rights. */
export function checkConfined(row: InstanceRow): string {
  const pid = pidOf(row);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const rootOnHost = readFileSync(`/proc/${pid}/uid_map`, 'utf8').trim().split(/\s+/)[1];
  if (!/NoNewPrivs:\s*1/.test(status) || !/Seccomp:\s*2/.test(status) || rootOnHost === '0')
    throw new Error(`${row.metadata.name} on ${row.node} runs, but not as safely as it should`);
  return (
    `${row.metadata.name} runs on ${row.node} as process ${pid}: ` +
    'user namespace, seccomp and no new privileges seen on the host'
  );
}

/** Held by LXC's own monitor, root inside somebody else outside, and its root what the pool says. */
export async function checkSystemContainer(fleet: Fleet, row: InstanceRow): Promise<string[]> {
  const pid = pidOf(row);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const parent = /^PPid:\s*(\d+)$/m.exec(status)?.[1] ?? '0';
  const title = readFileSync(`/proc/${parent}/cmdline`, 'utf8');
  const rootOnHost = readFileSync(`/proc/${pid}/uid_map`, 'utf8').trim().split(/\s+/)[1];
  if (!title.startsWith('[lxc monitor]') || !title.includes(row.metadata.id) || rootOnHost === '0')
    throw new Error(`${row.metadata.name} runs, but not in LXC and a user namespace: ${title}`);
  const confined = `${row.metadata.name} runs on ${row.node} as process ${pid}: LXC in a user namespace`;
  const { zfs } = hostOf(fleet, row).host;
  if (zfs === undefined) return [confined];
  const dataset = `tank/drover/roots/${row.metadata.id}`;
  const origin = (await zfs.ask('zfs', 'get', '-H', '-o', 'value', 'origin', dataset)).trim();
  const mounts = readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n');
  const hasRoot = mounts.some((line) => line.split(' ')[4] === '/' && line.includes(dataset));
  if (!/^tank\/drover\/images\/\S+@ready$/.test(origin) || !hasRoot)
    throw new Error(`the root of ${row.metadata.name} is no clone in the pool: ${origin}`);
  return [confined, `its root is the ZFS dataset ${dataset}, a clone of its image`];
}

/** The address answers: to the host, and to the neighbour on the same network. */
export async function checkAnswers(fleet: Fleet, row: InstanceRow, neighbour: InstanceRow): Promise<string> {
  const address = addressOf(row);
  const { pid } = hostOf(fleet, row).host;
  await runFile('nsenter', ['-t', `${pid}`, '-n', '--', 'busybox', 'ping', '-c', '1', '-W', '5', address]);
  const fetched = await fleet.drover([
    'exec',
    neighbour.metadata.name,
    '--',
    '/bin/wget',
    '-q',
    '-O',
    '-',
    `http://${address}/`,
  ]);
  if (!fetched.stdout.includes('a system container answers'))
    throw new Error(`${neighbour.metadata.name} got no answer of ${address}: ${fetched.stderr}`);
  return `${address} answers the host's ping, and a request of ${neighbour.metadata.name}`;
}
