import { DroverError } from '#shared/errors.ts';
import type { Node } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatTime, parseDurationMs } from '#shared/units.ts';
import { type CommandContext, type Result, command, textOption } from '../command.ts';
import { confirm } from '../confirm.ts';
import { get } from './get.ts';

const nodeArgument = { name: '<node>', help: 'its name', completes: 'node' } as const;

export const nodeToken = command({
  name: 'node token',
  summary: 'Make a single-use token with which one host joins',
  arguments: [{ name: '<node>', help: 'the name it joins under' }],
  options: [
    { flags: '--ttl <duration>', help: 'how long it may be used, at most 24h', default: '15m' },
    { flags: '--replace', help: 'the name is taken: its host is replaced, the old certificate revoked' },
  ],
  examples: ['node token h1', 'node token h1 --ttl 1h', 'node token h1 --replace'],
  async run({ args: [node = ''], options }, context) {
    const { nodes, messages } = await context.connect();
    const ttlMs = parseDurationMs(textOption(options, 'ttl') ?? '15m');
    const request = { node, ttlMs, replace: options['replace'] === true };
    const response = await nodes.createJoinToken(request, { deadlineMs: 10_000 });
    context.terminal.note(
      `good until ${formatTime(Number(response.expiresAtMs))}, for one use, on the host ${node}:`,
    );
    return {
      data: messages.CreateJoinTokenResponse.toJSON(response),
      names: [node],
      text: () => response.token,
      next: 'on that host, as root: drover node join TOKEN',
    };
  },
});

/** Runs the agent's code, which this program does not contain: drover.ts sends it there before we see it. */
export const nodeJoin = command({
  name: 'node join',
  summary: 'Make this host a node (as root, on the host itself)',
  arguments: [{ name: '<token>', help: 'from drover node token' }],
  options: [{ flags: '--config <path>', help: 'configuration of the agent' }],
  examples: ['node join TOKEN'],
  run() {
    throw new DroverError('unimplemented', 'this build of the command line cannot join a host', {
      nextStep: 'use the drover program that was installed with the agent',
    });
  },
});

export const nodeList = command({
  name: 'node list',
  summary: 'List nodes, as get nodes does',
  options: [{ flags: '-l, --selector <selector>', help: 'only with such labels', many: true }],
  examples: ['node list'],
  run: ({ options }, context) => get.run({ args: ['nodes'], options }, context),
});

async function changed(
  node: Node | undefined,
  what: string,
  name: string,
  { terminal, connect }: CommandContext,
): Promise<Result> {
  const { messages } = await connect();
  terminal.note(`node ${name}: ${what}`);
  return { data: node === undefined ? null : messages.Node.toJSON(node), names: [name], text: () => '' };
}

export const nodeCordon = command({
  name: 'node cordon',
  summary: 'Place nothing new on a node; what runs stays',
  arguments: [nodeArgument],
  examples: ['node cordon h1'],
  async run({ args: [name = ''] }, context) {
    const { nodes } = await context.connect();
    const { node } = await nodes.cordonNode({ name }, { deadlineMs: 10_000 });
    return changed(node, 'cordoned', name, context);
  },
});

export const nodeUncordon = command({
  name: 'node uncordon',
  summary: 'Undo a cordon',
  arguments: [nodeArgument],
  examples: ['node uncordon h1'],
  async run({ args: [name = ''] }, context) {
    const { nodes } = await context.connect();
    const { node } = await nodes.uncordonNode({ name }, { deadlineMs: 10_000 });
    return changed(node, 'uncordoned', name, context);
  },
});

export const nodeRemove = command({
  name: 'node remove',
  summary: 'Take a node out of the fleet and revoke its certificate',
  arguments: [nodeArgument],
  options: [
    { flags: '--lost', help: 'the host is dead and will not come back: place its instances elsewhere' },
  ],
  examples: ['node remove h1', 'node remove h1 --lost --yes'],
  async run({ args: [name = ''], options }, context) {
    const lost = options['lost'] === true;
    await confirm(
      lost ? `declare ${name} dead and place its instances elsewhere` : `remove node ${name}`,
      name,
      context,
    );
    const { nodes, messages } = await context.connect();
    const response = await nodes.removeNode({ name, lost }, { deadlineMs: 30_000 });
    context.terminal.note(`node ${name}: removed`);
    return {
      data: messages.RemoveNodeResponse.toJSON(response),
      names: [...response.released],
      text: () => response.released.map((one) => `${one} is given up`).join('\n'),
    };
  },
});
