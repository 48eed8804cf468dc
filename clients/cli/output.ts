import { createRequire } from 'node:module';
import type { Table, TableConstructorOptions } from 'cli-table3';
import type { DroverError } from '#shared/errors.ts';
import type { Column, GlobalOptions, Result } from './command.ts';
import { exitCodeOf } from './exit-code.ts';
import { type Terminal, escapeControls } from './terminal.ts';

const noBorders = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

type NewTable = new (options: TableConstructorOptions) => Table;

/** Left-aligned columns without borders; what comes from the fleet is escaped. */
export function table<Row>(rows: readonly Row[], columns: readonly Column<Row>[], wide: boolean): string {
  const shown = columns.filter((column) => wide || column.wide !== true);
  // Loaded late: help and errors draw no tables.
  const Drawn = createRequire(import.meta.url)('cli-table3') as NewTable;
  const drawn = new Drawn({
    head: shown.map(({ title }) => title),
    chars: noBorders,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  for (const row of rows)
    drawn.push(shown.map(({ value }) => escapeControls(value(row).replaceAll('\n', ' ')) || '-'));
  return drawn
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** A list of things that have names. */
export function listResult<Row>(options: {
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row>[];
  readonly json: (row: Row) => unknown;
  readonly name: (row: Row) => string;
  readonly empty: string;
}): Result {
  const { rows, columns, json, name, empty } = options;
  return {
    data: rows.map(json),
    names: rows.map(name),
    text: ({ wide }) => (rows.length === 0 ? empty : table(rows, columns, wide)),
  };
}

/** "Name:  value" lines; values of several lines are indented. */
export function describeText(fields: readonly (readonly [string, string])[]): string {
  const shown = fields.filter(([, value]) => value !== '');
  const width = Math.max(...shown.map(([name]) => name.length)) + 2;
  return shown
    .map(
      ([name, value]) =>
        `${`${name}:`.padEnd(width)}${escapeControls(value).replaceAll('\n', `\n${' '.repeat(width)}`)}`,
    )
    .join('\n');
}

/** JSON leaves some characters as they are that a terminal obeys. */
export const jsonText = (data: unknown, indent?: number): string =>
  JSON.stringify(data, undefined, indent).replace(
    /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g,
    (found) => `\\u${(found.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );

/** Prints one result in the form that was asked for. YAML is loaded only when it is. */
export async function printResult(result: Result, global: GlobalOptions, terminal: Terminal): Promise<void> {
  switch (global.output) {
    case 'json':
      return terminal.print(jsonText(result.data, 2));
    case 'yaml': {
      const { stringify } = await import('yaml');
      return terminal.print(stringify(result.data).trimEnd());
    }
    case 'name':
      return result.names.forEach((name) => terminal.print(escapeControls(name)));
    default: {
      const text = result.text({ wide: global.output === 'wide' });
      if (text !== '') terminal.print(escapeControls(text));
      if (result.next !== undefined && terminal.errIsTty) terminal.note(`next: ${result.next}`);
    }
  }
}

/** What failed, why, and what to do; as an object on standard error with `-o json` or `-o yaml`. */
export function printError(error: DroverError, output: string, terminal: Terminal): number {
  const code = exitCodeOf(error);
  if (output === 'json' || output === 'yaml') {
    const { kind, reason, message, subject, nextStep, faults } = error;
    terminal.complain(
      jsonText({ error: { kind, reason, message, subject, nextStep, faults, exitCode: code } }),
    );
    return code;
  }
  const [first = 'failed without a word', ...more] = escapeControls(error.message).split('\n');
  terminal.complain(`${terminal.style('red', 'error:')} ${first}`);
  for (const line of more) terminal.complain(line);
  if (error.nextStep !== '') terminal.complain(`  next: ${escapeControls(error.nextStep)}`);
  return code;
}
