import { chmod, mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '#shared/clock.ts';
import { DroverError, isKind } from '#shared/errors.ts';
import type { Digest, VolumeId } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { HostCommands } from '../host/command.ts';
import { checkVolumeId } from './volume-id.ts';
import { zfsError } from './zfs-error.ts';
import { createArgs, destroyArgs, parseFeatures, type ZfsFeatures } from './zfs-features.ts';
import { encodeText, mark, type VolumeKind } from './zfs-marks.ts';
import type { ZfsMounts } from './zfs-mounts.ts';
import { createZfsReserve } from './zfs-reserve.ts';
import type { Dataset, ZfsTool } from './zfs-tool.ts';

/** One pool's place below its parent dataset, and what the parts of the driver share. */
export interface ZfsLayout {
  readonly parent: string;
  readonly tool: ZfsTool;
  readonly mounts: ZfsMounts;
  readonly run: HostCommands['run'];
  readonly clock: Clock;
  readonly random: Random;
  /** Makes what is shared by all volumes, once, and clears what a crash left. */
  open(signal: AbortSignal): Promise<ZfsFeatures>;
  /**
   * Before anybody believes that something is not there: a pool that is not imported holds nothing, either.
   * unavailable.
   */
  requirePool(signal: AbortSignal): Promise<void>;
  group(name: GroupName): string;
  volume(kind: VolumeKind, id: VolumeId): string;
  /** Where a volume is mounted. */
  place(kind: VolumeKind, id: VolumeId): string;
  image(digest: Digest, base: number): string;
  /** A name and a place nobody has had. */
  newStaging(): { readonly name: string; readonly place: string };
  dropStaging(name: string, signal: AbortSignal): Promise<void>;
  /** A change that must work on a full pool too: gives the reserve up for it. */
  changeWithReserve(args: readonly string[], signal: AbortSignal): Promise<void>;
  /** Has the reserve again, where there is room. */
  ensureReserve(signal: AbortSignal): Promise<void>;
}

export const groupNames = ['images', 'roots', 'data', 'staging'] as const;
export type GroupName = (typeof groupNames)[number];

const passable = 0o711;
const stagingTries = 50;
const stagingWaitMs = 100;
const groupOf: Record<VolumeKind, GroupName> = { root: 'roots', data: 'data' };
const stagingName = /^[0-9a-f-]{36}$/;

/** failed-precondition: a name that is ours is somebody else's dataset. */
const isForeign = (name: string): DroverError =>
  new DroverError('failed-precondition', `${name} is there, and Drover did not make it`, {
    subject: { dataset: name },
    nextStep: 'rename it, or configure another dataset for the pool',
  });

export function createZfsLayout(options: {
  /** "tank/drover". */
  readonly dataset: string;
  readonly mountRoot: string;
  readonly run: HostCommands['run'];
  readonly tool: ZfsTool;
  readonly mounts: ZfsMounts;
  readonly clock: Clock;
  readonly random: Random;
}): ZfsLayout {
  const { dataset: parent, mountRoot, run, tool, mounts, clock, random } = options;
  const group = (name: GroupName): string => `${parent}/${name}`;
  const reserve = createZfsReserve(parent, tool);
  const owner = encodeText(mountRoot);
  const shut = ['mountpoint=none', 'canmount=off'];

  async function probe(signal: AbortSignal): Promise<ZfsFeatures> {
    const answer = await tool.run(['version'], signal);
    if (/daemon|initialize|modules/.test(answer.stderr)) throw zfsError(answer);
    const features = parseFeatures(answer);
    if (features.flavour === 'openzfs') tool.allowMountsAtOnce();
    return features;
  }

  async function ensureParent(signal: AbortSignal): Promise<void> {
    if ((await tool.get([parent], ['type'], 0, signal)).size > 0) return;
    const pool = parent.split('/')[0] ?? '';
    const nextStep = `create the pool ${pool}, or configure another dataset`;
    const isOther = parent === pool || (await tool.get([pool], ['type'], 0, signal)).size === 0;
    if (isOther) throw new DroverError('unavailable', `there is no ZFS pool ${pool}`, { nextStep });
    await tool.change(['create', '-p', ...createArgs(parent, shut).slice(1)], signal);
  }

  async function ensureGroups(features: ZfsFeatures, signal: AbortSignal): Promise<void> {
    const properties = [mark.kind, mark.mountRoot];
    const found = await tool.get(groupNames.map(group), properties, 0, signal);
    for (const name of groupNames.map(group)) {
      const one = found.get(name);
      const marks = [`${mark.kind}=group`, `${mark.mountRoot}=${owner}`];
      if (one === undefined)
        await tool.change(createArgs(name, [...shut, ...features.groupProperties, ...marks]), signal);
      else checkGroup(one);
    }
  }

  function checkGroup(one: Dataset): void {
    if (one.local(mark.kind) !== 'group') throw isForeign(one.name);
    if (one.local(mark.mountRoot) === owner) return;
    throw new DroverError('failed-precondition', `${one.name} belongs to an agent with another directory`, {
      nextStep: `configure another dataset, or zfs set ${mark.mountRoot}=${owner} on it and its siblings`,
    });
  }

  async function ensureDirectories(): Promise<void> {
    const places = [mountRoot, path.join(mountRoot, 'roots'), path.join(mountRoot, 'data')];
    for (const place of places) {
      await mkdir(place, { recursive: true, mode: passable });
      await chmod(place, passable);
    }
    // Half an image has its own ids and setuid programs: nobody else comes there.
    await mkdir(path.join(mountRoot, 'staging'), { recursive: true, mode: 0o700 });
  }

  /** Snapshots, then children, then itself: each by its own name, and never others' names. */
  async function destroyStaging(name: string, signal: AbortSignal): Promise<boolean> {
    const all = await tool.get([name], [mark.kind], 'all', signal);
    const wanted = [name, `${name}@ready`, `${name}/v`];
    const isOurs = (each: string): boolean => wanted.includes(each) || each.startsWith(`${name}/v@`);
    const stranger = [...all.keys()].find((each) => !isOurs(each));
    if (stranger !== undefined) throw isForeign(stranger);
    for (const each of [...all.keys()].toSorted((one, other) => rank(other) - rank(one))) {
      try {
        await tool.changeBusy(destroyArgs(each), each, signal);
      } catch (error) {
        // What is received comes and goes until zfs has seen that its stream broke.
        if (!isKind(error, 'not-found', 'failed-precondition')) throw error;
      }
    }
    return (await tool.get([name], [mark.kind], 0, signal)).size === 0;
  }

  async function dropStaging(name: string, signal: AbortSignal): Promise<void> {
    const place = path.join(mountRoot, 'staging', path.basename(name));
    await mounts.unmount(place, signal);
    for (let tries = 1; !(await destroyStaging(name, signal)); tries += 1) {
      if (tries === stagingTries) throw new DroverError('unavailable', `${name} does not go away`);
      await clock.sleep(stagingWaitMs, signal);
    }
    await mounts.forget(place);
  }

  /** What a tool of a killed agent still writes to stays until the next start. */
  async function clearStaging(signal: AbortSignal): Promise<void> {
    const all = await tool.get([group('staging')], [mark.kind], 1, signal);
    for (const one of all.values()) {
      const base = one.name.slice(group('staging').length + 1);
      if (!stagingName.test(base) || one.local(mark.kind) !== 'staging') continue;
      await dropStaging(one.name, signal).catch((error: unknown) => {
        if (!isKind(error, 'unavailable', 'failed-precondition')) throw error;
      });
    }
  }

  async function openOnce(): Promise<ZfsFeatures> {
    const { signal } = lifetime;
    const features = await probe(signal);
    await ensureParent(signal);
    await ensureGroups(features, signal);
    await ensureDirectories();
    await clearStaging(signal);
    await reserve.ensure(signal);
    return features;
  }

  async function requirePool(signal: AbortSignal): Promise<void> {
    const found = await tool.get(groupNames.map(group), [mark.kind], 0, signal);
    const missing = groupNames.map(group).find((name) => !found.has(name));
    if (missing === undefined) return;
    throw new DroverError('unavailable', `${missing} is not there, so nobody knows what the pool holds`, {
      nextStep: `import the pool: zpool import ${parent.split('/')[0]}`,
    });
  }

  const lifetime = new AbortController();
  let opening: Promise<ZfsFeatures> | undefined;
  return {
    parent,
    tool,
    mounts,
    run,
    clock,
    random,
    open(signal) {
      signal.throwIfAborted();
      opening ??= openOnce();
      opening.catch(() => (opening = undefined));
      return opening;
    },
    requirePool,
    group,
    volume: (kind, id) => `${group(groupOf[kind])}/${checkVolumeId(id)}`,
    place: (kind, id) => path.join(mountRoot, groupOf[kind], checkVolumeId(id)),
    image: (digest, base) => `${group('images')}/${hexOf(digest)}-${base}`,
    newStaging() {
      const id = random.uuidV4();
      return { name: `${group('staging')}/${id}`, place: path.join(mountRoot, 'staging', id) };
    },
    dropStaging,
    changeWithReserve: reserve.change,
    ensureReserve: reserve.ensure,
  };
}

/** Snapshots before what they are of, children before parents. */
const rank = (name: string): number => (name.includes('@') ? 1000 : 0) + name.split('/').length;

/** invalid-argument. */
export function hexOf(digest: Digest): string {
  const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1];
  if (hex !== undefined) return hex;
  throw new DroverError('invalid-argument', `not a digest: ${JSON.stringify(String(digest).slice(0, 100))}`);
}
