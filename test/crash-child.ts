/**
 * A program to be killed in the middle: pulls an image, or makes and removes roots, and says how far it is.
 */
import path from 'node:path';
import { systemClock } from '#shared/clock.ts';
import type { Digest, InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createHostCommands } from '../agent/host/command.ts';
import { createOciSource } from '../agent/images/index.ts';
import { createDirectoryDriver } from '../agent/volumes/index.ts';
import { hostArchitecture } from './image-builder.ts';

export type CrashJob =
  | { readonly kind: 'pull'; readonly directory: string; readonly reference: string }
  | {
      readonly kind: 'volume';
      readonly directory: string;
      readonly rootfs: string;
      readonly unshifted: boolean;
      readonly id: InstanceId;
    };

export const crashRange = { base: 1_000_000, size: 65_536 };
const { signal } = new AbortController();
const { run, start } = createHostCommands({ clock: systemClock });

export const openSource = (directory: string) =>
  createOciSource({
    directory: path.join(directory, 'images'),
    credentialsDir: path.join(directory, 'credentials'),
    insecureRegistries: ['127.0.0.1'],
    layoutDirs: [],
    architecture: hostArchitecture,
    clock: systemClock,
    random: systemRandom,
    run,
  });

export const openVolumes = (directory: string) =>
  createDirectoryDriver({ directory: path.join(directory, 'volumes'), run, start });

const say = (text: string): void => void process.stdout.write(`${text}\n`);

async function work(job: CrashJob): Promise<void> {
  if (job.kind === 'pull') {
    const onProgress = ({ step }: { step: string }): void => say(step);
    const request = { reference: job.reference, credential: '', range: crashRange, onProgress };
    await openSource(job.directory).pull(request, signal);
    return;
  }
  const driver = openVolumes(job.directory);
  const image = {
    digest: `sha256:${'a'.repeat(64)}` as Digest,
    rootfs: job.rootfs,
    range: job.unshifted ? { base: 0, size: 65_536 } : crashRange,
  };
  for (;;) {
    say('preparing');
    await driver.prepare({ id: job.id, image, range: crashRange, diskMib: 0 }, signal);
    say('removing');
    await driver.remove(job.id, signal);
  }
}

if (process.argv[1] === import.meta.filename) await work(JSON.parse(process.argv[2] ?? '') as CrashJob);
