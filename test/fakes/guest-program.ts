import type { Clock } from '#shared/clock.ts';
import type { TerminalSize } from '#shared/streams.ts';

/** What a fake guest's program can reach: its streams, its terminal and the moment it is told to end. */
export interface ProgramWorld {
  readonly clock: Clock;
  /** Aborted when the process dies. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string>>;
  write(stream: 'stdout' | 'stderr', text: string): void;
  /** The next bytes of standard input; undefined at its end. */
  read(): Promise<string | undefined>;
  size(): TerminalSize;
  /** Says what SIGTERM does from now on. */
  onTerm(reaction: { readonly exitCode: number } | 'ignore'): void;
}

const forEver = 1_000_000_000;

/**
 * Runs the few words of shell that suites speak: `sh -c "echo a; echo b >&2; sleep 1; exit 5"`, `trap 'exit
 * 3' TERM`, `cat`, `read x`, `stty size`. Every other program runs until it is killed. Resolves to the exit
 * code.
 */
export async function runProgram(command: readonly string[], world: ProgramWorld): Promise<number> {
  const [program = '', flag, script = ''] = command;
  if (flag !== '-c' || !program.endsWith('sh')) return runStatement(command.join(' '), world);
  for (const statement of splitStatements(script)) {
    if (world.signal.aborted) return 137;
    const code = await runStatement(statement, world);
    if (statement.startsWith('exit')) return code;
  }
  return 0;
}

const splitStatements = (script: string): string[] =>
  script
    .split(/;|&(?!1|2)/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== '');

async function runStatement(statement: string, world: ProgramWorld): Promise<number> {
  const [word = '', ...words] = statement.split(/\s+/);
  const rest = words.join(' ');
  switch (word.replace(/^\/bin\//, '')) {
    case 'exit':
      return Number(rest);
    case 'true':
      return 0;
    case 'echo':
      world.write(rest.endsWith('>&2') ? 'stderr' : 'stdout', `${echoText(rest, world.env)}\n`);
      return 0;
    case 'trap':
      world.onTerm(/exit (\d+)/.test(rest) ? { exitCode: Number(/exit (\d+)/.exec(rest)?.[1]) } : 'ignore');
      return 0;
    case 'cat':
      return echoInput(world);
    case 'read':
      await world.read();
      return 0;
    case 'stty':
      world.write('stdout', `${world.size().rows} ${world.size().columns}\n`);
      return 0;
    case 'wait':
      return sleepMs(forEver, world);
    case 'sleep':
      return sleepMs(Number(rest) * 1000, world);
    default:
      return sleepMs(forEver, world);
  }
}

const echoText = (text: string, env: Readonly<Record<string, string>>): string =>
  text
    .replace(/ ?>&2$/, '')
    .replaceAll(/["']/g, '')
    .replaceAll(/\$(\w+)/g, (_, name: string) => env[name] ?? '');

async function echoInput(world: ProgramWorld): Promise<number> {
  for (;;) {
    const text = await world.read();
    if (text === undefined) return 0;
    world.write('stdout', text);
  }
}

async function sleepMs(delayMs: number, { clock, signal }: ProgramWorld): Promise<number> {
  await new Promise<void>((resolve) => {
    const cancel = clock.after(Math.min(delayMs, 2 ** 31 - 1), resolve);
    const end = (): void => {
      cancel();
      resolve();
    };
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
  });
  return 0;
}
