import { DroverError } from '#shared/errors.ts';
import { type Result, command } from '../command.ts';

const shells = ['bash', 'zsh', 'fish', 'powershell'] as const;

export const completion = command({
  name: 'completion',
  summary: 'Print the completion script for a shell',
  arguments: [{ name: '<shell>', help: shells.join(', ') }],
  examples: ['completion bash > /etc/bash_completion.d/drover', 'completion zsh'],
  async run({ args: [shell = ''] }): Promise<Result> {
    const known = shells.find((one) => one === shell);
    if (known === undefined) {
      throw new DroverError('invalid-argument', `"${shell}" is not a shell; wanted ${shells.join(', ')}`);
    }
    const script = await scriptFor(known);
    return { data: { shell, script }, names: [shell], text: () => script };
  },
});

/** The library prints its script and gives it to nobody; with `-o json` it has to stand in an object. */
async function scriptFor(shell: (typeof shells)[number]): Promise<string> {
  const { script } = await import('@bomb.sh/tab');
  const lines: string[] = [];
  const { log } = console;
  console.log = (line: string) => void lines.push(line);
  try {
    script(shell, 'drover', 'drover');
  } finally {
    console.log = log;
  }
  return lines.join('\n');
}
