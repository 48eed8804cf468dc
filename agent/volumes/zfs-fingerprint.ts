import type { Clock } from '#shared/clock.ts';
import { DroverError, isKind, wordsOf } from '#shared/errors.ts';
import type { PoolFacts } from '#shared/model.ts';
import type { VolumeCapability } from './volume-driver.ts';
import type { ZfsLayout } from './zfs-layout.ts';
import { mark } from './zfs-marks.ts';

export type ZfsFingerprint = PoolFacts & { readonly freeMib: number };

/** Whether the pool takes writes, as far as is known. A pool that hangs answers reads as if nothing were. */
export interface WriteHealth {
  /** unavailable while the last try did not end. */
  check(): void;
  /** Undefined: it took the write. Otherwise why not. */
  tryWrite(write: (signal: AbortSignal) => Promise<void>): Promise<string | undefined>;
}

const probeMs = 5000;
const mib = 1024 * 1024;
const sizeJitter = 0.01;
const capabilities: readonly VolumeCapability[] = [
  'quota',
  'snapshots',
  'instant-snapshots',
  'send',
  'incremental',
  'cheap-clones',
];

export function createWriteHealth(clock: Clock): WriteHealth {
  let hangs = false;
  return {
    check() {
      if (!hangs) return;
      throw new DroverError('unavailable', 'the pool takes no writes: the last one did not end in 5 s', {
        nextStep: 'look at the disks of the pool (zpool status)',
      });
    },
    async tryWrite(write) {
      const limit = clock.timeout(probeMs);
      const late = Promise.withResolvers<string>();
      limit.addEventListener('abort', () => late.resolve('hangs'), { once: true });
      const wrote = write(limit).then(
        () => undefined,
        (error: unknown) => (isKind(error, 'deadline-exceeded') ? 'hangs' : wordsOf(error)),
      );
      // A tool in uninterruptible sleep is not waited for.
      const outcome = await Promise.race([wrote, late.promise]);
      hangs = outcome === 'hangs';
      return hangs ? 'a write to the pool did not end in 5 s' : outcome;
    },
  };
}

/** What the pool is, and whether it takes a write now. */
export function createZfsFingerprint(options: {
  readonly pool: string;
  readonly layout: ZfsLayout;
  readonly health: WriteHealth;
}): (signal: AbortSignal) => Promise<ZfsFingerprint> {
  const { pool, layout, health } = options;
  const { tool, parent, clock } = layout;
  const poolName = parent.split('/')[0] ?? '';
  let version = '';
  let lastSizeMib = 0;

  async function findVersion(signal: AbortSignal): Promise<string> {
    const features = await layout.open(signal);
    if (features.version !== '') return features.version;
    const { stdout } = await tool.zpool(['get', 'version', poolName], signal);
    const number = /^\S+\s+version\s+(\d{1,4})\s/m.exec(stdout)?.[1];
    return number === undefined ? features.flavour : `${features.flavour} (pool version ${number})`;
  }

  async function findRoom(
    signal: AbortSignal,
  ): Promise<{ readonly sizeMib: number; readonly freeMib: number }> {
    const found = (await tool.get([parent], ['used', 'available'], 0, signal)).get(parent);
    const [used, free] = [Number(found?.value('used')) || 0, Number(found?.value('available')) || 0];
    const sizeMib = Math.floor((used + free) / mib);
    // What is in flight moves it a little all the time, which is no news.
    if (Math.abs(sizeMib - lastSizeMib) > sizeMib * sizeJitter) lastSizeMib = sizeMib;
    return { sizeMib: lastSizeMib, freeMib: Math.floor(free / mib) };
  }

  async function findState(signal: AbortSignal): Promise<string> {
    const { stdout } = await tool.zpool(['list', '-H', '-o', 'health', poolName], signal);
    return stdout.trim().slice(0, 40);
  }

  async function write(signal: AbortSignal): Promise<void> {
    const args = ['set', `${mark.written}=${clock.nowMs()}`, layout.group('staging')];
    const result = await tool.run(args, signal, probeMs);
    const isFull = /out of space/.test(result.stderr);
    if (result.exitCode !== 0 && !isFull) throw new DroverError('unavailable', result.stderr.trim());
  }

  async function look(signal: AbortSignal): Promise<Partial<ZfsFingerprint>> {
    const { takesAtomicSnapshots } = await layout.open(signal);
    version ||= await findVersion(signal);
    const state = await findState(signal);
    const room = await findRoom(signal);
    const fault = await health.tryWrite(write);
    const able = takesAtomicSnapshots ? ([...capabilities, 'atomic-snapshots'] as const) : capabilities;
    if (fault === undefined) await layout.ensureReserve(signal).catch(() => undefined);
    const isUp = state === 'ONLINE' || state === 'DEGRADED';
    const words = [fault, isUp && state === 'ONLINE' ? undefined : `the pool is ${state}`];
    const detail = words
      .filter((each) => each !== undefined)
      .join('; ')
      .slice(0, 500);
    return { ...room, version, detail, capabilities: able, healthy: fault === undefined && isUp };
  }

  return async (signal) => {
    const nothing = { version, healthy: false, detail: '', capabilities: [], sizeMib: 0, freeMib: 0 };
    const facts = { name: pool, driver: 'zfs', ...nothing };
    try {
      return { ...facts, ...(await look(signal)) };
    } catch (error) {
      return { ...facts, detail: wordsOf(error).slice(0, 500) };
    }
  };
}
