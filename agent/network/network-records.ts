import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Attachment, InstanceId, PublishedPort } from '#shared/model.ts';
import { syncDirectory, writeDurably } from '../host/durable-file.ts';
import { idPattern } from './network-id.ts';

/** What is made for one guest; written before it is made, removed after it is gone. */
export interface NetworkRecord {
  readonly id: InstanceId;
  /** Every address decided. It is also the lease of the addresses that the node gives out. */
  readonly attachments: readonly Attachment[];
  readonly ports: readonly PublishedPort[];
  /** Whose interfaces we make; netns as the kernel names it, "net:[4026532001]". */
  readonly guest: { readonly pid: number; readonly netns: string } | undefined;
  /** All of it stands. */
  readonly made: boolean;
  /** The host's own rules let it through; whatever the node says of that now, they go with it. */
  readonly firewall?: boolean;
}

export interface NetworkRecords {
  get(id: InstanceId): Promise<NetworkRecord | undefined>;
  all(): Promise<readonly NetworkRecord[]>;
  put(record: NetworkRecord): Promise<void>;
  remove(id: InstanceId): Promise<void>;
}

/** `<directory>/<id>.json`, read once. Changes of one id must not overlap. */
export function createNetworkRecords(directory: string): NetworkRecords {
  const file = (id: InstanceId): string => path.join(directory, `${id}.json`);
  let loading: Promise<Map<InstanceId, NetworkRecord>> | undefined;

  const load = (): Promise<Map<InstanceId, NetworkRecord>> => {
    loading ??= readAll(directory).catch((error: unknown) => {
      loading = undefined;
      throw error;
    });
    return loading;
  };

  return {
    get: async (id) => (await load()).get(id),
    all: async () => [...(await load()).values()],
    async put(record) {
      const held = await load();
      await writeDurably(file(record.id), JSON.stringify(record));
      held.set(record.id, record);
    },
    async remove(id) {
      const held = await load();
      await rm(file(id), { force: true });
      await syncDirectory(directory);
      held.delete(id);
    },
  };
}

async function readAll(directory: string): Promise<Map<InstanceId, NetworkRecord>> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const names = (await readdir(directory)).filter((name) => name.endsWith('.json'));
  const ids = names.map((name) => name.slice(0, -'.json'.length)).filter((id) => idPattern.test(id));
  const records = await Promise.all(
    ids.map(async (id) =>
      parseRecord(await readFile(path.join(directory, `${id}.json`), 'utf8'), id as InstanceId),
    ),
  );
  return new Map(records.map((record) => [record.id, record]));
}

/**
 * A damaged one still says that there was a guest: with any port at all, what its ports made is found by
 * id.
 */
function parseRecord(text: string, id: InstanceId): NetworkRecord {
  try {
    const { attachments, ports, guest, made, firewall } = JSON.parse(text) as NetworkRecord;
    const passing = firewall === true ? { firewall } : {};
    if (Array.isArray(attachments) && Array.isArray(ports))
      return { id, attachments, ports, guest, made: made === true, ...passing };
  } catch {
    // It is told apart below.
  }
  const port: PublishedPort = { hostPort: 1, guestPort: 1, protocol: 'tcp', hostAddress: '' };
  return { id, attachments: [], ports: [port], guest: undefined, made: false };
}
