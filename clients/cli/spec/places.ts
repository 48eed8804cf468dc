import { type Document, type LineCounter, isAlias, isMap, isPair, isScalar, isSeq } from 'yaml';

const shownMax = 120;

/** "file:line:column message", the line itself, and a caret under the place. */
export function placer(
  text: string,
  file: string,
  lines: LineCounter,
): (offset: number, message: string) => string {
  return (offset, message) => {
    const { line, col } = lines.linePos(Math.min(offset, text.length));
    const start = lines.lineStarts[line - 1] ?? 0;
    // JSON may be one line of a megabyte: only what is around the place is shown.
    const from = start + Math.max(0, col - 1 - shownMax / 2);
    const row = (/^[^\r\n]*/.exec(text.slice(from, from + shownMax)) ?? [''])[0].replaceAll('\t', ' ');
    const caret = ' '.repeat(Math.max(0, start + col - 1 - from));
    return `${file}:${line}:${col} ${message}\n    ${row}\n    ${caret}^`;
  };
}

/** Where the key of a path such as "resources.memory" stands, or the nearest thing above it that is there. */
export function offsetOf(document: Document, field: string): number {
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? document.range?.[0] ?? 0;
  for (let rest = field; rest !== ''; ) {
    const target = isAlias(node) ? node.resolve(document) : node;
    const found = isMap(target) ? inMap(target, rest) : isSeq(target) ? inList(target, rest) : undefined;
    if (found === undefined) return offset;
    ({ node, offset, rest } = found);
  }
  return offset;
}

interface Step {
  readonly node: unknown;
  readonly offset: number;
  /** What is left of the path. */
  readonly rest: string;
}

/** A label's key may hold dots itself, so the longest key that fits is the one. */
function inMap(map: { readonly items: readonly unknown[] }, path: string): Step | undefined {
  let best: (Step & { readonly length: number }) | undefined;
  for (const pair of map.items) {
    if (!isPair(pair) || !isScalar(pair.key)) continue;
    const key = String(pair.key.value);
    if (!path.startsWith(key) || !/^([.[]|$)/.test(path.slice(key.length))) continue;
    if (best !== undefined && best.length > key.length) continue;
    const rest = path.slice(key.length).replace(/^\./, '');
    best = { node: pair.value, offset: pair.key.range?.[0] ?? 0, rest, length: key.length };
  }
  return best;
}

function inList(list: { readonly items: readonly unknown[] }, path: string): Step | undefined {
  const [whole, place = ''] = /^\[(\d{1,9})\]\.?/.exec(path) ?? [];
  const node = list.items[Number(place)] as { readonly range?: readonly number[] } | undefined;
  if (whole === undefined || node === undefined) return undefined;
  return { node, offset: node.range?.[0] ?? 0, rest: path.slice(whole.length) };
}
