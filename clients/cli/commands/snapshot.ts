import { DroverError, type ErrorKind } from '#shared/errors.ts';
import type { SnapshotResult } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatBytes, formatTime } from '#shared/units.ts';
import { type Column, type CommandContext, type Result, command, textOption } from '../command.ts';
import { confirm } from '../confirm.ts';
import { exitCode, exitCodeOf } from '../exit-code.ts';
import { listResult } from '../output.ts';

const target = {
  name: '<target>',
  help: 'an instance, or a workload: then each of its instances',
  completes: 'instance',
} as const;
const snapshotName = { name: '<name>', help: 'the name of the snapshot' } as const;

const sizeText = ({ snapshot }: SnapshotResult): string =>
  snapshot === undefined ? '' : formatBytes(snapshot.volumes.reduce((sum, { bytes }) => sum + bytes, 0n));

const columns: Column<SnapshotResult>[] = [
  { title: 'INSTANCE', value: ({ instance }) => instance },
  { title: 'SNAPSHOT', value: ({ snapshot, error }) => snapshot?.name ?? `(${error})` },
  { title: 'KIND', value: ({ snapshot }) => snapshot?.kind ?? '' },
  { title: 'TAKEN', value: ({ snapshot }) => (snapshot ? formatTime(Number(snapshot.createdAtMs)) : '') },
  { title: 'SIZE', value: sizeText },
  {
    title: 'CONSISTENT',
    value: ({ snapshot }) => (snapshot === undefined ? '' : snapshot.crashInconsistent ? 'no' : 'yes'),
  },
  { title: 'PAUSE', value: ({ snapshot }) => (snapshot ? `${snapshot.pauseMs}ms` : ''), wide: true },
  {
    title: 'VOLUMES',
    value: ({ snapshot }) => snapshot?.volumes.map(({ name }) => name).join(', ') ?? '',
    wide: true,
  },
  { title: 'NODE', value: ({ node }) => node, wide: true },
];

/** Every instance's result, and an exit code that tells when one of them failed. */
async function resultOf(
  results: AsyncIterable<SnapshotResult>,
  said: (result: SnapshotResult) => string,
  context: CommandContext,
): Promise<Result> {
  const { messages } = await context.connect();
  const rows: SnapshotResult[] = [];
  for await (const row of results) {
    rows.push(row);
    if (row.error === '') context.terminal.note(said(row));
    else context.terminal.note(`${row.instance || row.node}: failed: ${row.error}`);
  }
  const failures = rows.filter(({ error }) => error !== '');
  return {
    data: rows.map((row) => messages.SnapshotResult.toJSON(row)),
    names: rows.filter(({ error }) => error === '').map(({ instance }) => instance),
    text: () => '',
    exitCode: codeOf(failures, rows.length),
  };
}

function codeOf(failures: readonly SnapshotResult[], total: number): number {
  const [first] = failures;
  if (first === undefined) return exitCode.done;
  if (failures.length < total) return exitCode.partly;
  return exitCodeOf(new DroverError(first.errorKind as ErrorKind, first.error));
}

const nameOf = ({ snapshot }: SnapshotResult): string => snapshot?.name ?? '';

export const snapshotCreate = command({
  name: 'snapshot create',
  summary: 'Take a snapshot of all volumes of an instance at one moment',
  arguments: [target],
  options: [{ flags: '--name <name>', help: 'its name; made from the time where left out' }],
  examples: ['snapshot create db-x7k2p', 'snapshot create db --name before-migration'],
  async run({ args: [of = ''], options }, context) {
    const { fleet } = await context.connect();
    const request = {
      requestId: context.random.uuidV4(),
      project: context.global.project,
      target: of,
      name: textOption(options, 'name') ?? '',
    };
    const results = fleet.createSnapshot(request, { deadlineMs: 180_000 });
    return resultOf(results, (row) => `${row.instance}: snapshot ${nameOf(row)}${caveat(row)}`, context);
  },
});

const caveat = ({ snapshot }: SnapshotResult): string =>
  snapshot?.crashInconsistent === true
    ? ` (not consistent between its volumes; the longest pause was ${snapshot.pauseMs} ms)`
    : '';

export const snapshotList = command({
  name: 'snapshot list',
  summary: 'List snapshots, oldest first',
  arguments: [{ ...target, name: '[target]', help: 'an instance, or a workload; all where left out' }],
  examples: ['snapshot list', 'snapshot list db', 'snapshot list db-x7k2p -o wide'],
  async run({ args: [of = ''] }, context) {
    const { fleet, messages } = await context.connect();
    const request = { project: context.global.project, target: of };
    const rows = await Array.fromAsync(fleet.listSnapshots(request, { deadlineMs: 60_000 }));
    return listResult({
      rows,
      columns,
      json: messages.SnapshotResult.toJSON,
      name: nameOf,
      empty: 'no snapshots; next: drover snapshot create TARGET',
    });
  },
});

export const snapshotRollback = command({
  name: 'snapshot rollback',
  summary: 'Set the volumes back to a snapshot; what came after it is lost',
  arguments: [target, snapshotName],
  examples: [
    'snapshot rollback db before-migration',
    'snapshot rollback db-x7k2p hourly-20260301-1400 --yes',
  ],
  async run({ args: [of = '', name = ''] }, context) {
    await confirm(`set ${of} back to ${name}, losing what came after it`, of, context);
    return rollBack({ target: of, name, restoreSpec: false }, context);
  },
});

export const rollback = command({
  name: 'rollback',
  summary: 'Undo the last update of a workload: its spec, and its data as they were before it',
  arguments: [{ name: '<workload>', help: 'its name', completes: 'workload' }],
  examples: ['rollback db', 'rollback db --yes'],
  async run({ args: [workload = ''] }, context) {
    await confirm(`undo the last update of ${workload}, losing what came after it`, workload, context);
    const result = await rollBack({ target: workload, name: '', restoreSpec: true }, context);
    if (result.names.length === 0 && result.exitCode === exitCode.done)
      context.terminal.note(`workload ${workload}: its earlier spec is back; no data had to be set back`);
    return { ...result, next: `drover describe workload ${workload}` };
  },
});

async function rollBack(
  request: { readonly target: string; readonly name: string; readonly restoreSpec: boolean },
  context: CommandContext,
): Promise<Result> {
  const { fleet } = await context.connect();
  const { project } = context.global;
  const results = fleet.rollbackSnapshot(
    { ...request, project, requestId: context.random.uuidV4() },
    { deadlineMs: 660_000 },
  );
  return resultOf(results, (row) => `${row.instance}: set back to ${nameOf(row)}`, context);
}

export const snapshotRemove = command({
  name: 'snapshot remove',
  summary: 'Remove a snapshot by name',
  arguments: [target, snapshotName],
  examples: ['snapshot remove db before-migration'],
  async run({ args: [of = '', name = ''] }, context) {
    await confirm(`remove the snapshot ${name} of ${of}`, name, context);
    const { fleet } = await context.connect();
    const request = { requestId: context.random.uuidV4(), project: context.global.project, target: of, name };
    const results = fleet.removeSnapshot(request, { deadlineMs: 180_000 });
    return resultOf(results, (row) => `${row.instance}: snapshot ${name} removed`, context);
  },
});
