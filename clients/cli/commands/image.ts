import { DroverError } from '#shared/errors.ts';
import type { NodeImageRemoval, NodePullProgress } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatBytes } from '#shared/units.ts';
import { type CommandContext, type Result, command, textOption } from '../command.ts';
import { exitCode } from '../exit-code.ts';
import { isLive, showProgress, type Waiting } from '../progress.ts';
import { escapeControls } from '../terminal.ts';
import { get } from './get.ts';

const nodeOption = { flags: '-n, --node <name>', help: 'only on this node; all that answer where left out' };

export const imageList = command({
  name: 'image list',
  summary: 'List images on nodes, as get images does',
  options: [{ flags: '-n, --node <name>', help: 'only on this node' }],
  examples: ['image list', 'image list --node h1'],
  run: ({ options }, context) => get.run({ args: ['images'], options }, context),
});

/** One node's part of a stream that is about all of them. */
interface Line {
  readonly waiting: Waiting;
  put(progress: NodePullProgress): void;
  end(error?: DroverError): void;
}

export const imagePull = command({
  name: 'image pull',
  summary: 'Fetch an image on nodes before an instance needs it',
  arguments: [{ name: '<reference>', help: 'as in a spec: registry.example/web:1.4, lxc:server/debian/12' }],
  options: [
    nodeOption,
    { flags: '--credential <name>', help: 'name of a registry credential that the nodes hold' },
  ],
  examples: ['image pull registry.example/web:1.4', 'image pull lxc:images/debian/12 --node h1'],
  async run({ args: [reference = ''], options }, context) {
    const { nodes, messages } = await context.connect();
    const node = textOption(options, 'node') ?? '';
    const lines = new Map((await namesOf(node, context)).map((name) => [name, createLine(name, context)]));
    const last = new Map<string, NodePullProgress>();
    const signal = context.clock.timeout(context.global.timeoutMs, context.signal);
    const request = { reference, credential: textOption(options, 'credential') ?? '', node };
    const follow = async (): Promise<void> => {
      for await (const progress of nodes.pullImage(request, { signal })) {
        const line = lines.get(progress.node);
        last.set(progress.node, progress);
        if (line !== undefined) line.put(progress);
        // One that joined after the list was made.
        else if (progress.done || progress.error !== '') context.terminal.note(lineOf(progress));
      }
    };
    const reading = follow().catch((error: unknown) => {
      throw timedOut(signal, context) ?? error;
    });
    const endAll = (): void => lines.forEach((line) => line.end());
    reading.then(endAll, endAll);
    // What failed on a node is in its last message, and what failed altogether is thrown by `reading`.
    await showProgress(
      [...lines.values()].map(({ waiting }) => waiting),
      context,
    ).catch(() => undefined);
    await reading;
    const rows = [...last.values()].toSorted((one, other) => (one.node < other.node ? -1 : 1));
    return resultOf(rows, messages.NodePullProgress.toJSON);
  },
});

async function namesOf(node: string, { connect }: CommandContext): Promise<string[]> {
  if (node !== '') return [node];
  const { nodes } = await connect();
  return Array.fromAsync(nodes.listNodes({ selectors: [] }), ({ metadata }) => metadata?.name ?? '');
}

function createLine(node: string, context: CommandContext): Line {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let say: (line: string) => void = () => {};
  let step = '';
  return {
    waiting: {
      title: node,
      follow(told) {
        say = told;
        return promise;
      },
    },
    put(progress) {
      const isNews = progress.step !== step || progress.error !== '';
      step = progress.step;
      if (isNews || isLive(context)) say(lineOf(progress));
      if (progress.error !== '') reject(new DroverError('internal', progress.error));
      else if (progress.done) resolve();
    },
    end: () => resolve(),
  };
}

function lineOf({ node, step, bytesDone, bytesTotal, error }: NodePullProgress): string {
  if (error !== '') return escapeControls(`${node}: failed: ${error}`);
  const of = bytesTotal === 0n ? '' : ` of ${formatBytes(bytesTotal)}`;
  const amount = bytesDone === 0n && bytesTotal === 0n ? '' : ` ${formatBytes(bytesDone)}${of}`;
  return escapeControls(`${node}: ${step}${step === 'ready' ? ` ${formatBytes(bytesDone)}` : amount}`);
}

function timedOut(signal: AbortSignal, { global, signal: own }: CommandContext): DroverError | undefined {
  if (!signal.aborted || own.aborted) return undefined;
  return new DroverError('deadline-exceeded', `the pull is not done after ${global.timeoutMs} ms`, {
    nextStep: 'pull again with a longer --timeout',
  });
}

export const imageRemove = command({
  name: 'image remove',
  summary: 'Remove an image from the nodes that make nothing from it',
  arguments: [{ name: '<image>', help: 'its reference, or its digest or the beginning of it' }],
  options: [nodeOption],
  examples: ['image remove registry.example/web:1.3', 'image remove sha256:1f2e3d4c5b6a --node h1'],
  async run({ args: [image = ''], options }, context) {
    const { nodes, messages } = await context.connect();
    const request = { image, node: textOption(options, 'node') ?? '' };
    const rows: NodeImageRemoval[] = [];
    for await (const row of nodes.removeImage(request, { deadlineMs: context.global.timeoutMs })) {
      rows.push(row);
      const how = row.error === '' ? `removed, ${formatBytes(row.freedBytes)} free` : `failed: ${row.error}`;
      context.terminal.note(`${row.node}: ${how}`);
    }
    return resultOf(rows, messages.NodeImageRemoval.toJSON);
  },
});

/** What came of it on every node, and an exit code that tells when one of them failed. */
function resultOf<Row extends { readonly node: string; readonly error: string }>(
  rows: readonly Row[],
  json: (row: Row) => unknown,
): Result {
  const done = rows.filter(({ error }) => error === '');
  const code =
    done.length === rows.length ? exitCode.done : done.length > 0 ? exitCode.partly : exitCode.failed;
  return { data: rows.map(json), names: done.map(({ node }) => node), text: () => '', exitCode: code };
}
