import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { DroverError } from '#shared/errors.ts';
import type { CommandContext } from './command.ts';

/** More is no secret but a file that was meant for something else. */
const longest = 4096;

/**
 * A secret that must not stand on the command line, where everybody on the host could read it: from a file,
 * from standard input ("-", or where no person sits there), or typed unseen. invalid-argument; not-found.
 */
export async function readSecret(
  what: string,
  file: string | undefined,
  context: CommandContext,
): Promise<string> {
  const text = await readText(what, file, context);
  const secret = text.replace(/\r?\n$/, '');
  if (secret === '') throw new DroverError('invalid-argument', `${what} is empty`);
  if (secret.length > longest || secret.includes('\n'))
    throw new DroverError('invalid-argument', `${what} is not one line of at most ${longest} characters`);
  return secret;
}

async function readText(what: string, file: string | undefined, context: CommandContext): Promise<string> {
  const { terminal, global } = context;
  if (file !== undefined && file !== '-') {
    return readFile(file, 'utf8').catch((cause: unknown) => {
      throw new DroverError('not-found', `cannot read ${file}, which ${what} is to be in`, { cause });
    });
  }
  if (file === undefined && terminal.inIsTty) {
    if (global.input && terminal.errIsTty) return typeUnseen(what, context);
    throw new DroverError('invalid-argument', `${what} is missing, and nobody can be asked here`, {
      nextStep: 'give it in a file, or on standard input',
    });
  }
  let text = '';
  terminal.stdin.setEncoding('utf8');
  for await (const chunk of terminal.stdin) {
    text += chunk as string;
    if (text.length > 2 * longest) break;
  }
  return text;
}

async function typeUnseen(what: string, { terminal, signal }: CommandContext): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const question = createInterface({ input: terminal.stdin, output: nowhere, terminal: true });
  process.stderr.write(`${what} (it is not shown): `);
  try {
    return await question.question('', { signal });
  } finally {
    process.stderr.write('\n');
    question.close();
  }
}
