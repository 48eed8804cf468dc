import { createInterface } from 'node:readline/promises';
import { DroverError } from '#shared/errors.ts';
import type { CommandContext } from './command.ts';

/** A person sits there, and has not said yes to everything. */
export const isAsked = ({ global, terminal }: CommandContext): boolean =>
  !global.yes && global.input && terminal.inIsTty && terminal.errIsTty;

/**
 * Something dangerous wants the name typed, or --yes. Without a terminal nobody is asked: then it is
 * refused.
 */
export async function confirm(what: string, name: string, context: CommandContext): Promise<void> {
  const { global, terminal, signal } = context;
  if (global.yes) return;
  if (!isAsked(context)) {
    throw new DroverError('invalid-argument', `to ${what} needs a yes, and nobody can be asked here`, {
      nextStep: 'add --yes',
    });
  }
  const question = createInterface({ input: terminal.stdin, output: process.stderr });
  try {
    const answer = await question.question(`About to ${what}. Type ${name} to go on: `, { signal });
    if (answer.trim() !== name)
      throw new DroverError('failed-precondition', 'not done: the name was not typed');
  } finally {
    question.close();
  }
}
