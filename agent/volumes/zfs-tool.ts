import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { CommandResult, HostCommands } from '../host/command.ts';
import { createGate } from '../host/gate.ts';
import { isBusy, kindOfWords, zfsError } from './zfs-error.ts';

export interface Property {
  readonly value: string;
  /** "local", "inherited from tank", "received", "default", "-". */
  readonly source: string;
}

/** A dataset or a snapshot, by the properties that were asked for. */
export interface Dataset {
  readonly name: string;
  /** What was set on this very dataset. */
  local(property: string): string | undefined;
  /** Whatever its source. */
  value(property: string): string | undefined;
}

export interface ZfsTool {
  /** Changes something; throws what its words say. */
  change(args: readonly string[], signal: AbortSignal): Promise<void>;
  /** The same, tried again while the dataset is busy; then who has it is named. */
  changeBusy(args: readonly string[], dataset: string, signal: AbortSignal): Promise<void>;
  run(args: readonly string[], signal: AbortSignal, timeoutMs?: number): Promise<CommandResult>;
  zpool(args: readonly string[], signal: AbortSignal): Promise<CommandResult>;
  /** From now on. */
  allowMountsAtOnce(): void;
  /** By name, in the tool's order; what is not there is left out. `depth`: 0 for those alone, or 'all'. */
  get(
    names: readonly string[],
    properties: readonly string[],
    depth: number | 'all',
    signal: AbortSignal,
  ): Promise<Map<string, Dataset>>;
}

const readMs = 30_000;
const changeMs = 60_000;
const busyTries = 30;
const firstBusyWaitMs = 10;
const busyWaitMs = 100;
const maxOutputBytes = 256 * 1024 * 1024;

/**
 * zfs-fuse 0.7 tells its listener of each mount in two writes to one pipe. Two at once may mix, and then
 * whatever is mounted later hangs until the daemon is started again. All pools of a host have one daemon.
 */
const mounting = createGate(1);
const mountingCommands = new Set(['clone', 'create', 'mount', 'rename', 'rollback']);

export function createZfsTool(options: {
  readonly run: HostCommands['run'];
  readonly clock: Clock;
  /** Called before anything is changed; throws where the pool takes no writes. */
  readonly checkWrites: () => void;
  /** Who has a mount of the dataset in another mount namespace. */
  readonly findHolders: (dataset: string) => Promise<readonly string[]>;
}): ZfsTool {
  const { clock, checkWrites, findHolders } = options;
  let mountsAtOnce = false;
  const run: ZfsTool['run'] = (args, signal, timeoutMs = changeMs) => {
    const call = () => options.run('zfs', args, { signal, timeoutMs, maxOutputBytes });
    return mountsAtOnce || !mountingCommands.has(args[0] ?? '') ? call() : mounting.pass(call);
  };

  async function explainBusy(result: CommandResult, dataset: string): Promise<DroverError> {
    const holders = await findHolders(dataset);
    if (holders.length === 0) return zfsError(result, { dataset });
    const message = `${dataset} is busy: mounted in the mount namespace of ${holders.join(', ')}`;
    return new DroverError('unavailable', message, {
      subject: { dataset },
      nextStep: 'end these processes, or let them unmount it',
    });
  }

  return {
    run,
    allowMountsAtOnce() {
      mountsAtOnce = true;
    },
    zpool: (args, signal) => options.run('zpool', args, { signal, timeoutMs: readMs }),
    async change(args, signal) {
      checkWrites();
      const result = await run(args, signal);
      if (result.exitCode !== 0) throw zfsError(result, { dataset: args.at(-1) ?? '' });
    },
    async changeBusy(args, dataset, signal) {
      checkWrites();
      for (let tries = 1; ; tries += 1) {
        const result = await run(args, signal);
        if (result.exitCode === 0) return;
        if (!isBusy(result)) throw zfsError(result, { dataset });
        if (tries === busyTries) throw await explainBusy(result, dataset);
        // It is often only the daemon, which lets go of a mount some moments later.
        await clock.sleep(Math.min(busyWaitMs, firstBusyWaitMs * tries), signal);
      }
    },
    async get(names, properties, depth, signal) {
      const reach = depth === 'all' ? ['-r'] : depth === 0 ? [] : ['-d', String(depth)];
      const columns = ['-o', 'name,property,value,source', properties.join(',')];
      const result = await run(['get', '-Hp', ...reach, ...columns, ...names], signal, readMs);
      const faults = result.stderr.split('\n').filter((line) => line !== '');
      const isMissing = faults.length > 0 && faults.every((line) => kindOfWords(line) === 'not-found');
      if (result.exitCode !== 0 && !isMissing) throw zfsError(result);
      return parseProperties(result.stdout);
    },
  };
}

/** Output of `zfs get -H -o name,property,value,source`. */
export function parseProperties(text: string): Map<string, Dataset> {
  const found = new Map<string, Map<string, Property>>();
  for (const line of text.split('\n')) {
    const [name, property, value, source] = line.split('\t');
    if (name === undefined || property === undefined || value === undefined || source === undefined) continue;
    const properties = found.get(name) ?? new Map<string, Property>();
    found.set(name, properties.set(property, { value, source }));
  }
  return new Map([...found].map(([name, properties]) => [name, toDataset(name, properties)]));
}

const toDataset = (name: string, properties: ReadonlyMap<string, Property>): Dataset => ({
  name,
  local(property) {
    const found = properties.get(property);
    return found?.source === 'local' ? found.value : undefined;
  },
  value: (property) => properties.get(property)?.value,
});
