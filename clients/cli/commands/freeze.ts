import { DroverError, errorKinds, isKind } from '#shared/errors.ts';
import { type CommandContext, type Result, command } from '../command.ts';

const instanceArgument = { name: '<instance>', help: 'its name or id', completes: 'instance' } as const;
/** What a machine has not written yet has to be written first. */
const freezeMs = 150_000;
const thawMs = 150_000;
const mostThaws = 5;
const thawEveryMs = 3000;

export const freeze = command({
  name: 'freeze',
  summary: 'Have the file systems of a virtual machine stand still, while a command runs or until thaw',
  arguments: [
    instanceArgument,
    { name: '[command...]', help: 'run here meanwhile, then thaw; its exit code is ours; put -- before it' },
  ],
  examples: ['freeze db-x7k2p', 'freeze db-x7k2p -- zfs snapshot tank/vm@now'],
  async run({ args: [instance = '', ...words] }, context) {
    if (words.length > 0)
      return { exitCode: await context.insist(() => whileFrozen(instance, words, context)) };
    const already = await freezeNow(instance, context);
    context.terminal.note(`${instance}: ${already ? 'frozen already' : 'frozen'}`);
    return { ...done(instance, { already }), next: `drover thaw ${instance}` };
  },
});

export const thaw = command({
  name: 'thaw',
  summary: 'Let the file systems of a virtual machine go on',
  arguments: [instanceArgument],
  examples: ['thaw db-x7k2p'],
  async run({ args: [instance = ''] }, context) {
    await thawOnce(instance, context);
    context.terminal.note(`${instance}: thawed`);
    return done(instance, {});
  },
});

const done = (instance: string, data: object): Result => ({ data, names: [instance], text: () => '' });

async function freezeNow(instance: string, { connect, global }: CommandContext): Promise<boolean> {
  const { fleet } = await connect();
  const { already } = await fleet.freezeInstance(
    { project: global.project, instance },
    { deadlineMs: freezeMs },
  );
  return already;
}

async function thawOnce(instance: string, { connect, global }: CommandContext): Promise<void> {
  const { fleet } = await connect();
  await fleet.thawInstance({ project: global.project, instance }, { deadlineMs: thawMs });
}

/** Loaded first, so that nothing is frozen for a program that could not be run at all. */
async function whileFrozen(
  instance: string,
  words: readonly string[],
  context: CommandContext,
): Promise<number> {
  const { runBeside } = await import('../run-beside.ts');
  let already: boolean;
  try {
    already = await freezeNow(instance, context);
  } catch (error) {
    if (mayHaveActed(error)) await thawSurely(instance, context);
    throw error;
  }
  if (already)
    throw new DroverError('failed-precondition', `${instance} is frozen already, and not by this command`, {
      subject: { instance },
      nextStep: `drover thaw ${instance}, once whoever froze it is done`,
    });
  try {
    // Ctrl-C while it froze: the command is not begun at all.
    return context.signal.aborted ? interrupted : await runBeside(words);
  } finally {
    await thawSurely(instance, context);
  }
}

/** As a shell tells a Ctrl-C. */
const interrupted = 130;

const mayHaveActed = (error: unknown): boolean =>
  !(error instanceof DroverError) ||
  (errorKinds[error.kind].acted === 'maybe' && error.subject['acted'] !== 'no');

/** Whatever is in the way for a while: a machine that stays frozen stands still for good. */
async function thawSurely(instance: string, context: CommandContext): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await thawOnce(instance, context);
    } catch (error) {
      const mayPass = isKind(error, 'unavailable', 'deadline-exceeded', 'aborted');
      if (!mayPass || tries === mostThaws) {
        context.terminal.complain(`${instance} may be frozen still; next: drover thaw ${instance}`);
        throw error;
      }
      await context.clock.sleep(thawEveryMs);
    }
  }
}
