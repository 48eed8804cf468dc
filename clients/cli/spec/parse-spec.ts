import { type Document, LineCounter, isMap, isScalar, parseAllDocuments, visit } from 'yaml';
import { DroverError, type FieldFault } from '#shared/errors.ts';
import type { WorkloadDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatDocument, readQuantities } from './format-document.ts';
import { offsetOf, placer } from './places.ts';
import { schemaFaults } from './schema-faults.ts';

/** One document of a file, with the way back to its lines. */
export interface ParsedDocument {
  readonly document: WorkloadDocument;
  /**
   * Names a fault by "file:line:column", with the line and a caret, from a path such as "resources.memory".
   */
  locate(fault: FieldFault): string;
}

const documentsMax = 30;
const charactersMax = 1024 * 1024;
const aliasesMax = 100;
const faultsShownMax = 50;
/** The parser goes on after a fault, and most of what it then says follows from the first. */
const syntaxFaultsMax = 5;

/** invalid-argument with every fault of every document, each with its place. */
export function parseSpec(text: string, file: string): ParsedDocument[] {
  if (text.length > charactersMax)
    throw specError([`${file}: holds ${text.length} characters; at most ${charactersMax}`]);
  const lines = new LineCounter();
  const found = documentsIn(text, lines);
  const place = placer(text, file, lines);
  const faults: string[] = [];
  const parsed: ParsedDocument[] = [];
  for (const one of found) {
    const locate = ({ field, message }: FieldFault): string =>
      place(offsetOf(one, field), field === '' ? message : `${field}: ${message}`);
    const syntax = one.errors.slice(0, syntaxFaultsMax);
    faults.push(...syntax.map((error) => place(error.pos[0], inPlainWords(error.message))));
    if (syntax.length > 0) continue;
    const { value, faults: wrong } = checked(one);
    faults.push(...wrong.map(locate));
    if (wrong.length === 0) parsed.push({ document: formatDocument(value), locate });
  }
  if (found.length === 0) faults.push(`${file}: holds no document`);
  if (found.length > documentsMax)
    faults.push(`${file}: holds ${found.length} documents; at most ${documentsMax}`);
  if (faults.length > 0) throw specError(faults);
  return parsed;
}

export function specError(faults: readonly string[]): DroverError {
  const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`;
  const shown = faults.slice(0, faultsShownMax);
  const rest = faults.length > shown.length ? [`… and ${faults.length - shown.length} more`] : [];
  return new DroverError('invalid-argument', [`the spec has ${count}`, ...shown, ...rest].join('\n'), {
    subject: { spec: `${faults.length}` },
    nextStep: 'mend the lines above; docs/spec.md has every field',
    faults: shown.map(faultOf),
  });
}

/** For programs: the place is the field. */
function faultOf(text: string): FieldFault {
  const [first = ''] = text.split('\n');
  const [, field = '', message = first] = /^(.*?:\d+:\d+) (.*)$/.exec(first) ?? [];
  return { field, message };
}

function documentsIn(text: string, lineCounter: LineCounter): Document[] {
  const options = { lineCounter, prettyErrors: false, uniqueKeys: true } as const;
  const documents = parseAllDocuments(text, options);
  if ('empty' in documents) return [];
  return documents.filter((one) => one.contents !== null || one.errors.length > 0);
}

/** The values of one document with all that is wrong with them: keys, kinds and quantities at once. */
function checked(document: Document): { value: Record<string, unknown>; faults: FieldFault[] } {
  const nothing = {};
  if (!isMap(document.contents))
    return { value: nothing, faults: [{ field: '', message: 'is not a document of keys and values' }] };
  keepNumbersAsWritten(document);
  let value: Record<string, unknown>;
  try {
    value = document.toJS({ maxAliasCount: aliasesMax }) as Record<string, unknown>;
  } catch (error) {
    // The library checks aliases only here, and throws for the whole document.
    return { value: nothing, faults: [{ field: '', message: inPlainWords((error as Error).message) }] };
  }
  const faults = schemaFaults(value);
  const named = new Set(faults.map(({ field }) => field));
  const quantities = readQuantities(value).faults.filter(({ field }) => !named.has(field));
  return { value, faults: [...faults, ...quantities] };
}

const textSections = ['env', 'labels', 'annotations', 'command'];

/** In an environment `VERSION: 1.10` is text: as a number it would lose its last digit. */
function keepNumbersAsWritten(document: Document): void {
  for (const section of textSections) {
    const node: unknown = document.get(section, true);
    if (node === undefined || node === null || isScalar(node)) continue;
    visit(node as Document, {
      Scalar(_key, scalar) {
        if (typeof scalar.value === 'number' && scalar.source !== undefined) scalar.value = scalar.source;
      },
    });
  }
}

function inPlainWords(message: string): string {
  if (/call stack|stack overflow/i.test(message)) return 'is nested too deeply';
  if (/excessive alias count/i.test(message))
    return `grows out of its aliases; at most ${aliasesMax} of them`;
  return message;
}
