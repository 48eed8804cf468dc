import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { systemRandom } from '#shared/random.ts';
import { passableDirectory } from '../../test/passable-directory.ts';
import { createHostCommands } from '../host/command.ts';
import { createImageStore } from './image-store.ts';

const { run } = createHostCommands({ clock: systemClock });
const store = (directory: string) =>
  createImageStore({ directory, run, clock: systemClock, random: systemRandom });

it('clears whatever a removal that was killed had left in staging', async () => {
  await using home = await passableDirectory('images');
  const images = store(home.path);
  const { signal } = new AbortController();
  await images.open(signal);
  const staged = path.join(images.stagingDir, systemRandom.uuidV4());
  for (const aside of ['.0', '.1', '.1.0']) await mkdir(`${staged}${aside}/layout`, { recursive: true });
  await writeFile(staged, '');
  await store(home.path).open(signal);
  expect(await readdir(images.stagingDir)).toEqual([]);
});
