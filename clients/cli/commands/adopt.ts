import { DroverError } from '#shared/errors.ts';
import type { Adoption } from '#shared/gen/drover/fleet/v1/cluster.ts';
import { type CommandContext, type Result, command, textOption } from '../command.ts';
import { adoptionColumns, guestName } from '../cluster-views.ts';
import { exitCode } from '../exit-code.ts';
import { table } from '../output.ts';
import { writeAnnotated, writeDocument } from '../spec/write-document.ts';

export const adopt = command({
  name: 'adopt',
  summary: 'Make guests of a cluster that run already into workloads; nothing of them is changed',
  arguments: [
    { name: '<guest>', help: 'CLUSTER/VMID as get guests tells it; with --all CLUSTER', completes: 'guest' },
  ],
  options: [
    { flags: '--as <name>', help: "name of the workload; the guest's own where left out" },
    { flags: '--all', help: 'every guest of the cluster that can be' },
    { flags: '--dry-run', help: 'write the spec, and change nothing' },
  ],
  examples: [
    'adopt lab/105 --dry-run',
    'adopt lab/105 --as shop',
    'adopt lab --all --dry-run',
    'adopt lab --all',
  ],
  async run({ args: [target = ''], options }, context) {
    const { cluster, vmid } = parseTarget(target, options['all'] === true);
    const dryRun = options['dryRun'] === true;
    const { clusters } = await context.connect();
    const request = { cluster, vmid, name: textOption(options, 'as') ?? '', dryRun };
    const rows: Adoption[] = [];
    for await (const row of clusters.adoptGuests(request, { signal: context.signal })) {
      rows.push(row);
      if (!dryRun) context.terminal.note(sentence(row));
    }
    return resultOf(rows, dryRun, context);
  },
});

function parseTarget(target: string, all: boolean): { readonly cluster: string; readonly vmid: number } {
  const [cluster = '', number, ...rest] = target.split('/');
  if (all && number === undefined) return { cluster, vmid: 0 };
  if (!all && rest.length === 0 && number !== undefined && /^[1-9][0-9]{2,8}$/.test(number))
    return { cluster, vmid: Number(number) };
  const wanted = all ? 'CLUSTER, since all of it is to be adopted' : 'CLUSTER/VMID, such as lab/105';
  throw new DroverError('invalid-argument', `"${target}" is no guest; wanted ${wanted}`, {
    nextStep: all ? 'drover cluster list' : 'drover get guests; with --all the whole cluster',
  });
}

const sentence = ({ guest, adopted, document, instance, skipped }: Adoption): string =>
  adopted
    ? `${guestName(guest)}: adopted as ${document?.metadata?.name ?? ''}, instance ${instance}`
    : `${guestName(guest)}: left as it is: ${skipped}`;

async function resultOf(
  rows: readonly Adoption[],
  dryRun: boolean,
  context: CommandContext,
): Promise<Result> {
  const { clusterMessages } = await context.connect();
  const failed = rows.filter(({ errorKind }) => errorKind !== '').length;
  const adopted = rows.filter((row) => row.adopted);
  return {
    data: rows.map((row) => clusterMessages.Adoption.toJSON(row)),
    names: adopted.map(({ document }) => document?.metadata?.name ?? ''),
    text: ({ wide }) => {
      if (dryRun) return rows.map(specText).join('\n---\n');
      return rows.length === 0 ? 'no guests' : table(rows, adoptionColumns, wide);
    },
    exitCode: failed === 0 ? exitCode.done : adopted.length > 0 ? exitCode.partly : exitCode.failed,
    ...(dryRun || adopted.length === 0 ? {} : { next: 'drover plan -f FILE with the spec shows no change' }),
  };
}

/** What cannot be adopted is all in comments. */
function specText({ guest, document, notes, skipped, adopted }: Adoption): string {
  const head = [`${guestName(guest)} ${guest?.name ?? ''}`.trimEnd(), ...notes];
  if (adopted) return writeAnnotated(head, document);
  const lines = document === undefined ? [] : writeDocument(document).split('\n');
  return writeAnnotated([...head, `not to be adopted: ${skipped}`, ...lines], undefined);
}
