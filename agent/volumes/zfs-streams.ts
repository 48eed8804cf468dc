import { DroverError, isKind } from '#shared/errors.ts';
import type { SnapshotId, VolumeId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { feedTool, readTool } from './tool-stream.ts';
import { checkSnapshotId, isTaken } from './volume-id.ts';
import { checkFormat, readVolumeStream, type StreamHeader, writeVolumeStream } from './volume-stream.ts';
import { zfsError } from './zfs-error.ts';
import { createArgs, destroyArgs, receiveArgs, sendArgs } from './zfs-features.ts';
import type { ZfsLayout } from './zfs-layout.ts';
import { formatQuota, formatRange, isSameRange, mark, snapshotMarks, volumeMarks } from './zfs-marks.ts';
import type { ZfsSnapshots } from './zfs-snapshots.ts';
import type { ZfsVolume, ZfsVolumes } from './zfs-volumes.ts';

/**
 * Snapshots as zfs writes them, in our frame. Properties never travel in the stream itself: what it says of
 * mount points or quotas would be believed. Ours are in the header, and are set when all has come.
 */
export function createZfsStreams(
  layout: ZfsLayout,
  volumes: ZfsVolumes,
  snapshots: ZfsSnapshots,
  start: HostCommands['start'],
) {
  const { tool } = layout;

  async function* send(
    id: VolumeId,
    snapshot: SnapshotId,
    since: SnapshotId | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const features = await layout.open(signal);
    const volume = await volumes.need(id, signal);
    const { name, note, createdAtMs, range } = await snapshots.need(volume, snapshot, signal);
    const older = since === undefined ? undefined : (await snapshots.need(volume, since, signal)).name;
    const { kind, image, diskMib } = volume;
    const told = { kind, image, diskMib, note, createdAtMs, range: range.range };
    const body = readTool(start, ['zfs', ...sendArgs(features, name, older)], zfsError, signal);
    yield* writeVolumeStream({ ...told, format: 'zfs', snapshot, since }, body);
  }

  async function feed(name: string, body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const features = await layout.open(signal);
    await feedTool(start, ['zfs', ...receiveArgs(features, name)], withoutProperties(body), zfsError, signal);
  }

  async function set(name: string, pairs: readonly string[], signal: AbortSignal): Promise<void> {
    // One by one: zfs-fuse takes no more at once.
    for (const pair of pairs) await layout.changeWithReserve(['set', pair, name], signal);
  }

  async function receiveWhole(
    id: VolumeId,
    header: StreamHeader,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    if ((await volumes.find(id, signal)) !== undefined) throw isTaken(id);
    const { kind, image, diskMib } = header;
    const staging = layout.newStaging().name;
    const shut = ['mountpoint=none', 'canmount=off', `${mark.kind}=staging`];
    const received = `${staging}/v`;
    await tool.change(createArgs(staging, shut), signal);
    try {
      await feed(received, body, signal);
      await checkReceived(received, header.snapshot, signal);
      const range = formatRange(header.range);
      // It is mounted as soon as it may be and has a place: first it may not.
      const where = ['canmount=noauto', `mountpoint=${layout.place(kind, id)}`];
      const size = diskMib === 0 ? [] : [formatQuota(diskMib)];
      await set(received, [...where, ...size, ...volumeMarks({ kind, id, range, image })], signal);
      await set(`${received}@${header.snapshot}`, snapshotMarks(header.snapshot, header.note, range), signal);
      await tool.changeBusy(['rename', received, layout.volume(kind, id)], received, signal);
    } finally {
      // With a signal of its own: a caller that gave up must not stop the clean-up.
      await layout.dropStaging(staging, new AbortController().signal);
    }
  }

  /** One dataset with one snapshot is what we send; a stream can hold others. data-loss. */
  async function checkReceived(name: string, snapshot: SnapshotId, signal: AbortSignal): Promise<void> {
    const found = [...(await tool.get([name], ['type'], 'all', signal)).keys()].toSorted();
    if (found.join(' ') === [name, `${name}@${snapshot}`].join(' ')) return;
    throw new DroverError('data-loss', 'the stream holds something else than it says');
  }

  async function receiveChanges(
    volume: ZfsVolume,
    header: StreamHeader,
    body: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const { name, id } = volume;
    await dropHalf(volume, signal);
    const last = (await snapshots.of(volume, signal)).at(-1);
    if (last?.id !== header.since) throw isElsewhere(id, header, last?.id);
    await volumes.release(id, signal);
    const [now, next] = [volume.range.range, header.range];
    const isMoved = !isSameRange(now, next) || volume.range.from !== undefined;
    // Until all has come nobody can tell whose ids its files have: of both.
    if (isMoved) await set(name, [`${mark.range}=${formatRange(next, now)}`], signal);
    await set(name, [`${mark.receiving}=${header.snapshot}`], signal);
    await feed(name, body, signal);
    const made = `${name}@${header.snapshot}`;
    await set(made, snapshotMarks(header.snapshot, header.note, formatRange(next)), signal);
    if (isMoved) await set(name, [`${mark.range}=${formatRange(next)}`], signal);
    await tool.change(['inherit', mark.receiving, name], signal);
  }

  /** A snapshot that came, and was not told to be ours before the agent died. */
  async function dropHalf({ name, receiving }: ZfsVolume, signal: AbortSignal): Promise<void> {
    if (receiving === '') return;
    const half = `${name}@${checkSnapshotId(receiving as SnapshotId)}`;
    const found = (await tool.get([half], [mark.snapshot], 0, signal)).get(half);
    if (found === undefined || found.local(mark.snapshot) === receiving) return;
    await volumes.release(name.split('/').at(-1) as VolumeId, signal);
    // What it brought goes with it: the volume is at the snapshot before again.
    const all = await tool.get([name], ['createtxg'], 'all', signal);
    const before = [...all.keys()].filter((each) => each.includes('@')).at(-2);
    await tool.changeBusy(destroyArgs(half), half, signal);
    if (before !== undefined) await tool.changeBusy(['rollback', before], name, signal);
  }

  async function receive(id: VolumeId, stream: AsyncIterable<Uint8Array>, signal: AbortSignal) {
    await layout.open(signal);
    layout.volume('data', id);
    const { header, body } = await readVolumeStream(stream);
    checkFormat(header, 'zfs');
    try {
      if (header.since === undefined) return await receiveWhole(id, header, body, signal);
      const volume = await volumes.find(id, signal);
      if (volume === undefined) throw isElsewhere(id, header, undefined);
      await receiveChanges(volume, header, body, signal);
    } catch (error) {
      // The frame was whole as far as it was read: words that zfs has for this alone are the stream's fault.
      throw isKind(error, 'internal') ? new DroverError('data-loss', error.message, { cause: error }) : error;
    }
  }
  return { send, receive };
}

const isElsewhere = (id: VolumeId, header: StreamHeader, last: SnapshotId | undefined): DroverError =>
  new DroverError('aborted', `volume ${id} is at ${last ?? 'no snapshot'}, the stream at ${header.since}`, {
    subject: { volume: id },
    nextStep: 'send the whole, or from a snapshot that both have',
  });

const headBytes = 24;
const littleMagic = Buffer.from('accbbaf502000000', 'hex');

/**
 * Refuses a stream that carries properties or several datasets. It begins with a record of type 0, its magic
 * and a word whose two lowest bits are 1 for one plain snapshot. Source: dmu_replay_record in zfs_ioctl.h.
 */
async function* withoutProperties(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let head = Buffer.alloc(0);
  let isChecked = false;
  for await (const chunk of body) {
    if (isChecked) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < headBytes) continue;
    const isLittle = head.subarray(8, 16).equals(littleMagic);
    const word = isLittle ? head.readBigUInt64LE(16) : head.readBigUInt64BE(16);
    if ((word & 3n) !== 1n) throw new DroverError('data-loss', 'the stream is none of one plain snapshot');
    isChecked = true;
    yield head;
  }
  if (!isChecked) throw new DroverError('data-loss', 'the stream of zfs is empty');
}
