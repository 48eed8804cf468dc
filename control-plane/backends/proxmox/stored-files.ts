import type { ClusterTools } from './cluster-memory.ts';
import { numberOf, textOf } from './guests/properties.ts';
import type { Content } from './image-references.ts';
import type { StorageRow } from './observe.ts';

/** An image file on a storage. */
export interface StoredFile {
  readonly storage: string;
  readonly volid: string;
  readonly sizeBytes: number;
  readonly atMs: number;
}

export interface StoredFiles {
  /** Storages of a node that take such files, and that it reaches. */
  storages(node: string, content: Content): StorageRow[];
  on(node: string, storage: string, content: Content, signal: AbortSignal): Promise<StoredFile[]>;
  /** On all storages of a node. */
  all(node: string, signal: AbortSignal): AsyncIterable<StoredFile>;
}

const contents: readonly Content[] = ['vztmpl', 'import', 'iso'];

export function createStoredFiles({ api, memory }: Pick<ClusterTools, 'api' | 'memory'>): StoredFiles {
  const storages = (node: string, content: Content): StorageRow[] =>
    (memory.nodes.get(node)?.storages ?? []).filter(
      (each) => each.available && each.content.includes(content),
    );

  async function on(
    node: string,
    storage: string,
    content: Content,
    signal: AbortSignal,
  ): Promise<StoredFile[]> {
    const asked = { node, storage, content };
    const answer = await api.call('GET /nodes/{node}/storage/{storage}/content', asked, { signal });
    const rows = Array.isArray(answer) ? (answer as Record<string, unknown>[]) : [];
    return rows.map((row) => ({
      storage,
      volid: textOf(row['volid']),
      sizeBytes: numberOf(row['size']),
      atMs: numberOf(row['ctime']) * 1000,
    }));
  }

  return {
    storages,
    on,
    async *all(node, signal) {
      for (const content of contents)
        for (const { storage } of storages(node, content)) yield* await on(node, storage, content, signal);
    },
  };
}
