import { type Document, LineCounter, isMap, isScalar, parseAllDocuments, visit } from 'yaml';
import { DroverError, type FieldFault } from '#shared/errors.ts';
import type { NetworkDocument, WorkloadDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatDocument, readQuantities } from './format-document.ts';
import { formatNetworkDocument } from './network-document.ts';
import { offsetOf, placer } from './places.ts';
import { isNetwork, schemaFaults } from './schema-faults.ts';

/** One document of a file, with the way back to its lines. */
export interface ParsedDocument<Message = WorkloadDocument> {
  readonly document: Message;
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

export interface ParsedFile {
  /** Workloads. */
  readonly documents: readonly ParsedDocument[];
  readonly networks: readonly ParsedDocument<NetworkDocument>[];
  readonly faults: readonly string[];
}

/** The documents without faults, and every fault of the others, each with its place. Never throws. */
export function readSpec(text: string, file: string): ParsedFile {
  const tooMuch = (what: string): ParsedFile => ({
    documents: [],
    networks: [],
    faults: [`${file}: holds ${what}`],
  });
  if (text.length > charactersMax) return tooMuch(`${text.length} characters; at most ${charactersMax}`);
  const lines = new LineCounter();
  const found = documentsIn(text, lines);
  if (found.length === 0) return tooMuch('no document');
  if (found.length > documentsMax) return tooMuch(`${found.length} documents; at most ${documentsMax}`);
  const place = placer(text, file, lines);
  const faults: string[] = [];
  const documents: ParsedDocument[] = [];
  const networks: ParsedDocument<NetworkDocument>[] = [];
  for (const one of found) {
    const { value, wrong } = checked(one);
    const sorted = wrong.toSorted((left, right) => left.offset - right.offset);
    faults.push(...sorted.map(({ offset, message }) => place(offset, message)));
    if (wrong.length > 0) continue;
    const locate = (fault: FieldFault): string => {
      const { offset, message } = placed(one, fault);
      return place(offset, message);
    };
    if (isNetwork(value)) networks.push({ document: formatNetworkDocument(value), locate });
    else documents.push({ document: formatDocument(value), locate });
  }
  return { documents, networks, faults };
}

/** The workloads alone. invalid-argument with every fault of every document, each with its place. */
export function parseSpec(text: string, file: string): readonly ParsedDocument[] {
  const { documents, faults } = readSpec(text, file);
  if (faults.length > 0) throw specError(faults);
  return documents;
}

export function specError(faults: readonly string[]): DroverError {
  const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`;
  const shown = faults.slice(0, faultsShownMax);
  const rest = faults.length > shown.length ? [`… and ${faults.length - shown.length} more`] : [];
  return new DroverError('invalid-argument', [`the spec has ${count}`, ...shown, ...rest].join('\n'), {
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
  return documents.filter((one) => one.errors.length > 0 || !isEmpty(one.contents));
}

/** What is between two "---" without a word; `null` in so many letters is a fault. */
const isEmpty = (contents: unknown): boolean =>
  contents === null || (isScalar(contents) && contents.value === null && contents.source === '');

interface Placed {
  readonly offset: number;
  readonly message: string;
}

const placed = (document: Document, { field, message }: FieldFault): Placed => ({
  offset: offsetOf(document, field),
  message: field === '' ? message : `${field}: ${message}`,
});

/** The values of one document with all that is wrong with them: keys, kinds and quantities at once. */
function checked(document: Document): { value: Record<string, unknown>; wrong: readonly Placed[] } {
  const refuse = (...wrong: readonly Placed[]) => ({ value: {}, wrong });
  const syntax = [...document.errors.slice(0, syntaxFaultsMax), ...strayAliases(document)];
  if (syntax.length > 0)
    return refuse(...syntax.map(({ pos, message }) => ({ offset: pos[0], message: inPlainWords(message) })));
  const whole = (message: string): Placed => placed(document, { field: '', message });
  if (!isMap(document.contents)) return refuse(whole('is not a document of keys and values'));
  keepNumbersAsWritten(document);
  let value: Record<string, unknown>;
  try {
    value = document.toJS({ maxAliasCount: aliasesMax }) as Record<string, unknown>;
  } catch (error) {
    // The library counts aliases only here, and throws for the whole document.
    return refuse(whole(inPlainWords((error as Error).message)));
  }
  const faults = schemaFaults(value);
  const named = new Set(faults.map(({ field }) => field));
  const read = isNetwork(value) ? [] : readQuantities(value).faults;
  const quantities = read.filter(({ field }) => !named.has(field));
  return { value, wrong: [...faults, ...quantities].map((fault) => placed(document, fault)) };
}

/** The parser lets aliases to nothing pass, and aliases to what they are part of. */
function strayAliases(document: Document): { pos: [number]; message: string }[] {
  const stray: { pos: [number]; message: string }[] = [];
  if (document.errors.length > 0) return stray;
  visit(document, {
    Alias(_key, alias, ancestors) {
      const target = alias.resolve(document);
      const pos: [number] = [alias.range?.[0] ?? 0];
      if (target === undefined)
        stray.push({ pos, message: `there is no anchor "${alias.source}" before here` });
      else if (ancestors.includes(target)) stray.push({ pos, message: `"${alias.source}" holds itself` });
    },
  });
  return stray.slice(0, syntaxFaultsMax);
}

const textSections = ['env', 'labels', 'annotations', 'command', 'lxc'];

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
