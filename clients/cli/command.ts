import type { Clock } from '#shared/clock.ts';
import type { Random } from '#shared/random.ts';
import type { Connection } from './connection.ts';
import type { Contexts } from './contexts.ts';
import type { Terminal } from './terminal.ts';

/** A column of a table. Wide ones are shown with `-o wide` alone. */
export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  readonly wide?: boolean;
}

/** What a command found or did, before anybody chose how to show it. */
export interface Result {
  /** What `-o json` and `-o yaml` print: messages in their JSON form. */
  readonly data: unknown;
  /** What a person reads; `wide` has more columns. */
  readonly text: (options: { readonly wide: boolean }) => string;
  /** What `-o name` prints, one a line. */
  readonly names: readonly string[];
  /** Zero where left out. */
  readonly exitCode?: number;
  /** The next command to try, told on standard error to a person at a terminal. */
  readonly next?: string;
}

export interface GlobalOptions {
  readonly output: 'table' | 'wide' | 'json' | 'yaml' | 'name';
  readonly project: string;
  readonly context: string | undefined;
  readonly quiet: boolean;
  readonly yes: boolean;
  readonly input: boolean;
  readonly timeoutMs: number;
}

export interface CommandContext {
  readonly global: GlobalOptions;
  readonly terminal: Terminal;
  readonly contexts: Contexts;
  /** Opens the connection at the first call; commands that need none stay quick. */
  connect(): Promise<Connection>;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborts at the first Ctrl-C. */
  readonly signal: AbortSignal;
  /** While something is to be put back at the end: no second Ctrl-C ends the program meanwhile. */
  insist<Answer>(act: () => Promise<Answer>): Promise<Answer>;
}

export interface OptionSpec {
  /** As commander writes it: "-f, --file <path>". */
  readonly flags: string;
  readonly help: string;
  readonly default?: string | boolean;
  /** May be given several times. */
  readonly many?: boolean;
}

/** Parsed options by their long name in camel case. */
export type OptionValues = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** One command, one file. `name` has a space where a command has sub-commands: "node token". */
export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  /** As commander writes them: "<name>", "[name]", "<words...>". */
  readonly arguments?: readonly {
    readonly name: string;
    readonly help: string;
    readonly completes?: string;
  }[];
  readonly options?: readonly OptionSpec[];
  /** At least one, without "drover" in front. */
  readonly examples: readonly string[];
  /** Whatever it prints itself as it goes is not in the answer. */
  readonly run: (
    input: { readonly args: readonly string[]; readonly options: OptionValues },
    context: CommandContext,
  ) => Promise<Result | { readonly exitCode: number }>;
}

/** Keeps a command's literal type out of the way of its users. */
export const command = (spec: CommandSpec): CommandSpec => spec;

export const textOption = (options: OptionValues, name: string): string | undefined => {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
};

export const manyOption = (options: OptionValues, name: string): readonly string[] => {
  const value = options[name];
  return Array.isArray(value) ? (value as string[]) : typeof value === 'string' ? [value] : [];
};
