/** All that hosts of a fleet have on them for its guests, whoever says what about them. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { Fleet, FleetHost } from '../../scripts/fleet.ts';
import { guestGroups, monitorsOf, mountsUnder, rulesOf } from '../../scripts/sweep.ts';
import { readText } from './guests.ts';

/** Below the state directory; how commands inside ended is kept for a day, whoever they were of. */
const stateFolders = [
  'instances',
  'guests',
  'guest-logs',
  'volumes',
  'lxc/guests',
  'lxc/shared',
  'lxc/output',
  'network',
];
/** Below the directory that a reboot empties. */
const runFolders = ['crun', 'exits', 'lxc/monitors'];

/** Each names the instance or volume that it belongs to, where anything does. */
export async function tracesOn({ stateDir, host }: FleetHost): Promise<string[]> {
  const runDir = path.join(host.folder, 'run/drover/agent');
  return [
    ...new Set(guestGroups(stateDir).map((group) => `cgroup ${group.split('/').slice(5).join('/')}`)),
    ...monitorsOf(stateDir).map((pid) => `process ${pid} ${titleOf(pid)}`),
    ...mountsUnder(stateDir, host.pid).map((target) => `mount ${target}`),
    ...stateFolders.flatMap((folder) => entries(stateDir, folder)),
    ...runFolders.flatMap((folder) => entries(runDir, folder)),
    ...linksWithAlias(host.pid),
    ...rulesOf(host.pid),
    ...(await datasetsOf(host)),
  ];
}

/** Those that belong to none of these; ids of instances and volumes. */
export async function strangers(fleet: Fleet, live: ReadonlySet<string>): Promise<string[]> {
  const marks = [...live].flatMap((id) => [id, `drv${id.replaceAll('-', '').slice(-10)}`]);
  const found = await Promise.all(
    fleet.hosts.map(async (host) => (await tracesOn(host)).map((trace) => `${host.name}: ${trace}`)),
  );
  return found.flat().filter((trace) => !marks.some((mark) => trace.includes(mark)));
}

/** Of volumes, snapshots with their holds, and what is half made; images belong to no instance. */
export async function datasetsOf({ zfs }: FleetHost['host']): Promise<string[]> {
  if (zfs === undefined) return [];
  const groups = ['roots', 'data', 'staging'].map((name) => `tank/drover/${name}`);
  const there = (await zfs.ask('zfs', 'list', '-H', '-o', 'name', '-r', 'tank')).split('\n');
  const known = groups.filter((group) => there.includes(group));
  if (known.length === 0) return [];
  const found = await zfs.ask('zfs', 'list', '-H', '-r', '-t', 'all', '-o', 'name,userrefs', ...known);
  return found
    .split('\n')
    .filter((line) => line !== '' && !groups.includes(line.split('\t')[0] ?? ''))
    .map((line) => `dataset ${line.replace('\t', ' holds: ')}`);
}

interface Link {
  readonly ifname: string;
  readonly link_type: string;
  readonly ifalias?: string;
}

const linksWithAlias = (pid: number): string[] =>
  (JSON.parse(inNetwork(pid, 'ip', '-j', 'link', 'show')) as Link[])
    .filter(({ link_type }) => link_type !== 'loopback')
    .map(({ ifname, ifalias = '' }) => `interface ${ifname} ${ifalias}`.trimEnd());

export const inNetwork = (pid: number, tool: string, ...args: readonly string[]): string =>
  execFileSync('nsenter', ['-t', `${pid}`, '-n', '--', tool, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 20_000,
  });

const titleOf = (pid: number): string => readText(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').slice(0, 400);

function entries(base: string, folder: string): string[] {
  const directory = path.join(base, folder);
  const names = existsSync(directory) ? readdirSync(directory) : [];
  return names.filter((name) => name !== 'write-probe').map((name) => `file ${folder}/${name}`);
}

/** Addresses inside of a running guest, as its own kernel tables have them. */
export function addressesInside(pid: number): string[] {
  const links = JSON.parse(inNetwork(pid, 'ip', '-j', 'addr', 'show')) as {
    readonly ifname: string;
    readonly addr_info: readonly { readonly family: string; readonly local: string }[];
  }[];
  return links
    .filter(({ ifname }) => ifname !== 'lo')
    .flatMap(({ addr_info }) => addr_info)
    .filter(({ family }) => family === 'inet')
    .map(({ local }) => local);
}

/** What the host enforces of a guest; zero where it sets nothing. */
export function limitsOnHost({ stateDir }: FleetHost, instanceId: string) {
  const incarnation = readFileSync(path.join(stateDir, 'incarnation'), 'utf8').trim().slice(0, 8);
  const read = (controller: string, file: string): number => {
    const found = ['', '-lxc']
      .map((kind) => `/sys/fs/cgroup/${controller}/drover-${incarnation}${kind}/${instanceId}/${file}`)
      .find((one) => existsSync(one));
    return found === undefined ? 0 : Number(readText(found).trim());
  };
  return {
    memoryMib: read('memory', 'memory.limit_in_bytes') / 1024 / 1024,
    pids: read('pids', 'pids.max'),
    cpuMillicores: read('cpu', 'cpu.cfs_quota_us') / 100,
  };
}

export function isFrozen({ stateDir }: FleetHost, instanceId: string): boolean {
  const incarnation = readFileSync(path.join(stateDir, 'incarnation'), 'utf8').trim().slice(0, 8);
  return ['', '-lxc'].some((kind) =>
    readText(`/sys/fs/cgroup/freezer/drover-${incarnation}${kind}/${instanceId}/freezer.state`).startsWith(
      'FROZEN',
    ),
  );
}
