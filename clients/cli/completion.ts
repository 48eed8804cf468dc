import tab from '@bomb.sh/tab';
import installTab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';
import type { CommandSpec } from './command.ts';
import type { Environment } from './config.ts';
import { recallNames } from './known-names.ts';
import { listKinds } from './list-kinds.ts';

/** What an argument may be, by the `completes` of its command. */
const kindsOf: Readonly<Record<string, readonly string[]>> = {
  workload: ['workloads'],
  instance: ['instances', 'workloads'],
  node: ['nodes'],
  cluster: ['clusters'],
  guest: ['guests'],
  cloneable: ['instances', 'workloads', 'guests'],
  volume: ['volumes'],
  network: ['networks'],
  name: ['workloads', 'instances', 'nodes', 'networks'],
};

/** Adds `drover complete`, which the shells' scripts call at every tab key. */
export function installCompletion(
  program: Command,
  commands: readonly CommandSpec[],
  environment: Environment,
): void {
  installTab(program);
  for (const spec of commands) {
    const known = tab.commands.get(spec.name);
    if (known === undefined) continue;
    for (const { name, completes } of spec.arguments ?? []) {
      const kinds = kindsOf[completes ?? ''];
      const argument = known.arguments.get(name.replace(/[<>[\].]/g, ''));
      if (argument === undefined) continue;
      argument.handler = (complete) => {
        if (completes === 'kind') for (const word of listKinds) complete(word, '');
        for (const word of (kinds ?? []).flatMap((kind) => recallNames(environment, kind)))
          complete(word, '');
      };
    }
  }
}
