import { textOf } from '../guests/properties.ts';

export type Row = Readonly<Record<string, unknown>>;

/** The rows of an answer that is a list; what is no row is left out, and what is no list has none. */
export const rowsOf = (answer: unknown): Row[] =>
  Array.isArray(answer) ? answer.filter((row): row is Row => typeof row === 'object' && row !== null) : [];

/** An answer, or a part of one, as one row; what is none has nothing in it. */
export const rowOf = (answer: unknown): Row =>
  typeof answer === 'object' && answer !== null ? (answer as Row) : {};

/** Of the answer of `…/pending`: the keys of what counts only after a start. */
export const pendingKeys = (answer: unknown): string[] =>
  rowsOf(answer)
    .filter((row) => row['pending'] !== undefined || row['delete'] !== undefined)
    .map((row) => textOf(row['key']));
