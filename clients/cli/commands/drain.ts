import type { DrainProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { parseDurationMs } from '#shared/units.ts';
import { command, textOption } from '../command.ts';
import { drainColumns } from '../cluster-views.ts';
import { exitCode } from '../exit-code.ts';
import { table } from '../output.ts';

export const drain = command({
  name: 'drain',
  summary: 'Cordon a node and move everything away from it',
  arguments: [{ name: '<node>', help: 'its name', completes: 'node' }],
  options: [{ flags: '--deadline <duration>', help: 'what has not moved by then stays', default: '1h' }],
  examples: ['drain lab-pve1', 'drain h1 --deadline 10m'],
  async run({ args: [name = ''], options }, context) {
    const deadlineMs = parseDurationMs(textOption(options, 'deadline') ?? '1h');
    const { nodes, messages } = await context.connect();
    const last = new Map<string, DrainProgress>();
    for await (const one of nodes.drainNode({ name, deadlineMs }, { signal: context.signal })) {
      last.set(one.instance, one);
      const where = one.target === '' ? '' : ` to ${one.target}`;
      const why = one.message === '' ? '' : `: ${one.message}`;
      context.terminal.note(`${one.instance}: ${one.state}${where}${why}`);
    }
    const rows = [...last.values()];
    const left = rows.filter(({ state }) => state !== 'moved');
    if (left.length === 0) context.terminal.note(`node ${name}: drained; it stays cordoned`);
    return {
      data: rows.map((row) => messages.DrainProgress.toJSON(row)),
      names: rows.filter(({ state }) => state === 'moved').map(({ instance }) => instance),
      text: ({ wide }) => (rows.length === 0 ? '' : table(rows, drainColumns, wide)),
      exitCode:
        left.length === 0 ? exitCode.done : left.length < rows.length ? exitCode.partly : exitCode.failed,
      ...(left.length === 0 ? { next: `drover node uncordon ${name} when it is to be used again` } : {}),
    };
  },
});
