import type { Image } from '#shared/model.ts';
import { guestsOfCluster } from '../../../store/cluster-guests.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import { storagesInUse } from '../guests/disks.ts';
import { copiedGuest, identityOf } from './image-references.ts';
import { readConfig } from '../observe/read-guests.ts';
import type { GuestRow } from '../observe/listings.ts';

/** Templates are changed seldom, and most never. */
const keptForMs = 600_000;

/** Where guests can be copies of others of their cluster: of templates, and of guests that specs name. */
export interface TemplatePlaces {
  /**
   * Those that can be copied on a node: its own, and those of others whose storages are all shared. Each
   * costs one look at its configuration, now and then.
   */
  on(node: string, signal: AbortSignal): AsyncIterable<Image>;
}

interface Known {
  readonly of: string;
  readonly atMs: number;
  readonly storages: readonly string[];
}

export function createTemplatePlaces(tools: ClusterTools): TemplatePlaces {
  const { memory, clock, log, store, name: cluster } = tools;
  const known = new Map<number, Known>();

  /** Undefined: they cannot be read, and then nothing is known against a node. */
  async function storagesOf(row: GuestRow, signal: AbortSignal): Promise<readonly string[] | undefined> {
    const of = `${row.node} ${row.name} ${row.diskBytes}`;
    const before = known.get(row.vmid);
    if (before?.of === of && clock.monotonicMs() - before.atMs < keptForMs) return before.storages;
    try {
      const config = await readConfig(tools, row, signal);
      const storages = storagesInUse(config);
      known.set(row.vmid, { of, atMs: clock.monotonicMs(), storages });
      return storages;
    } catch (err) {
      if (signal.aborted) throw err;
      log.debug({ event: 'template.unread', cluster, err });
      return undefined;
    }
  }

  async function canBeCopiedOn(row: GuestRow, node: string, signal: AbortSignal): Promise<boolean> {
    if (row.node === node) return true;
    const storages = await storagesOf(row, signal);
    const there = memory.nodes.get(node)?.storages ?? [];
    const isShared = (name: string): boolean =>
      there.find(({ storage }) => storage === name)?.shared === true;
    return storages?.every(isShared) ?? true;
  }

  const templates = (): Source[] =>
    memory.guests
      .filter(({ template }) => template)
      .map((row) => ({ row, image: templateImage(cluster, row) }));

  /** Guests that specs name; what was adopted is named by its own, and nobody else makes it anew. */
  function namedGuests(): Source[] {
    const snapshot = store.snapshot();
    const adopted = new Set(
      guestsOfCluster(snapshot, cluster)
        .filter((each) => each.adopted)
        .map(({ vmid }) => vmid),
    );
    const references = snapshot.list('workload').flatMap(({ spec }) => copiedGuest(spec.image) ?? []);
    const rows = new Map(memory.guests.map((row) => [row.vmid, row]));
    return [...Map.groupBy(references, ({ vmid, snapshot: of }) => `${vmid}@${of}`).values()].flatMap(
      (same) => {
        const [named] = same;
        const row = rows.get(named?.vmid ?? 0);
        if (named === undefined || row === undefined || row.template) return [];
        if (adopted.has(named.vmid) && named.snapshot === '' && same.length === 1) return [];
        return [{ row, image: guestImage(cluster, row, named.snapshot) }];
      },
    );
  }

  return {
    async *on(node, signal) {
      const sources = [...templates(), ...namedGuests()];
      for (const vmid of known.keys()) if (!sources.some(({ row }) => row.vmid === vmid)) known.delete(vmid);
      for (const { row, image } of sources) if (await canBeCopiedOn(row, node, signal)) yield image;
    },
  };
}

interface Source {
  readonly row: GuestRow;
  readonly image: Image;
}

function templateImage(cluster: string, row: GuestRow): Image {
  const { name } = row;
  const references = name === '' ? [`${row.vmid}`] : [name, `${row.vmid}`];
  return {
    ...sourceImage(row),
    digest: identityOf(`${cluster}/${row.vmid}`, row.diskBytes),
    references: references.map((each) => `proxmox:template/${each}`),
  };
}

function guestImage(cluster: string, row: GuestRow, snapshot: string): Image {
  const called = `${row.vmid}${snapshot === '' ? '' : `@${snapshot}`}`;
  return {
    ...sourceImage(row),
    digest: identityOf(`${cluster}/guest/${called}`, 0),
    references: [`proxmox:guest/${called}`],
  };
}

const sourceImage = ({ diskBytes }: GuestRow): Omit<Image, 'digest' | 'references'> => ({
  sizeBytes: diskBytes,
  lastUsedAtMs: 0,
  ready: true,
  usedBy: 0,
  pinned: true,
});
