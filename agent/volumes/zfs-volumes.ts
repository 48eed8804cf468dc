import { DroverError, isKind } from '#shared/errors.ts';
import type { VolumeId } from '#shared/model.ts';
import { checkShift, shiftTree } from '../host/shift-tree.ts';
import { checkPassable } from './directory-mounts.ts';
import { checkVolumeId, isVolumeId, noVolume } from './volume-id.ts';
import type { DataRequest, FoundVolume, IdRange, MountedVolume, RootRequest } from './volume-driver.ts';
import { cloneArgs, createArgs, destroyArgs } from './zfs-features.ts';
import type { ZfsImages } from './zfs-images.ts';
import type { ZfsLayout } from './zfs-layout.ts';
import {
  formatQuota,
  formatRange,
  isSameRange,
  mark,
  parseQuotaMib,
  parseRange,
  type RangeMark,
  type VolumeKind,
  volumeMarks,
  volumeProperties,
} from './zfs-marks.ts';
import type { Dataset } from './zfs-tool.ts';

/** A volume of ours as it is now. */
export interface ZfsVolume {
  readonly id: VolumeId;
  readonly kind: VolumeKind;
  readonly name: string;
  readonly place: string;
  readonly range: RangeMark;
  readonly image: string;
  readonly diskMib: number;
  /** A snapshot that was being received when the agent died. */
  readonly receiving: string;
}

export interface ZfsVolumes {
  prepare(root: RootRequest, signal: AbortSignal): Promise<MountedVolume>;
  prepareData(volume: DataRequest, signal: AbortSignal): Promise<MountedVolume>;
  release(id: VolumeId, signal: AbortSignal): Promise<void>;
  remove(id: VolumeId, signal: AbortSignal): Promise<void>;
  /** Undefined: there is none. failed-precondition: it is somebody else's. */
  find(id: VolumeId, signal: AbortSignal): Promise<ZfsVolume | undefined>;
  /** not-found. */
  need(id: VolumeId, signal: AbortSignal): Promise<ZfsVolume>;
  setQuota(id: VolumeId, diskMib: number, signal: AbortSignal): Promise<void>;
  list(signal: AbortSignal): Promise<FoundVolume[]>;
  /** Of parts that are to go what is not ours is named, before anything is done. failed-precondition. */
  checkParts(volume: ZfsVolume, parts: readonly Dataset[], signal: AbortSignal): Promise<void>;
}

const kinds = ['root', 'data'] as const;
/** Files of a dataset that was just made. */
const hostIds = (size: number): IdRange => ({ base: 0, size });

