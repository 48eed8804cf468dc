import type { Clock } from '#shared/clock.ts';
import type { TerminalSize } from '#shared/streams.ts';

/** What the programs of one fake guest share. */
export interface GuestSurroundings {
  /** Undefined: no such file. */
  read(file: string): Promise<string | undefined>;
  /** False where it may not be written. */
  write(file: string, text: string): Promise<boolean>;
  hasDevice(file: string): boolean;
  /** Memory that is used from now on. */
  hold(bytes: number): void;
}

/** What a fake guest's program can reach: its streams, its terminal and the moment it is told to end. */
export interface ProgramWorld {
  readonly clock: Clock;
  /** Aborted when the process dies. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string>>;
  readonly guest: GuestSurroundings;
  write(stream: 'stdout' | 'stderr', text: string): void;
  /** The next bytes of standard input; undefined at its end. */
  read(): Promise<string | undefined>;
  size(): TerminalSize;
  /** Says what SIGTERM does from now on. */
  onTerm(reaction: { readonly exitCode: number } | 'ignore'): void;
  /** Resolves at once unless the guest is paused. */
  awake(): Promise<void>;
}

const forEver = 1_000_000_000;

/**
 * Runs the few words of shell that suites speak: `sh -c "echo a; echo b >&2; sleep 1; exit 5"`, `trap 'exit
 * 3' TERM`, `cat`, `cat /file`, `echo a > /file`, `grep`, `dd`, `read x`, `stty size`; without a script, line
 * by line from its input. Every other program runs until it is killed. Resolves to the exit code.
 */
export async function runProgram(command: readonly string[], world: ProgramWorld): Promise<number> {
  const [program = '', flag, script = ''] = command;
  if (!program.endsWith('sh')) return runStatement(command.join(' '), world);
  if (flag === '-c') return (await runScript(script, world)).code;
  for (let line = await world.read(); line !== undefined; line = await world.read()) {
    const { code, isOver } = await runScript(line.trim(), world);
    if (isOver) return code;
  }
  return 0;
}

async function runScript(
  script: string,
  world: ProgramWorld,
): Promise<{ readonly code: number; readonly isOver: boolean }> {
  let code = 0;
  for (const statement of splitStatements(script)) {
    await world.awake();
    if (world.signal.aborted) return { code: 137, isOver: true };
    code = await runStatement(statement, world);
    await world.awake();
    if (statement.startsWith('exit')) return { code, isOver: true };
  }
  return { code, isOver: false };
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
      return echo(rest, world);
    case 'trap':
      world.onTerm(/exit (\d+)/.test(rest) ? { exitCode: Number(/exit (\d+)/.exec(rest)?.[1]) } : 'ignore');
      return 0;
    case 'cat':
      return rest === '' ? echoInput(world) : printLines(await world.guest.read(rest), '', world);
    case 'grep':
      return grep(rest, world);
    case 'dd':
      return copyBytes(rest, world);
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

async function echo(words: string, world: ProgramWorld): Promise<number> {
  const [text = '', file] = words.split(' > ');
  const line = `${echoText(text, world.env)}\n`;
  if (file !== undefined) return (await world.guest.write(file, line)) ? 0 : 1;
  world.write(text.endsWith('>&2') ? 'stderr' : 'stdout', line);
  return 0;
}

/** `grep WORD FILE` and `grep "some words" FILE`. */
async function grep(words: string, world: ProgramWorld): Promise<number> {
  const file = words.split(' ').at(-1) ?? '';
  const wanted = words.slice(0, -file.length - 1).replaceAll('"', '');
  return printLines(await world.guest.read(file), wanted, world);
}

function printLines(text: string | undefined, wanted: string, world: ProgramWorld): number {
  const lines = text?.split('\n').filter((line) => line !== '' && line.includes(wanted)) ?? [];
  for (const line of lines) world.write('stdout', `${line}\n`);
  return lines.length > 0 ? 0 : 1;
}

/** Holds a buffer that nobody takes, or opens a device. */
async function copyBytes(words: string, world: ProgramWorld): Promise<number> {
  const buffer = /if=\/dev\/zero bs=(\d+)M count=1 \|/.exec(words);
  if (buffer === null) return world.guest.hasDevice(/if=(\S+)/.exec(words)?.[1] ?? '') ? 0 : 1;
  world.guest.hold(Number(buffer[1]) * 1024 * 1024);
  return sleepMs(forEver, world);
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
