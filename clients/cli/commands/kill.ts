import { constants } from 'node:os';
import { closest } from 'fastest-levenshtein';
import { DroverError } from '#shared/errors.ts';
import { command } from '../command.ts';

/** A reboot of a guest of a cluster is waited for. */
const deadlineMs = 120_000;

export function signalNumber(text: string): number {
  if (/^\d{1,2}$/.test(text) && Number(text) >= 1 && Number(text) <= 64) return Number(text);
  const name = `SIG${text.toUpperCase().replace(/^SIG/, '')}`;
  const known: Readonly<Record<string, number>> = constants.signals;
  const found = Object.hasOwn(known, name) ? known[name] : undefined;
  if (found !== undefined) return found;
  const near = closest(name, Object.keys(known)).slice(3);
  throw new DroverError('invalid-argument', `"${text}" is not a signal`, {
    nextStep: `did you mean "${near}"?`,
  });
}

export const kill = command({
  name: 'kill',
  summary: 'Send a signal to the first process of an instance; its restart policy goes on',
  arguments: [{ name: '<instance>', help: 'its name or id', completes: 'instance' }],
  options: [{ flags: '-s, --signal <signal>', help: 'name or number', default: 'TERM' }],
  examples: ['kill web-x7k2p', 'kill web-x7k2p --signal HUP'],
  async run({ args: [instance = ''], options }, context) {
    const signal = signalNumber(String(options['signal']));
    const { fleet } = await context.connect();
    await fleet.signalInstance({ project: context.global.project, instance, signal }, { deadlineMs });
    context.terminal.note(`sent signal ${signal} to ${instance}`);
    return { data: { instance, signal }, names: [instance], text: () => '' };
  },
});
