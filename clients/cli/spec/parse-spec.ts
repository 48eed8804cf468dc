import { Ajv2020, type ErrorObject } from 'ajv/dist/2020.js';
import { closest } from 'fastest-levenshtein';
import { LineCounter, type Document, isMap, isPair, isScalar, parseAllDocuments } from 'yaml';
import { DroverError, type FieldFault } from '#shared/errors.ts';
import type { WorkloadDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { formatDocument } from './format-document.ts';
import { workloadSchema } from './schema.ts';

/** One document of a file, with the way back to its lines. */
export interface ParsedDocument {
  readonly document: WorkloadDocument;
  /**
   * Names a fault by "file:line:column", with the line and a caret, from a path such as "resources.memory".
   */
  locate(fault: FieldFault): string;
}

const validate = new Ajv2020({ allErrors: true, strict: false, verbose: true }).compile(workloadSchema);
const documentsMax = 30;

/** invalid-argument with every fault of every document, each with its place. */
export function parseSpec(text: string, file: string): ParsedDocument[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const found =
    'empty' in documents ? [] : documents.filter((one) => one.contents !== null || one.errors.length > 0);
  const place = placer(text, file, lines);
  const faults: string[] = [];
  const parsed: ParsedDocument[] = [];
  for (const one of found) {
    const locate = (fault: FieldFault): string =>
      place(offsetOf(one, fault.field), `${fault.field}: ${fault.message}`);
    const wrong = [
      ...one.errors.map((error) => place(error.pos[0], error.message)),
      ...(one.errors.length > 0 ? [] : faultsOf(one).map(locate)),
    ];
    faults.push(...wrong);
    if (wrong.length > 0) continue;
    const { document, faults: more } = formatDocument(
      one.toJS({ maxAliasCount: 100 }) as Record<string, unknown>,
    );
    faults.push(...more.map(locate));
    parsed.push({ document, locate });
  }
  if (found.length === 0) faults.push(`${file}: holds no document`);
  if (found.length > documentsMax)
    faults.push(`${file}: holds ${found.length} documents; at most ${documentsMax}`);
  if (faults.length > 0) throw specError(faults);
  return parsed;
}

export function specError(faults: readonly string[]): DroverError {
  const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`;
  return new DroverError('invalid-argument', `the spec has ${count}\n${faults.join('\n')}`, {
    nextStep: 'mend the lines above; docs/spec.md has every field',
  });
}

/** "file:line:column message", the line itself, and a caret under the place. */
function placer(text: string, file: string, lines: LineCounter): (offset: number, message: string) => string {
  const rows = text.split('\n');
  return (offset, message) => {
    const { line, col } = lines.linePos(offset);
    const row = (rows[line - 1] ?? '').slice(0, 160);
    return `${file}:${line}:${col} ${message}\n    ${row}\n    ${' '.repeat(Math.max(0, col - 1))}^`;
  };
}

function faultsOf(document: Document): FieldFault[] {
  if (!isMap(document.contents)) return [{ field: '', message: 'is not a document of keys and values' }];
  const value = document.toJS({ maxAliasCount: 100 }) as unknown;
  if (validate(value)) return [];
  return (validate.errors ?? []).map(faultOf);
}

/** A schema's complaint in the words of the house. */
function faultOf(error: ErrorObject): FieldFault {
  const at = error.instancePath.slice(1).split('/').filter(Boolean);
  const field = at.reduce(
    (path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path ? `${path}.${part}` : part),
    '',
  );
  const params = error.params as Record<string, unknown>;
  if (error.keyword === 'additionalProperties') {
    const key = String(params['additionalProperty']);
    const known = Object.keys((error.parentSchema as { properties?: object }).properties ?? {});
    const hint = known.length === 0 ? '' : `; did you mean "${closest(key, known)}"?`;
    return { field: field ? `${field}.${key}` : key, message: `is not a key here${hint}` };
  }
  if (error.keyword === 'required') {
    return { field, message: `"${String(params['missingProperty'])}" is missing` };
  }
  const found = JSON.stringify(error.data)?.slice(0, 80) ?? 'nothing';
  if (error.keyword === 'enum' || error.keyword === 'const') {
    const allowed = (params['allowedValues'] as unknown[] | undefined) ?? [params['allowedValue']];
    const words = allowed.map((one) => JSON.stringify(one)).join(', ');
    const near =
      typeof error.data === 'string' ? `; did you mean "${closest(error.data, allowed.map(String))}"?` : '';
    return { field, message: `is ${found}; wanted ${words}${near}` };
  }
  return { field, message: `is ${found}; it ${error.message ?? 'is wrong'}` };
}

/** Where the key stands, or the nearest thing above it that is there. */
function offsetOf(document: Document, field: string): number {
  const path = field
    .split(/[.[\]]/)
    .filter((part) => part !== '')
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  for (let length = path.length; length > 0; length -= 1) {
    const parent = length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true);
    const offset = offsetIn(parent, path[length - 1]);
    if (offset !== undefined) return offset;
  }
  return document.contents?.range?.[0] ?? document.range?.[0] ?? 0;
}

function offsetIn(parent: unknown, key: string | number | undefined): number | undefined {
  if (!isMap(parent)) {
    const item = (parent as { items?: unknown[] } | undefined)?.items?.[Number(key)];
    return (item as { range?: [number] } | undefined)?.range?.[0];
  }
  const pair = parent.items.find((one) => isPair(one) && isScalar(one.key) && String(one.key.value) === key);
  return isScalar(pair?.key) ? pair.key.range?.[0] : undefined;
}
