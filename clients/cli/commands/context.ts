import type { Result } from '../command.ts';
import { command } from '../command.ts';
import { confirm } from '../confirm.ts';
import { describeText, listResult } from '../output.ts';

export const contextList = command({
  name: 'context list',
  summary: 'List the fleets this command line knows',
  examples: ['context list'],
  async run(_input, { contexts }): Promise<Result> {
    const current = await contexts.current();
    const rows = (await contexts.list()).map((name) => ({ name, current: name === current }));
    return listResult({
      rows,
      columns: [
        { title: 'NAME', value: ({ name }) => name },
        { title: 'IN USE', value: ({ current: used }) => (used ? 'yes' : '') },
      ],
      json: (row) => row,
      name: ({ name }) => name,
      empty: 'no contexts; next: drover context import FILE',
    });
  },
});

export const contextUse = command({
  name: 'context use',
  summary: 'Choose the fleet to talk to',
  arguments: [{ name: '<name>', help: 'its name', completes: 'context' }],
  examples: ['context use lab'],
  async run({ args: [name = ''] }, { contexts, terminal }): Promise<Result> {
    await contexts.use(name);
    terminal.note(`context ${name} is in use`);
    return { data: { name, current: true }, names: [name], text: () => '' };
  },
});

export const contextShow = command({
  name: 'context show',
  summary: 'Show the fleet in use, without its key',
  arguments: [{ name: '[name]', help: 'another one', completes: 'context' }],
  examples: ['context show', 'context show lab'],
  async run({ args: [name] }, { contexts, global }): Promise<Result> {
    const { name: found, address } = await contexts.read(name ?? global.context);
    return {
      data: { name: found, address },
      names: [found],
      text: () =>
        describeText([
          ['Name', found],
          ['Address', address],
        ]),
    };
  },
});

export const contextImport = command({
  name: 'context import',
  summary: 'Add a fleet from the admin.yaml that its control plane wrote',
  arguments: [{ name: '<file>', help: 'that file' }],
  options: [{ flags: '--name <name>', help: 'what to call it here' }],
  examples: [
    'context import /var/lib/drover/control-plane/admin.yaml',
    'context import admin.yaml --name lab',
  ],
  async run({ args: [file = ''], options }, { contexts, terminal }): Promise<Result> {
    const asked = typeof options['name'] === 'string' ? options['name'] : undefined;
    const { name, address } = await contexts.add(file, asked);
    terminal.note(`context ${name} added, at ${address}`);
    return { data: { name, address }, names: [name], text: () => '', next: 'drover get nodes' };
  },
});

export const contextRemove = command({
  name: 'context remove',
  summary: 'Forget a fleet and the key for it',
  arguments: [{ name: '<name>', help: 'its name', completes: 'context' }],
  examples: ['context remove lab --yes'],
  async run({ args: [name = ''] }, context): Promise<Result> {
    await confirm(`forget the context ${name} and its key`, name, context);
    await context.contexts.remove(name);
    return { data: { name }, names: [name], text: () => '' };
  },
});
