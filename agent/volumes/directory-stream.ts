import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { SnapshotId, VolumeId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { type Homes, kindOf, toolError } from './directory-home.ts';
import type { DirectorySnapshots } from './directory-snapshots.ts';
import { feedTool, readTool } from './tool-stream.ts';
import { isTaken, noSnapshot } from './volume-id.ts';
import { checkFormat, readVolumeStream, writeVolumeStream } from './volume-stream.ts';

const keeping = ['--numeric-owner', '--xattrs', '--acls'];

/** A snapshot as a tar archive in our frame. Only whole ones. */
export function createDirectoryStreams(
  homes: Homes,
  snapshots: DirectorySnapshots,
  start: HostCommands['start'],
) {
  async function* send(
    id: VolumeId,
    snapshot: SnapshotId,
    since: SnapshotId | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    if (since !== undefined) throw noIncrements();
    const record = await snapshots.settle(id, signal);
    const entry = (await homes.listSnapshots(id)).find((each) => each.id === snapshot);
    if (entry === undefined) throw noSnapshot(id, snapshot);
    const { note, createdAtMs, range } = entry;
    const told = { kind: kindOf(record), note, createdAtMs, range, diskMib: 0, image: record.digest };
    const content = path.join(homes.snapshotHome(id, snapshot), 'content');
    const tar = [
      'tar',
      ...keeping,
      '--xattrs-include=*',
      '--sparse',
      '-C',
      content,
      '-cf',
      '-',
      '.',
    ] as const;
    const body = readTool(start, [tar[0], ...tar.slice(1)], (result) => toolError('tar', result, id), signal);
    yield* writeVolumeStream({ ...told, format: 'tar', snapshot, since }, body);
  }

  async function receive(
    id: VolumeId,
    stream: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void> {
    const { header, body } = await readVolumeStream(stream);
    checkFormat(header, 'tar');
    if (header.since !== undefined) throw noIncrements();
    if ((await homes.read(id)) !== undefined) throw isTaken(id);
    await homes.makeHome(id, signal);
    try {
      const { kind, range, image: digest, note, createdAtMs } = header;
      const record = { kind, digest, lower: '', range };
      const content = homes.content(id, record);
      await mkdir(content);
      if (kind === 'root') await mkdir(path.join(homes.home(id), 'work'), { mode: 0o700 });
      // What only the kernel's own layers understand is for roots alone.
      const taken = kind === 'root' ? ['*'] : ['user.*', 'security.capability'];
      const include = taken.map((pattern) => `--xattrs-include=${pattern}`);
      const args = [...keeping, ...include, '--same-owner', '-p', '-C', content, '-xf', '-'];
      await feedTool(start, ['tar', ...args], body, (result) => toolError('tar', result, id), signal);
      await snapshots.keep(id, record, { id: header.snapshot, note, range, createdAtMs }, signal);
      await homes.write(id, record);
    } catch (error) {
      // With a signal of its own: a caller that gave up must not stop the clean-up.
      await homes.removeHome(id, new AbortController().signal);
      throw error;
    }
  }
  return { send, receive };
}

const noIncrements = (): DroverError =>
  new DroverError('unimplemented', 'the directory driver knows whole streams only');
