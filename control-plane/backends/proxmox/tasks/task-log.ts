import { rowsOf } from '../api/answer-rows.ts';
import type { ClusterApi } from '../cluster-api.ts';
import type { Upid } from './upid.ts';
import { cleanText } from '../api/words.ts';

const pageLines = 500;
/** Longer logs are read to here; their end is then not known. */
const mostPages = 20;
const keptLines = 1000;
const lineLimit = 1000;

/** The log of one task as far as it was read. */
export interface TaskLog {
  /** The last of them. */
  lines(): readonly string[];
  /** All lines, from the first that is kept on; the returned function ends it. */
  listen(onLine: (line: string) => void): () => void;
  /** What came since. A log that cannot be read is no failure of its task. */
  read(): Promise<void>;
}

export function createTaskLog(api: ClusterApi, { node, text }: Upid, signal: AbortSignal): TaskLog {
  const listeners = new Set<(line: string) => void>();
  let lines: string[] = [];
  let offset = 0;

  async function readPage(): Promise<number> {
    const parameters = { node, upid: text, start: offset, limit: pageLines };
    const rows = await api.call('GET /nodes/{node}/tasks/{upid}/log', parameters, { signal, via: node }).then(
      linesIn,
      // No failure of its task: read again with the next look, where there is one.
      () => [],
    );
    // What an empty log is told as.
    if (offset === 0 && rows.length === 1 && rows[0] === 'no content') return 0;
    offset += rows.length;
    lines = [...lines, ...rows].slice(-keptLines);
    for (const line of rows) for (const listener of listeners) listener(line);
    return rows.length;
  }

  return {
    lines: () => lines,
    listen(onLine) {
      for (const line of lines) onLine(line);
      listeners.add(onLine);
      return () => listeners.delete(onLine);
    },
    async read() {
      for (let page = 0; page < mostPages && (await readPage()) === pageLines; page += 1);
    },
  };
}

function linesIn(data: unknown): string[] {
  const rows = rowsOf(data);
  return rows.map(({ t }) => (typeof t === 'string' ? cleanText(t, lineLimit) : ''));
}
