/**
 * An immutable map from text to values, sorted by key, in chunks: a change copies one chunk and the list of
 * chunks, so every version that somebody holds stays as it was, and versions share what did not change.
 */
export interface SortedTable<Value> {
  readonly size: number;
  readonly chunks: readonly Chunk<Value>[];
}

interface Chunk<Value> {
  readonly keys: readonly string[];
  readonly values: readonly Value[];
}

const chunkLimit = 64;

export const emptyTable: SortedTable<never> = { size: 0, chunks: [] };

/** The place of the first key that is not below the given one. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The chunk where the key is, or would go: the last one that does not begin after it. */
function chunkFor(chunks: readonly Chunk<unknown>[], key: string): number {
  let low = 0;
  let high = chunks.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (((chunks[middle] as Chunk<unknown>).keys[0] as string) <= key) low = middle;
    else high = middle - 1;
  }
  return low;
}

export function getFrom<Value>(table: SortedTable<Value>, key: string): Value | undefined {
  const chunk = table.chunks[chunkFor(table.chunks, key)];
  if (chunk === undefined) return undefined;
  const place = lowerBound(chunk.keys, key);
  return chunk.keys[place] === key ? chunk.values[place] : undefined;
}

function replaceChunk<Value>(
  table: SortedTable<Value>,
  index: number,
  chunks: readonly Chunk<Value>[],
  size: number,
): SortedTable<Value> {
  const all = table.chunks.slice();
  all.splice(index, 1, ...chunks);
  return { size, chunks: all };
}

function split<Value>(keys: string[], values: Value[]): Chunk<Value>[] {
  if (keys.length <= chunkLimit) return [{ keys, values }];
  // Keys that grow with time are added at the end: chunks stay nearly full.
  const at = keys.length - (chunkLimit >>> 2);
  return [
    { keys: keys.slice(0, at), values: values.slice(0, at) },
    { keys: keys.slice(at), values: values.slice(at) },
  ];
}

function replaceValue<Value>(
  table: SortedTable<Value>,
  index: number,
  { keys, values }: Chunk<Value>,
  place: number,
  value: Value,
): SortedTable<Value> {
  const changed = values.slice();
  changed[place] = value;
  const chunks = table.chunks.slice();
  chunks[index] = { keys, values: changed };
  return { size: table.size, chunks };
}

export function putInto<Value>(table: SortedTable<Value>, key: string, value: Value): SortedTable<Value> {
  const index = chunkFor(table.chunks, key);
  const chunk = table.chunks[index];
  if (chunk === undefined) return { size: 1, chunks: [{ keys: [key], values: [value] }] };
  const place = lowerBound(chunk.keys, key);
  if (chunk.keys[place] === key) return replaceValue(table, index, chunk, place, value);
  const keys = chunk.keys.slice();
  const values = chunk.values.slice();
  keys.splice(place, 0, key);
  values.splice(place, 0, value);
  return replaceChunk(table, index, split(keys, values), table.size + 1);
}

export function deleteFrom<Value>(table: SortedTable<Value>, key: string): SortedTable<Value> {
  const index = chunkFor(table.chunks, key);
  const chunk = table.chunks[index];
  if (chunk === undefined) return table;
  const place = lowerBound(chunk.keys, key);
  if (chunk.keys[place] !== key) return table;
  if (chunk.keys.length === 1) return replaceChunk(table, index, [], table.size - 1);
  const keys = chunk.keys.toSpliced(place, 1);
  const values = chunk.values.toSpliced(place, 1);
  return replaceChunk(table, index, [{ keys, values }], table.size - 1);
}

/** The values of the keys in [start, end), sorted by key. */
export function rangeOf<Value>(
  table: SortedTable<Value>,
  start: string,
  end: string,
  limit = Infinity,
): Value[] {
  const found: Value[] = [];
  for (let index = chunkFor(table.chunks, start); index < table.chunks.length; index++) {
    const { keys, values } = table.chunks[index] as Chunk<Value>;
    for (let place = lowerBound(keys, start); place < keys.length; place++) {
      if ((keys[place] as string) >= end || found.length >= limit) return found;
      found.push(values[place] as Value);
    }
  }
  return found;
}