export function createZfsVolumes(layout: ZfsLayout, images: ZfsImages): ZfsVolumes {
  const { tool, mounts } = layout;

  async function look(id: VolumeId, depth: 0 | 'all', signal: AbortSignal): Promise<Map<string, Dataset>> {
    return tool.get(
      kinds.map((kind) => layout.volume(kind, id)),
      volumeProperties,
      depth,
      signal,
    );
  }

  function read(one: Dataset, kind: VolumeKind, id: VolumeId): ZfsVolume {
    const range = parseRange(one.local(mark.range));
    if (one.local(mark.kind) !== kind || one.local(mark.id) !== id || range === undefined)
      throw isForeign(one.name);
    const { name } = one;
    const image = one.local(mark.image) ?? '';
    const receiving = one.local(mark.receiving) ?? '';
    const diskMib = parseQuotaMib(one.value('refquota'));
    return { id, kind, name, place: layout.place(kind, id), range, image, diskMib, receiving };
  }

  async function find(id: VolumeId, signal: AbortSignal): Promise<ZfsVolume | undefined> {
    layout.volume('data', id);
    await layout.open(signal);
    const found = await look(id, 0, signal);
    for (const kind of kinds) {
      const one = found.get(layout.volume(kind, id));
      if (one !== undefined) return read(one, kind, id);
    }
    await layout.requirePool(signal);
    return undefined;
  }

  async function need(id: VolumeId, signal: AbortSignal): Promise<ZfsVolume> {
    const found = await find(id, signal);
    if (found === undefined) throw noVolume(checkVolumeId(id));
    return found;
  }

  /** Mounted, with the owners and the size that are wanted now. */
  async function settle(
    volume: ZfsVolume,
    wanted: { readonly range: IdRange; readonly diskMib: number },
    signal: AbortSignal,
  ): Promise<MountedVolume> {
    const { name, place, kind } = volume;
    if (volume.diskMib !== wanted.diskMib)
      await layout.changeWithReserve(['set', formatQuota(wanted.diskMib), name], signal);
    await mounts.mount(name, place, kind === 'data', signal);
    let { range, from } = volume.range;
    for (; from !== undefined || !isSameRange(range, wanted.range); from = undefined) {
      if (from === undefined) {
        checkShift(range, wanted.range);
        [range, from] = [wanted.range, range];
        await setMark(name, mark.range, formatRange(range, from), signal);
      }
      await shiftTree(layout.run, { path: place, from, to: range }, signal);
      await setMark(name, mark.range, formatRange(range), signal);
    }
    return { path: place, quotaEnforced: wanted.diskMib > 0 };
  }

  const setMark = (name: string, property: string, value: string, signal: AbortSignal): Promise<void> =>
    layout.changeWithReserve(['set', `${property}=${value}`, name], signal);

  const where = (kind: VolumeKind, id: VolumeId, diskMib: number): string[] => [
    `mountpoint=${layout.place(kind, id)}`,
    'canmount=noauto',
    ...(diskMib === 0 ? [] : [formatQuota(diskMib)]),
  ];

  /** One call clones, marks and (with zfs-fuse) mounts. False: there is one already. */
  async function cloneRoot(request: RootRequest, signal: AbortSignal): Promise<ZfsVolume | undefined> {
    const { id, image, range, diskMib } = request;
    const name = layout.volume('root', id);
    const pending = isSameRange(image.range, range) ? undefined : image.range;
    const told = { kind: 'root', id, image: image.digest } as const;
    const marks = volumeMarks({ ...told, range: formatRange(range, pending) });
    const args = cloneArgs(images.snapshotOf(image), name, [...where('root', id, diskMib), ...marks]);
    const made = { ...told, name, place: layout.place('root', id), diskMib, receiving: '' };
    try {
      await tool.change(args, signal);
    } catch (error) {
      if (isKind(error, 'already-exists')) return undefined;
      throw isKind(error, 'resource-exhausted') ? await explainFull(request, error, signal) : error;
    }
    return { ...made, range: { range, from: pending } };
  }

  async function makeRoot(request: RootRequest, signal: AbortSignal): Promise<ZfsVolume | undefined> {
    try {
      return await cloneRoot(request, signal);
    } catch (error) {
      if (!isKind(error, 'not-found')) throw error;
    }
    if ((await find(request.id, signal)) !== undefined) return undefined;
    await images.ensure(request.image, signal);
    return cloneRoot(request, signal);
  }

  /** A quota below the image is told as a full pool. */
  async function explainFull({ image, diskMib }: RootRequest, error: DroverError, signal: AbortSignal) {
    const name = images.snapshotOf(image);
    const bytes = Number((await tool.get([name], ['referenced'], 0, signal)).get(name)?.value('referenced'));
    if (diskMib === 0 || !(bytes > diskMib * 1024 * 1024)) return error;
    const found = `the image alone takes ${Math.ceil(bytes / 1024 / 1024)} MiB`;
    return new DroverError('failed-precondition', `wanted a root of ${diskMib} MiB, ${found}`, {
      nextStep: 'ask for a larger disk',
    });
  }

  async function makeData({ id, range, diskMib }: DataRequest, signal: AbortSignal): Promise<ZfsVolume> {
    const name = layout.volume('data', id);
    const from = hostIds(range.size);
    const told = { kind: 'data', id, image: '' } as const;
    const marks = volumeMarks({ ...told, range: formatRange(range, from) });
    await tool.change(createArgs(name, [...where('data', id, diskMib), ...marks]), signal);
    const place = layout.place('data', id);
    return { ...told, name, place, diskMib, receiving: '', range: { range, from } };
  }

  async function release(id: VolumeId, signal: AbortSignal): Promise<void> {
    for (const kind of kinds) await mounts.unmount(layout.place(kind, id), signal);
  }

  async function checkParts(
    volume: ZfsVolume,
    parts: readonly Dataset[],
    signal: AbortSignal,
  ): Promise<void> {
    const foreign = parts.find((one) => !isOurSnapshot(one, volume));
    if (foreign !== undefined) throw standsOn(volume, `${foreign.name} is not Drover's`);
    const held = parts.find((one) => Number(one.value('userrefs')) > 0);
    if (held !== undefined) throw standsOn(volume, `${held.name} is held`);
    if (parts.length === 0) return;
    const names = new Set(parts.map((one) => one.name));
    const pool = layout.parent.split('/')[0] ?? '';
    const everything = await tool.get([pool], ['origin'], 'all', signal);
    const clone = [...everything.values()].find((one) => names.has(one.value('origin') ?? ''));
    if (clone === undefined) return;
    throw standsOn(volume, `${clone.name} was cloned from ${clone.value('origin')}`);
  }

  async function removeOne(kind: VolumeKind, id: VolumeId, all: Map<string, Dataset>, signal: AbortSignal) {
    const [place, name] = [layout.place(kind, id), layout.volume(kind, id)];
    const one = all.get(name);
    const parts = [...all.values()].filter((each) => each.name !== name && isPartOf(each.name, name));
    if (one !== undefined) await checkParts(read(one, kind, id), parts, signal);
    await mounts.unmount(place, signal);
    for (const each of one === undefined ? [] : [...parts, one])
      await tool.changeBusy(destroyArgs(each.name), each.name, signal);
    await mounts.forget(place);
  }

  return {
    find,
    need,
    release,
    checkParts,
    async prepare(request, signal) {
      const { id, image } = request;
      const name = layout.volume('root', id);
      await layout.open(signal);
      await checkPassable(layout.place('root', id));
      const made = await makeRoot(request, signal);
      if (made !== undefined) return settle(made, request, signal);
      const found = await need(id, signal);
      if (found.kind === 'root' && found.image === image.digest) return settle(found, request, signal);
      const message = `wanted a root of ${image.digest}, ${name} is one of ${found.image}`;
      const nextStep = 'remove the instance; a new one gets a new root';
      throw new DroverError('failed-precondition', message, { subject: { volume: id }, nextStep });
    },
    async prepareData(request, signal) {
      layout.volume('data', request.id);
      await layout.open(signal);
      await checkPassable(layout.place('data', request.id));
      const found = await find(request.id, signal);
      if (found?.kind === 'root') throw isRoot(request.id);
      return settle(found ?? (await makeData(request, signal)), request, signal);
    },
    async remove(id, signal) {
      layout.volume('root', id);
      await layout.open(signal);
      const all = await look(id, 'all', signal);
      if (all.size === 0) await layout.requirePool(signal);
      for (const kind of kinds) await removeOne(kind, id, all, signal);
    },
    async setQuota(id, diskMib, signal) {
      const { name } = await need(id, signal);
      await layout.changeWithReserve(['set', formatQuota(diskMib), name], signal);
    },
    async list(signal) {
      await layout.open(signal);
      const groups = [layout.group('roots'), layout.group('data')];
      const all = await tool.get(groups, volumeProperties, 1, signal);
      if (!groups.every((name) => all.has(name))) await layout.requirePool(signal);
      return [...all.values()].flatMap((one): FoundVolume[] => {
        const id = one.name.split('/').at(-1) ?? '';
        const kind = one.local(mark.kind);
        const isVolume = (kind === 'root' || kind === 'data') && one.local(mark.id) === id && isVolumeId(id);
        if (!isVolume || !isVolumeId(id)) return [];
        const range = parseRange(one.local(mark.range))?.range;
        return [{ id, kind, range, diskMib: parseQuotaMib(one.value('refquota')) }];
      });
    },
  };
}

/** By its own mark, or half received when the agent died. */
export function isOurSnapshot(one: Dataset, volume: Pick<ZfsVolume, 'name' | 'receiving'>): boolean {
  const id = one.name.slice(volume.name.length + 1);
  if (one.name !== `${volume.name}@${id}`) return false;
  return one.local(mark.snapshot) === id || (id !== '' && id === volume.receiving);
}

const isPartOf = (each: string, name: string): boolean =>
  each === name || each.startsWith(`${name}@`) || each.startsWith(`${name}/`);

const isForeign = (name: string): DroverError =>
  new DroverError('failed-precondition', `${name} is there, and Drover did not make it`, {
    subject: { dataset: name },
  });

export const standsOn = ({ id }: Pick<ZfsVolume, 'id'>, what: string): DroverError =>
  new DroverError('failed-precondition', `volume ${id} cannot go: ${what}`, { subject: { volume: id } });

const isRoot = (id: VolumeId): DroverError =>
  new DroverError('failed-precondition', `${id} is the root of an instance, not a data volume`, {
    subject: { volume: id },
  });
