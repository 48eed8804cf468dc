import { constants } from 'node:os';
import { Command, CommanderError, Option } from 'commander';
import { systemClock } from '#shared/clock.ts';
import { DroverError, asDroverError } from '#shared/errors.ts';
import { systemRandom } from '#shared/random.ts';
import { parseDurationMs } from '#shared/units.ts';
import { version } from '#shared/version.ts';
import type { CommandContext, CommandSpec, GlobalOptions, OptionValues } from './command.ts';
import { commands } from './commands/index.ts';
import { readEnvironment } from './config.ts';
import type { Connection } from './connection.ts';
import { openContexts } from './contexts.ts';
import { exitCode, isControlPlaneAway } from './exit-code.ts';
import { printError, printResult } from './output.ts';
import { createTerminal } from './terminal.ts';

const outputs = ['table', 'wide', 'json', 'yaml', 'name'] as const;

/** The command line; answers the exit code. Everything that fails does so here, in one form. */
export async function runCli(argv: readonly string[]): Promise<number> {
  process.stdout.on('error', stopAtBrokenPipe);
  let code: number = exitCode.done;
  const program = buildProgram(async (spec, args, options, global) => {
    code = await runCommand(spec, args, options, global);
  });
  if (argv[0] === 'complete') return complete(program, argv);
  try {
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    code = error.exitCode === 0 || error.code === 'commander.help' ? exitCode.done : usageError(error, argv);
  }
  return code;
}

/** Options as commander leaves them. */
type Given = Record<string, string | boolean | undefined>;

type Action = (
  spec: CommandSpec,
  args: readonly string[],
  options: OptionValues,
  global: Given,
) => Promise<void>;

/**
 * The tree of commands; exported for the test that walks it and for the help that is kept as golden files.
 */
export function buildProgram(action: Action): Command {
  const program = new Command('drover')
    .description('One fleet from mixed hypervisors')
    .version(version, '-V, --version')
    .addOption(new Option('-o, --output <form>', 'how results are shown').choices(outputs).default('table'))
    .option('--context <name>', 'the fleet to talk to, instead of the one in use')
    .option('--project <name>', 'the project that names are looked up in', 'default')
    .option('--timeout <duration>', 'how long to wait', '5m')
    .addOption(new Option('--color <when>', 'colours').choices(['auto', 'always', 'never']))
    .option('-q, --quiet', 'no progress, errors only')
    .option('-y, --yes', 'do not ask before something dangerous')
    .option('--no-input', 'never ask anything')
    .enablePositionalOptions(false)
    .showHelpAfterError(false)
    .showSuggestionAfterError(true)
    .addHelpText(
      'after',
      '\nThe daemons: drover control-plane, drover agent. A host joins with: drover node join TOKEN',
    );
  quiet(program);
  for (const spec of commands) addCommand(program, spec, action);
  return program;
}

/**
 * Our own errors alone are printed, in the form that was asked for. What commander still writes is the help
 * of a group that was called without a sub-command: a result.
 */
function quiet(made: Command): void {
  made.exitOverride().configureOutput({
    outputError: () => {},
    writeErr: (text) => void process.stdout.write(text),
  });
}

const groupHelp: Readonly<Record<string, string>> = {
  snapshot: 'Volumes of an instance as they were',
  volume: 'Data volumes',
  template: 'Templates of clusters, which guests are made from',
  routing: 'Rules that choose a runtime where a workload names none',
  network: 'Networks whose addresses the fleet gives out',
  node: 'Hosts and their place in the fleet',
  cluster: 'Proxmox VE clusters as part of the fleet',
  image: 'Images on the hosts',
  context: 'The fleets this command line knows',
  local: 'The agent of this very host, while the control plane is away',
};

function addCommand(program: Command, spec: CommandSpec, action: Action): void {
  const words = spec.name.split(' ');
  const last = words.at(-1) ?? '';
  const parent = words.length === 1 ? program : groupOf(program, words[0] ?? '');
  const made = parent.command(last).description(spec.summary);
  quiet(made);
  for (const { name, help } of spec.arguments ?? []) made.argument(name, help);
  for (const option of spec.options ?? []) addOption(made, option);
  const passThrough = spec.arguments?.some(({ name }) => name.includes('...')) === true;
  if (passThrough) made.passThroughOptions(false);
  const examples = spec.examples.map((example) => `  drover ${example}`).join('\n');
  made.addHelpText(
    'after',
    `\nExamples:\n${examples}\n\nEvery command also takes the options of: drover --help`,
  );
  for (const shared of program.options) {
    if (!['--version'].includes(shared.long ?? '')) made.addOption(hidden(shared));
  }
  made.action(async () => {
    const own = made.opts<Given>();
    const global = { ...program.opts<Given>() };
    for (const [key, value] of Object.entries(own)) {
      if (made.getOptionValueSource(key) === 'cli') global[key] = value;
    }
    await action(spec, made.args, own as OptionValues, global);
  });
}

/** A global option is taken after the command too, without a line in its help. */
function hidden(shared: Option): Option {
  const copy = new Option(shared.flags, shared.description).hideHelp();
  if (shared.argChoices) copy.choices(shared.argChoices);
  return copy;
}

function addOption(
  made: Command,
  { flags, help, default: value, many }: NonNullable<CommandSpec['options']>[number],
): void {
  const option = new Option(flags, help);
  if (value !== undefined) option.default(value);
  if (many === true) {
    option.argParser((one: string, before: string[] | undefined) => [...(before ?? []), one]);
  }
  made.addOption(option);
}

