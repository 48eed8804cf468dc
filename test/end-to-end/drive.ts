/** What the end-to-end tests ask of a fleet, through the command line as a person would. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import type { Fleet } from '../../scripts/fleet.ts';
import { guestGroups, monitorsOf, mountsUnder } from '../../scripts/sweep.ts';
import { until } from '../until.ts';

export interface InstanceRow {
  readonly metadata: { readonly name: string; readonly id: string };
  readonly node: string;
  readonly workload: string;
  readonly stale?: boolean;
  readonly observed?: { readonly phase?: string; readonly pid?: number; readonly restarts?: number };
}

export interface NodeRow {
  readonly metadata: { readonly name: string };
  readonly connected?: boolean;
  readonly ready?: boolean;
}

/** Runs a command that must succeed and answers its JSON. */
export async function ask<T>(fleet: Fleet, ...args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await fleet.drover([...args, '-o', 'json']);
  expect({ args, code, stderr: code === 0 ? '' : stderr || stdout }).toEqual({ args, code: 0, stderr: '' });
  return JSON.parse(stdout) as T;
}

export const instancesOf = async (fleet: Fleet, workload: string): Promise<InstanceRow[]> =>
  (await ask<InstanceRow[]>(fleet, 'get', 'instances')).filter((one) => one.workload === workload);

export const isRunning = ({ observed, stale }: InstanceRow): boolean =>
  observed?.phase === 'PHASE_RUNNING' && stale !== true;

/** Waits until the workload has exactly so many instances, all running. */
export const running = (
  fleet: Fleet,
  workload: string,
  count: number,
  deadlineMs = 60_000,
): Promise<InstanceRow[]> =>
  until(
    async () => {
      const rows = await instancesOf(fleet, workload);
      return rows.length === count && rows.every(isRunning) ? rows : undefined;
    },
    { what: `${count} running instances of ${workload}`, deadlineMs, everyMs: 200 },
  ) as Promise<InstanceRow[]>;

export const nodesReady = (fleet: Fleet, count: number): Promise<unknown> =>
  until(
    async () =>
      (await ask<NodeRow[]>(fleet, 'get', 'nodes')).filter(({ ready }) => ready === true).length === count,
    { what: `${count} ready nodes`, deadlineMs: 60_000, everyMs: 200 },
  );

/** A spec as a person would write it. */
export const specText = (name: string, image: string, more: Readonly<Record<string, unknown>> = {}): string =>
  JSON.stringify({
    kind: 'Workload',
    name,
    image,
    runtime: 'crun',
    command: ['/bin/sh', '-c', 'echo started as $NAME; trap "exit 0" TERM; while true; do sleep 0.2; done'],
    env: { NAME: name },
    resources: { cpu: '100m', memory: '32MiB', disk: '64MiB', pids: 32 },
    network: 'none',
    restart: { policy: 'always' },
    update: { readyAfter: '500ms' },
    stop: { grace: '2s' },
    ...more,
  });

export async function apply(fleet: Fleet, text: string, ...flags: readonly string[]): Promise<void> {
  const { code, stderr } = await fleet.drover(['apply', '-f', '-', ...flags], { input: text });
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
}

export async function remove(fleet: Fleet, name: string): Promise<void> {
  const { code, stderr } = await fleet.drover(['delete', name, '--yes', '--wait', '--timeout', '60s']);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
}

/** Everything on this machine that belongs to the fleet's guests: cgroups, monitors, mounts, directories. */
export const traces = (fleet: Fleet): string[] =>
  fleet.hosts.flatMap(({ stateDir, host }) => {
    const held = ['instances', 'guests', 'volumes', 'lxc/guests', 'lxc/shared'].flatMap((kind) => {
      const names = existsSync(path.join(stateDir, kind)) ? readdirSync(path.join(stateDir, kind)) : [];
      return names.filter((name) => name !== 'write-probe').map((name) => `${kind}/${name}`);
    });
    return [
      ...guestGroups(stateDir).map((group) => `cgroup ${group}`),
      ...mountsUnder(stateDir, host.pid).map((target) => `mount ${target}`),
      ...monitorsOf(stateDir).map((pid) => `monitor ${pid}`),
      ...held,
    ];
  });

/** How the workload's only instance ended, once that is known. */
export const exitOf = (fleet: Fleet, workload: string): Promise<unknown> =>
  until(
    async () => {
      const [row] = await instancesOf(fleet, workload);
      const { phase, exit } = (row?.observed ?? {}) as { phase?: string; exit?: unknown };
      return phase === 'PHASE_EXITED' ? exit : undefined;
    },
    { what: 'the exit to be reported', deadlineMs: 20_000, everyMs: 200 },
  );

interface Outcome {
  readonly code: number | null;
  readonly stderr: string;
}

/** Of a program that ends at once; it is killed where it does not. */
export async function outcome(child: ChildProcess): Promise<Outcome> {
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const late = setTimeout(() => child.kill('SIGKILL'), 15_000);
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(late);
  return { code, stderr };
}
