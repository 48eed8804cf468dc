/** Commands that a person repeats until the node answers, and what the fleet says afterwards. */
import { expect } from 'vitest';
import type { CommandOutcome, Fleet } from '../../scripts/fleet.ts';
import { until } from '../until.ts';
import { ask, isRunning } from './drive.ts';

export interface GuestRow {
  readonly metadata: { readonly name: string; readonly id: string };
  readonly workload: string;
  readonly node: string;
  readonly stale?: boolean;
  readonly message?: string;
  readonly observed?: {
    readonly phase?: string;
    readonly pid?: number;
    readonly restarts?: number;
    readonly generation?: string;
    readonly addresses?: readonly string[];
    readonly limits?: { readonly memoryMib?: number; readonly pids?: number };
    readonly exit?: { readonly code?: number; readonly unknown?: boolean };
  };
  readonly assigned?: {
    readonly volumes?: readonly { readonly name: string; readonly volumeId: string }[];
    readonly ports?: readonly { readonly hostPort: number }[];
  };
}

export interface NodeRow {
  readonly metadata: { readonly name: string };
  readonly conditions?: readonly { readonly type: string; readonly message: string }[];
}

const patienceMs = 90_000;

/** An agent that was just killed does not answer, and then the same command is given again. */
export const insist = (
  fleet: Fleet,
  args: readonly string[],
  isDone: (outcome: CommandOutcome) => boolean = ({ code }) => code === 0,
  input = '',
): Promise<CommandOutcome> => {
  let last: CommandOutcome | undefined;
  return until(
    async () => {
      last = await fleet.drover(args, { input });
      return isDone(last) ? last : undefined;
    },
    { what: `drover ${args.join(' ')}`, deadlineMs: patienceMs, everyMs: 300 },
  ).catch((error: Error) => {
    throw new Error(`${error.message}; it said: ${last?.stderr}`);
  });
};

/** Undoes a workload's last update; where its node did not answer in time, as the next step that it names. */
export async function undoUpdate(fleet: Fleet, workload: string): Promise<void> {
  const nextStep = /drover (snapshot rollback) (\S+) (\S+)/;
  const isDecided = ({ code, stderr }: CommandOutcome): boolean => code === 0 || nextStep.test(stderr);
  const { code, stderr } = await insist(fleet, ['rollback', workload, '--yes'], isDecided);
  if (code === 0) return;
  const [, , instance = '', snapshot = ''] = nextStep.exec(stderr) ?? [];
  await insist(fleet, ['snapshot', 'rollback', instance, snapshot, '--yes']);
}

export const guestsOf = async (fleet: Fleet, workload: string): Promise<GuestRow[]> =>
  (await ask<GuestRow[]>(fleet, 'get', 'instances')).filter((one) => one.workload === workload);

/** Waits until all copies run, as many as said, and as wanted. */
export const settled = (
  fleet: Fleet,
  workload: string,
  count: number,
  isWanted: (row: GuestRow) => boolean = () => true,
): Promise<GuestRow[]> =>
  until(
    async () => {
      const rows = await guestsOf(fleet, workload);
      const good = rows.length === count && rows.every((row) => isRunning(row) && isWanted(row));
      return good ? rows : undefined;
    },
    { what: `${count} copies of ${workload} to run as wanted`, deadlineMs: patienceMs, everyMs: 200 },
  ).catch(async (error: Error) => {
    const { stdout } = await fleet.drover(['get', 'instances', '-o', 'wide']);
    const { stdout: why } = await fleet.drover(['describe', 'workload', workload]);
    throw new Error(
      `${error.message}\n${stdout}\n${why}\n${JSON.stringify(await guestsOf(fleet, workload))}`,
    );
  }) as Promise<GuestRow[]>;

export async function only(
  fleet: Fleet,
  workload: string,
  isWanted?: (row: GuestRow) => boolean,
): Promise<GuestRow> {
  const [row] = await settled(fleet, workload, 1, isWanted);
  if (row === undefined) throw new Error('settled answered nothing');
  return row;
}

/** Output of a shell command in the workload's only copy; it may be run again. */
export async function inside(fleet: Fleet, workload: string, script: string): Promise<string> {
  const { metadata } = await only(fleet, workload);
  const args = ['exec', metadata.name, '--', '/bin/sh', '-c', script];
  return (await insist(fleet, args)).stdout.trim();
}

export async function applyAndWait(fleet: Fleet, spec: Readonly<Record<string, unknown>>): Promise<void> {
  const args = ['apply', '-f', '-', '--detach'];
  await insist(fleet, args, undefined, JSON.stringify(spec));
}

export const conditionsOf = async (fleet: Fleet, node: string): Promise<string[]> =>
  (await ask<NodeRow[]>(fleet, 'get', 'nodes'))
    .filter(({ metadata }) => metadata.name === node)
    .flatMap(({ conditions = [] }) => conditions.map(({ type }) => type));

/** Every address is somebody's own, and what the guest has is what the control plane says. */
export async function expectNoAddressTwice(
  fleet: Fleet,
  addressesInside: (pid: number) => readonly string[],
): Promise<void> {
  const rows = (await ask<GuestRow[]>(fleet, 'get', 'instances')).filter(
    (row) => isRunning(row) && (row.observed?.addresses ?? []).length > 0,
  );
  const found = rows.map(({ metadata, observed }) => [metadata.name, ...addressesInside(observed?.pid ?? 0)]);
  expect(found).toEqual(
    rows.map(({ metadata, observed }) => [metadata.name, ...(observed?.addresses ?? [])]),
  );
  const all = found.flatMap(([, ...addresses]) => addresses);
  expect(all.toSorted()).toEqual([...new Set(all)].toSorted());
}
