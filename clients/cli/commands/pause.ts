import { type CommandContext, type Result, command } from '../command.ts';

const instanceArgument = { name: '<instance>', help: 'its name or id', completes: 'instance' } as const;

export const pause = command({
  name: 'pause',
  summary: 'Freeze all processes of an instance until it is resumed',
  arguments: [instanceArgument],
  examples: ['pause web-x7k2p'],
  run: ({ args: [instance = ''] }, context) => change('pauseInstance', instance, 'paused', context),
});

export const resume = command({
  name: 'resume',
  summary: 'Let a paused instance go on',
  arguments: [instanceArgument],
  examples: ['resume web-x7k2p'],
  run: ({ args: [instance = ''] }, context) => change('resumeInstance', instance, 'running', context),
});

async function change(
  method: 'pauseInstance' | 'resumeInstance',
  instance: string,
  what: string,
  context: CommandContext,
): Promise<Result> {
  const { fleet, messages } = await context.connect();
  const { project } = context.global;
  const answer = await fleet[method]({ project, instance }, { deadlineMs: 30_000 });
  context.terminal.note(`${instance}: ${what}`);
  return { data: messages.PauseInstanceResponse.toJSON(answer), names: [instance], text: () => '' };
}
