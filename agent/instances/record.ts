import { createHash } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type {
  Digest,
  ExitStatus,
  InstanceId,
  InstanceSpec,
  InstanceState,
  SnapshotId,
  VolumeId,
} from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { readIfThere, syncDirectory, writeDurably } from '../host/durable-file.ts';
import type { IdRange } from '../volumes/volume-driver.ts';

/** How many orders of an instance are remembered with their answers. */
export const rememberedOrders = 8;

export interface RememberedOrder {
  readonly requestId: string;
  /** Of the method and everything in the body but the request id; sha256, hex. */
  readonly bodyDigest: string;
  /** What was answered; undefined while the order is under way, or where there is nothing to answer. */
  readonly answer: InstanceState | undefined;
}

/**
 * The present run. 'pending': nothing was started for this generation yet. 'started': written before the
 * start, so a guest that is gone was there. 'ended': its end has been seen and counted.
 */
export type RunPhase = 'pending' | 'started' | 'ended';

export interface HeldVolume {
  readonly id: VolumeId;
  readonly pool: string;
}

/** All that an agent knows of one instance, beyond what the host shows. One file, replaced as a whole. */
export interface InstanceRecord {
  readonly id: InstanceId;
  readonly generation: number;
  readonly spec: InstanceSpec;
  /** Its own host ids, for its whole life; undefined: those of the node. */
  readonly range: IdRange | undefined;
  /** Whether its root is made from the image with the image's own ids; else from one with the node's. */
  readonly imageAsIs: boolean;
  /** Where its root lies, for its whole life. Empty: not known, for its record was lost. */
  readonly rootPool: string;
  /** Of the image for this node's platform; undefined before the first start. */
  readonly imageDigest: Digest | undefined;
  /** Data volumes that may be mounted for it: those of its spec, and of an older one until the next start. */
  readonly volumes: readonly HeldVolume[];
  /** Whether a guest of it may ever have had interfaces of its own. */
  readonly networked: boolean;
  /** The spec of the guest that is there, where that is to be made anew for the present one. */
  readonly replaced: { readonly generation: number; readonly spec: InstanceSpec } | undefined;
  /** The limits of the spec have changed since the guest got its own. */
  readonly limitsPending: boolean;
  /** Its volumes are to be set back to this snapshot before anything else; undefined: they are not. */
  readonly rollback: SnapshotId | undefined;
  /** What came of the last one; the error is empty where it was done. */
  readonly rolledBack: { readonly snapshotId: SnapshotId; readonly error: string } | undefined;
  readonly intent: 'run' | 'stop' | 'remove';
  readonly orders: readonly RememberedOrder[];
  readonly run: RunPhase;
  /** The kernel's boot id when the run began; empty before the first. */
  readonly bootId: string;
  /** Wall clock; zero before the first run. */
  readonly startedAtMs: number;
  /** How the last run ended. */
  readonly exit: ExitStatus | undefined;
  /** Whether the restart policy is done with it. */
  readonly final: boolean;
  /** Starts by the restart policy for this generation. */
  readonly restarts: number;
  /** The same, counted anew after a run of ten minutes. */
  readonly attempts: number;
  /** Wall clock; zero when it is not waiting. */
  readonly nextStartAtMs: number;
  /** A stop under way: when the guest will be killed, wall clock, and the grace that was given. */
  readonly stopping: { readonly deadlineMs: number; readonly graceMs: number } | undefined;
}

export type FoundRecord =
  | { readonly kind: 'record'; readonly record: InstanceRecord }
  /**
   * There is a file, and it cannot be read: something ran or runs here, so nothing may be taken for absent.
   */
  | { readonly kind: 'damaged'; readonly id: InstanceId; readonly message: string }
  /** A directory without a file: its first order was never acknowledged, or its removal was cut short. */
  | { readonly kind: 'empty'; readonly id: InstanceId };

export interface Records {
  /** unavailable: the directory cannot be read; never taken for empty. */
  readAll(): Promise<FoundRecord[]>;
  /** Resolves when it is durable. Calls for one id must not overlap. */
  write(record: InstanceRecord): Promise<void>;
  /** Succeeds when there is nothing. */
  remove(id: InstanceId): Promise<void>;
}

const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** Records below a directory, one directory for each instance. */
export function createRecords(directory: string): Records {
  const folder = (id: InstanceId): string => {
    if (!idPattern.test(id)) throw new DroverError('internal', `not an instance id: ${JSON.stringify(id)}`);
    return path.join(directory, id);
  };

  return {
    async readAll() {
      const names = await listNames(directory);
      const ids = names.filter((name) => idPattern.test(name)) as InstanceId[];
      return Promise.all(ids.map((id) => readRecord(id, path.join(folder(id), 'record.json'))));
    },

    async write(record) {
      const made = await mkdir(folder(record.id), { recursive: true, mode: 0o700 });
      const file = path.join(folder(record.id), 'record.json');
      const parent = made === undefined ? undefined : syncDirectory(directory);
      await Promise.all([writeDurably(file, encodeRecord(record)), parent]);
    },

    async remove(id) {
      await rm(folder(id), { recursive: true, force: true });
      await syncDirectory(directory);
    },
  };
}

export function encodeRecord(record: InstanceRecord): string {
  const body = JSON.stringify(record);
  return `${JSON.stringify({ format: 1, sha256: sha256(body) })}\n${body}\n`;
}

async function listNames(directory: string): Promise<string[]> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return await readdir(directory);
  } catch (error) {
    const message = `cannot read the instances in ${directory}`;
    throw new DroverError('unavailable', message, { cause: error });
  }
}

async function readRecord(id: InstanceId, file: string): Promise<FoundRecord> {
  const damaged = (why: string): FoundRecord => ({ kind: 'damaged', id, message: `${file}: ${why}` });
  let text: string | undefined;
  try {
    text = await readIfThere(file);
  } catch (error) {
    return damaged((error as Error).message);
  }
  if (text === undefined) return { kind: 'empty', id };

  const [head = '', body = ''] = text.split('\n');
  if (head === '') return damaged('it is empty');
  try {
    const { format, sha256: wanted } = JSON.parse(head) as { format: unknown; sha256: unknown };
    if (format !== 1) return damaged(`format ${String(format)}, this agent reads format 1`);
    if (wanted !== sha256(body)) return damaged('its content is not what was written');
    const record = completeRecord(JSON.parse(body) as InstanceRecord);
    return record.id === id ? { kind: 'record', record } : damaged(`it is the record of ${record.id}`);
  } catch {
    return damaged('it is not what an agent writes');
  }
}

/** A record as an agent of an older version wrote it: what is missing becomes what it meant at that time. */
function completeRecord(stored: InstanceRecord): InstanceRecord {
  const { orders, spec } = stored;
  return {
    ...stored,
    spec: {
      ...plainGuestConfig,
      assigned: emptyAssignment,
      ...(spec as Partial<InstanceSpec>),
    } as InstanceSpec,
    imageAsIs: stored.imageAsIs ?? stored.range !== undefined,
    rootPool: stored.rootPool ?? '',
    volumes: stored.volumes ?? [],
    networked: stored.networked ?? false,
    limitsPending: stored.limitsPending ?? false,
    orders: orders.map((order) => ({ ...order, answer: order.answer && completeState(order.answer) })),
  };
}

const completeState = (state: InstanceState): InstanceState => ({
  ...state,
  addresses: state.addresses ?? [],
  rootPool: state.rootPool ?? '',
});

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
