import { DroverError } from '#shared/errors.ts';
import { rowsOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { numberOf, textOf } from '../guests/properties.ts';
import type { Content } from './image-references.ts';
import type { StorageRow } from '../observe/listings.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';

/** An image file on a storage. */
export interface StoredFile {
  readonly storage: string;
  readonly volid: string;
  readonly sizeBytes: number;
  readonly atMs: number;
}

export interface StoredFiles {
  /** Storages of a node that take such files, and that it reaches; shared ones first. */
  storages(node: string, content: Content): StorageRow[];
  /** The one to bring a file to: a shared one, where there is one. unavailable; failed-precondition. */
  target(node: string, content: Content): StorageRow;
  on(node: string, storage: string, content: Content, signal: AbortSignal): Promise<StoredFile[]>;
  /** On all storages of a node, as they are this moment. */
  all(node: string, signal: AbortSignal): AsyncIterable<StoredFile>;
  /**
   * As all, for many nodes at about the same time: what a storage that they share has on it is asked of one
   * of them, and may be as old as a moment.
   */
  glance(node: string, signal: AbortSignal): AsyncIterable<StoredFile>;
  /** Files came or went: what was seen at a glance is old. */
  changed(): void;
}

/** Less than a person takes to look again, and more than nodes take that are asked side by side. */
const glanceMs = 2000;

const contents: readonly Content[] = ['vztmpl', 'import', 'iso'];

export function createStoredFiles({
  api,
  memory,
  clock,
}: Pick<ClusterTools, 'api' | 'memory' | 'clock'>): StoredFiles {
  /** Of shared storages. */
  const glances = new Map<string, { readonly atMs: number; readonly files: Promise<StoredFile[]> }>();

  const storages = (node: string, content: Content): StorageRow[] =>
    (memory.nodes.get(node)?.storages ?? [])
      .filter((each) => each.available && each.content.includes(content))
      .toSorted((a, b) => Number(b.shared) - Number(a.shared));

  function target(node: string, content: Content): StorageRow {
    const [first] = storages(node, content);
    if (first !== undefined) return first;
    const all = memory.nodes.get(node)?.storages ?? [];
    const subject = { node };
    if (all.length === 0 || all.some((each) => each.content.includes(content)))
      throw new DroverError('unavailable', `no storage of ${node} for "${content}" can be reached now`, {
        subject,
        nextStep: 'try again in some seconds; then see its storages with `drover describe node`',
      });
    throw new DroverError('failed-precondition', `no storage of ${node} takes "${content}"`, {
      subject,
      nextStep: `allow "${content}" on one of its storages`,
    });
  }

  async function on(
    node: string,
    storage: string,
    content: Content,
    signal: AbortSignal,
  ): Promise<StoredFile[]> {
    const asked = { node, storage, content };
    const answer = await api.call('GET /nodes/{node}/storage/{storage}/content', asked, { signal });
    const rows = rowsOf(answer);
    return rows.map((row) => ({
      storage,
      volid: textOf(row['volid']),
      sizeBytes: numberOf(row['size']),
      atMs: numberOf(row['ctime']) * 1000,
    }));
  }

  async function glanceAt(
    node: string,
    { storage, shared }: StorageRow,
    content: Content,
    signal: AbortSignal,
  ): Promise<StoredFile[]> {
    if (!shared) return on(node, storage, content, signal);
    const key = `${storage} ${content}`;
    const before = glances.get(key);
    if (before !== undefined && clock.monotonicMs() - before.atMs < glanceMs) {
      // What another node could not tell, this one may.
      const found = await unlessAborted(before.files, signal).catch(() => undefined);
      if (found !== undefined) return found;
    }
    const files = on(node, storage, content, signal);
    glances.set(key, { atMs: clock.monotonicMs(), files });
    return files;
  }

  return {
    storages,
    target,
    on,
    async *glance(node, signal) {
      for (const content of contents)
        for (const storage of storages(node, content)) yield* await glanceAt(node, storage, content, signal);
    },
    changed: () => glances.clear(),
    async *all(node, signal) {
      for (const content of contents)
        for (const { storage } of storages(node, content)) yield* await on(node, storage, content, signal);
    },
  };
}