function groupOf(program: Command, name: string): Command {
  const there = program.commands.find((one) => one.name() === name);
  if (there !== undefined) return there;
  const group = program.command(name).description(groupHelp[name] ?? name);
  quiet(group);
  return group;
}

async function runCommand(
  spec: CommandSpec,
  args: readonly string[],
  options: OptionValues,
  given: Given,
): Promise<number> {
  const environment = readEnvironment();
  const output = String(given['output'] ?? 'table') as GlobalOptions['output'];
  const color = (given['color'] as typeof environment.color | undefined) ?? environment.color;
  const { stdin, stdout, stderr } = process;
  // A program that reads errors as JSON gets nothing else on standard error.
  const forProgram = (output === 'json' || output === 'yaml') && stderr.isTTY !== true;
  const silent = given['quiet'] === true || forProgram;
  const terminal = createTerminal({ stdin, stdout, stderr, quiet: silent, color });
  const interrupted = onInterrupt();
  let connection: Connection | undefined;
  try {
    const global = readGlobal(given, output);
    const contexts = openContexts(environment);
    const connect = async (): Promise<Connection> => {
      const { openConnection } = await import('./connection.ts');
      connection ??= openConnection(await contexts.read(global.context));
      return connection;
    };
    const context: CommandContext = {
      global,
      terminal,
      contexts,
      connect,
      clock: systemClock,
      random: systemRandom,
      signal: interrupted.signal,
      insist: interrupted.insist,
    };
    const result = await spec.run({ args, options }, context);
    if ('data' in result) await printResult(result, global, terminal);
    return result.exitCode ?? exitCode.done;
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    return printError(explain(asDroverError(error), connection), output, terminal);
  } finally {
    interrupted.release();
    connection?.close();
  }
}

/** What gRPC says of a connection is for its authors; a person wants the address and the next step. */
function explain(error: DroverError, connection: Connection | undefined): DroverError {
  // A deadline that passed before there was a connection: nothing was asked of anybody.
  const neverAsked = error.kind === 'deadline-exceeded' && /LB pick|name resolution/i.test(error.message);
  if ((!neverAsked && !isControlPlaneAway(error)) || connection === undefined) return error;
  const { name, address } = connection.context;
  return new DroverError(
    'unavailable',
    `no control plane answers at ${address} (context ${name}): ${error.message}`,
    {
      reason: 'connection',
      nextStep: 'is it running there? drover context show tells what is used',
      cause: error,
    },
  );
}

/** `drover logs web | head` has read enough: no fault to tell, and the code is the shell's own for it. */
function stopAtBrokenPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
  process.exit(128 + constants.signals.SIGPIPE);
}

/** The first Ctrl-C stops politely, the second at once. */
function onInterrupt(): Pick<CommandContext, 'signal' | 'insist'> & { readonly release: () => void } {
  const abort = new AbortController();
  let isInsisting = false;
  const stop = (): void => {
    if (abort.signal.aborted && !isInsisting) process.exit(130);
    abort.abort();
  };
  const others = ['SIGTERM', 'SIGHUP'] as const;
  const ignore = (): void => undefined;
  process.on('SIGINT', stop);
  return {
    signal: abort.signal,
    release: () => process.off('SIGINT', stop),
    async insist(act) {
      isInsisting = true;
      for (const name of others) process.on(name, ignore);
      try {
        return await act();
      } finally {
        isInsisting = false;
        for (const name of others) process.off(name, ignore);
      }
    },
  };
}

function readGlobal(given: Given, output: GlobalOptions['output']): GlobalOptions {
  const context = given['context'];
  return {
    output,
    project: String(given['project'] ?? 'default'),
    context: typeof context === 'string' ? context : undefined,
    quiet: given['quiet'] === true,
    yes: given['yes'] === true,
    input: given['input'] !== false,
    timeoutMs: parseDurationMs(String(given['timeout'] ?? '5m')),
  };
}

/** Wrong words on the command line, in the same form as every other error. */
function usageError(error: CommanderError, words: readonly string[]): number {
  // What stands behind "--" is for a guest.
  const argv = words.includes('--') ? words.slice(0, words.indexOf('--')) : words;
  const place = argv.findIndex((word) => word === '-o' || word === '--output');
  const output =
    place < 0
      ? (argv.find((word) => /^(-o|--output=)./.test(word))?.replace(/^(-o|--output=)/, '') ?? '')
      : argv[place + 1];
  const { stdin, stdout, stderr } = process;
  const terminal = createTerminal({ stdin, stdout, stderr, quiet: false, color: readEnvironment().color });
  const [message = '', hint = ''] = error.message.replace(/^error: /, '').split('\n');
  const nextStep = `${hint.replace(/^\((.*)\)$/, '$1 ')}drover help lists all`;
  return printError(new DroverError('invalid-argument', message, { nextStep }), output ?? '', terminal);
}

/** `drover complete -- words…`, as the scripts of `drover completion` call it. */
async function complete(program: Command, argv: readonly string[]): Promise<number> {
  const { installCompletion } = await import('./completion.ts');
  installCompletion(program, commands, readEnvironment());
  await program.parseAsync([...argv], { from: 'user' });
  return exitCode.done;
}
