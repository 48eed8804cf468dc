import type { DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { parseDurationMs } from '#shared/units.ts';
import { command, textOption } from '../command.ts';
import { drainColumns, wayText } from '../cluster-views.ts';
import { exitCode } from '../exit-code.ts';
import { table } from '../output.ts';

export const drain = command({
  name: 'drain',
  summary: 'Cordon a node and move everything away from it',
  arguments: [{ name: '<node>', help: 'its name', completes: 'node' }],
  options: [
    { flags: '--deadline <duration>', help: 'what has not moved by then stays', default: '1h' },
    { flags: '--dry-run', help: 'say what would move where and how, and what would stay; changes nothing' },
  ],
  examples: ['drain lab-pve1', 'drain lab-pve1 --dry-run', 'drain h1 --deadline 10m'],
  async run({ args: [name = ''], options }, context) {
    const deadlineMs = parseDurationMs(textOption(options, 'deadline') ?? '1h');
    const dryRun = options['dryRun'] === true;
    const { nodes, messages } = await context.connect();
    const last = new Map<string, DrainProgress>();
    for await (const one of nodes.drainNode({ name, deadlineMs, dryRun }, { signal: context.signal })) {
      last.set(one.instance, one);
      const where = one.target === '' ? '' : ` to ${one.target}`;
      const how = one.state !== 'moving' || one.way === '' ? '' : `, ${wayText(one)}`;
      const why = one.message === '' ? '' : `: ${one.message}`;
      if (!dryRun) context.terminal.note(`${one.instance}: ${one.state}${where}${how}${why}`);
    }
    const rows = [...last.values()];
    const isDone = ({ state }: DrainProgress): boolean => state === 'moved' || state === 'would-move';
    const left = rows.filter((row) => !isDone(row));
    if (left.length === 0 && !dryRun) context.terminal.note(`node ${name}: drained; it stays cordoned`);
    return {
      data: rows.map((row) => messages.DrainProgress.toJSON(row)),
      names: rows.filter(isDone).map(({ instance }) => instance),
      text: ({ wide }) => (rows.length === 0 ? '' : table(rows, drainColumns(dryRun), wide)),
      exitCode:
        left.length === 0 ? exitCode.done : left.length < rows.length ? exitCode.partly : exitCode.failed,
      ...(left.length === 0 && !dryRun
        ? { next: `drover node uncordon ${name} when it is to be used again` }
        : {}),
    };
  },
});
