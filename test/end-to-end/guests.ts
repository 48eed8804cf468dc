/** What the hosts themselves show of a fleet's guests, whoever says what about them. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { expect } from 'vitest';
import { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { systemRandom } from '#shared/random.ts';
import { createClient } from '#shared/rpc-client.ts';
import type { Fleet, FleetHost } from '../../scripts/fleet.ts';
import type { InstanceRow } from './drive.ts';

export function isAlive(pid: number): boolean {
  return pid > 0 && /State:\s*[^ZX\s]/.test(readText(`/proc/${pid}/status`));
}

/** Host pids of what is process 1 of its own PID namespace in the instance's cgroup. */
export function firstProcesses({ stateDir }: FleetHost, instanceId: string): number[] {
  const incarnation = readFileSync(path.join(stateDir, 'incarnation'), 'utf8').trim().slice(0, 8);
  const group = path.join('/sys/fs/cgroup/pids', `drover-${incarnation}`, instanceId);
  return readText(path.join(group, 'cgroup.procs'))
    .split('\n')
    .filter((pid) => /^NSpid:.*\t1$/m.test(readText(`/proc/${pid}/status`)))
    .map(Number);
}

/** How often its command began, as it says itself in its output. */
export const starts = ({ stateDir }: FleetHost, instanceId: string): number =>
  readText(path.join(stateDir, 'guest-logs', instanceId, 'current.log')).split('started as').length - 1;

export function hostOf(fleet: Fleet, row: InstanceRow | undefined): FleetHost {
  const host = fleet.hosts.find(({ name }) => name === row?.node);
  if (host === undefined) throw new Error(`${row?.metadata.name ?? 'no instance'} is on no host`);
  return host;
}

/** Each runs as one process, on its own host alone, and was begun no oftener than was told. */
export function expectNothingTwice(fleet: Fleet, rows: readonly InstanceRow[]): void {
  const found = rows.map((row) => ({
    name: row.metadata.name,
    running: fleet.hosts.flatMap((host) =>
      firstProcesses(host, row.metadata.id).map((pid) => `${host.name} ${pid}`),
    ),
    starts: starts(hostOf(fleet, row), row.metadata.id),
  }));
  const wanted = rows.map(({ metadata, node, observed }) => ({
    name: metadata.name,
    running: [`${node} ${observed?.pid}`],
    starts: 1 + (observed?.restarts ?? 0),
  }));
  expect(found).toEqual(wanted);
}

/** What the runtime keeps beside the guests' own directories. */
export const runtimeTraces = (fleet: Fleet): string[] =>
  fleet.hosts.flatMap(({ name, stateDir, host }) =>
    [
      path.join(stateDir, 'guest-logs'),
      path.join(host.folder, 'run/drover/agent/crun'),
      path.join(host.folder, 'run/drover/agent/exits'),
    ].flatMap((folder) =>
      existsSync(folder)
        ? readdirSync(folder).map((entry) => `${name} ${path.basename(folder)}/${entry}`)
        : [],
    ),
  );

export /** As root on the host itself does what no control plane can order any more. */
async function removeByHand({ host }: FleetHost, instanceId: string): Promise<void> {
  const socket = `unix:${path.join(host.folder, 'run/drover/agent/agent.sock')}`;
  const client = createClient(RuntimeServiceService, socket, credentials.createInsecure());
  const order = { fleetId: '', fleetEpoch: 0n, instanceId, generation: 0n, requestId: systemRandom.uuidV4() };
  await client.removeInstance({ order, graceMs: 0 }, { deadlineMs: 20_000 });
  client.close();
}

/** Empty where there is none. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
