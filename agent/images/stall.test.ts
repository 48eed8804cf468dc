import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { systemRandom } from '#shared/random.ts';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { startRegistry } from '../../test/fakes/registry.ts';
import { buildBusybox, hostArchitecture, pushImage } from '../../test/image-builder.ts';
import { passableDirectory } from '../../test/passable-directory.ts';
import { createHostCommands } from '../host/command.ts';
import { createOciSource } from './oci.ts';
import { unlessStalled } from './stall.ts';

const never = new AbortController().signal;

/** Work that ends with its signal, and by itself when told to. */
function createWork(signal = never) {
  const clock = createFakeClock();
  const told = Promise.withResolvers<string>();
  const seen: number[] = [];
  let grown: number | undefined = 0;
  const work = (own: AbortSignal): Promise<string> => {
    own.addEventListener('abort', () => told.reject(new Error('killed')), { once: true });
    return told.promise;
  };
  const outcome = unlessStalled(work, {
    clock,
    signal,
    async measure() {
      if (grown === undefined) throw new Error('nothing is there');
      return grown;
    },
    onMeasured: (measured) => void seen.push(measured),
    stallMs: 10_000,
  }).catch((error: unknown) => error);
  const grow = (by: number): void => void (grown = (grown ?? 0) + by);
  const hide = (): void => void (grown = undefined);
  return { clock, seen, outcome, finish: told.resolve, grow, hide };
}

describe('work that may stall', () => {
  it('goes on as long as something comes, be it slowly', async () => {
    const { clock, seen, outcome, finish, grow } = createWork();
    for (let count = 0; count < 10; count += 1) {
      grow(1);
      await clock.advance(9000);
    }
    finish('done');
    expect(await outcome).toBe('done');
    expect(seen.at(-1)).toBe(10);
    expect(clock.waiting()).toBe(0);
  });

  it('is ended once nothing comes any more, and says so', async () => {
    const { clock, outcome, grow } = createWork();
    grow(7);
    await clock.advance(11_000);
    expect(await outcome).toMatchObject({
      kind: 'deadline-exceeded',
      message: 'nothing came for 10 s, after 7 bytes',
    });
    expect(clock.waiting()).toBe(0);
  });

  it('may wait its turn as long as it must', async () => {
    const { clock, outcome, finish, hide } = createWork();
    hide();
    await clock.advance(60_000);
    finish('done');
    expect(await outcome).toBe('done');
  });

  it('ends as it ends where its caller gave up', async () => {
    const leaving = new AbortController();
    const { outcome } = createWork(leaving.signal);
    leaving.abort();
    expect(await outcome).toMatchObject({ message: 'killed' });
  });
});

describe('a registry that is stopped in the midst of a pull', () => {
  it('costs that pull alone, by its own deadline, and leaves nothing', { timeout: 60_000 }, async () => {
    await using home = await passableDirectory('stopped');
    await using registry = await startRegistry();
    const digest = await pushImage({ url: registry.url, repository: 'web', tag: '1' }, await buildBusybox());
    const images = path.join(home.path, 'images');
    const source = createOciSource({
      directory: images,
      credentialsDir: path.join(home.path, 'credentials'),
      insecureRegistries: ['127.0.0.1'],
      layoutDirs: [],
      architecture: hostArchitecture,
      run: createHostCommands({ clock: systemClock }).run,
      clock: systemClock,
      random: systemRandom,
      stallMs: 3000,
    });
    const pull = (onProgress: (step: string) => void) =>
      source.pull(
        {
          reference: `${registry.address}/web@${digest}`,
          credential: '',
          range: { base: 1_000_000, size: 65_536 },
          onProgress: ({ step }) => onProgress(step),
        },
        never,
      );
    const stopped = pull((step) => {
      if (step === 'fetching') process.kill(registry.pid, 'SIGSTOP');
    });
    await expect(stopped).rejects.toMatchObject({
      kind: 'deadline-exceeded',
      message: expect.stringMatching(/^nothing came for 3 s/) as string,
    });
    expect(await readdir(path.join(images, 'staging'))).toEqual([]);
    expect(await source.list(never)).toEqual([]);
    process.kill(registry.pid, 'SIGCONT');
    expect(await pull(() => {})).toMatchObject({ digest });
    expect(await readdir(path.join(images, 'staging'))).toEqual([]);
  });
});
