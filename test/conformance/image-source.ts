import { stat } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Digest } from '#shared/model.ts';
import type { ImageSource, PullProgress } from '../../agent/images/image-source.ts';

export interface ImageSourceWorld extends AsyncDisposable {
  readonly source: ImageSource;
  /** By tag; its root has /etc/hostname, its command is /bin/sh. */
  readonly reference: string;
  /** Of the same image. */
  readonly digest: Digest;
  readonly missing: string;
  /** With a digest; for another platform only. */
  readonly foreign: string;
  /** False where nothing but the image's content tells its platform; true where it is left out. */
  readonly statesPlatforms?: boolean;
  /** A new source on the same directories, as after a restart. */
  reopen(): ImageSource;
}

const { signal } = new AbortController();
const range = { base: 1_000_000, size: 65_536 };
const otherRange = { base: 2_000_000, size: 65_536 };

/** What every ImageSource promises. */
export function imageSourceConformance(name: string, setUp: () => Promise<ImageSourceWorld>): void {
  const pinned = ({ reference, digest }: ImageSourceWorld): string => `${reference}@${digest}`;

  describe(`image source ${name}`, () => {
    it('resolves a tag to a digest and platforms, again and again', async () => {
      await using world = await setUp();
      const first = await world.source.resolve(world.reference, '', signal);
      expect(first.digest).toBe(world.digest);
      const platform = `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`;
      if (world.statesPlatforms === false) expect(first.platforms).toEqual([]);
      else expect(first.platforms).toContain(platform);
      expect(await world.source.resolve(pinned(world), '', signal)).toEqual(first);
    });

    it('finds nothing before a pull, and what was pulled after it', async () => {
      await using world = await setUp();
      expect(await world.source.find(pinned(world), range)).toBeUndefined();
      const pulled = await world.source.pull({ reference: pinned(world), credential: '', range }, signal);
      expect(await world.source.find(pinned(world), range)).toEqual(pulled);
      expect(pulled.config).toMatchObject({ command: ['/bin/sh'], workingDir: '/', stopSignal: 15 });
      expect((await stat(path.join(pulled.rootfs, 'etc/hostname'))).isFile()).toBe(true);
      expect(pulled.sizeBytes).toBeGreaterThan(0);
    });

    it('pulls what is there at once, also after a restart', async () => {
      await using world = await setUp();
      const first = await world.source.pull({ reference: pinned(world), credential: '', range }, signal);
      const again = world.reopen();
      expect(await again.find(pinned(world), range)).toEqual(first);
      expect(await again.pull({ reference: pinned(world), credential: '', range }, signal)).toEqual(first);
    });

    it('lists an image once it is ready, once for all ranges', async () => {
      await using world = await setUp();
      expect(await world.source.list(signal)).toEqual([]);
      await world.source.pull({ reference: pinned(world), credential: '', range }, signal);
      await world.source.pull({ reference: pinned(world), credential: '', range: otherRange }, signal);
      const images = await world.source.list(signal);
      expect(images).toHaveLength(1);
      expect(images[0]).toMatchObject({ ready: true });
      expect(images[0]?.references).toContain(world.reference);
    });

    it('keeps ranges apart', async () => {
      await using world = await setUp();
      await world.source.pull({ reference: pinned(world), credential: '', range }, signal);
      expect(await world.source.find(pinned(world), otherRange)).toBeUndefined();
    });

    it('joins pulls of one digest, and tells each how far it is', async () => {
      await using world = await setUp();
      const steps: PullProgress['step'][] = [];
      const onProgress = ({ step }: PullProgress): void => void steps.push(step);
      const request = { reference: pinned(world), credential: '', range, onProgress };
      const pulled = await Promise.all([1, 2, 3].map(() => world.source.pull(request, signal)));
      expect(new Set(pulled.map(({ rootfs }) => rootfs)).size).toBe(1);
      expect(await world.source.list(signal)).toHaveLength(1);
      expect(steps).toContain('fetching');
      expect(steps.at(-1)).toBe('ready');
    });

    it('says not-found for what is not there', async () => {
      await using world = await setUp();
      await expect(world.source.resolve(world.missing, '', signal)).rejects.toMatchObject({
        kind: 'not-found',
      });
      const reference = `${world.missing}@sha256:${'0'.repeat(64)}`;
      await expect(world.source.pull({ reference, credential: '', range }, signal)).rejects.toMatchObject({
        kind: 'not-found',
      });
    });

    it('says not-found, and what there is, where no platform fits', async () => {
      await using world = await setUp();
      const pulling = world.source.pull({ reference: world.foreign, credential: '', range }, signal);
      await expect(pulling).rejects.toMatchObject({ kind: 'not-found' });
      await expect(pulling).rejects.toThrow(/linux\/s390x/);
      expect(await world.source.list(signal)).toEqual([]);
    });

    it.each(['', 'web 1', 'web@md5:0', '--help'])('refuses "%s", which is no reference', async (text) => {
      await using world = await setUp();
      await expect(world.source.resolve(text, '', signal)).rejects.toMatchObject({
        kind: 'invalid-argument',
      });
    });

    it('refuses to pull a tag', async () => {
      await using world = await setUp();
      const pulling = world.source.pull({ reference: world.reference, credential: '', range }, signal);
      await expect(pulling).rejects.toMatchObject({ kind: 'invalid-argument' });
    });

    it('removes an image from every range, again and again, and pulls it anew', async () => {
      await using world = await setUp();
      const request = { reference: pinned(world), credential: '', range };
      const { digest } = await world.source.pull(request, signal);
      await world.source.pull({ ...request, range: otherRange }, signal);
      expect(await world.source.remove(digest, signal)).toBeGreaterThan(0);
      expect(await world.source.find(pinned(world), range)).toBeUndefined();
      expect(await world.source.find(pinned(world), otherRange)).toBeUndefined();
      expect(await world.source.list(signal)).toEqual([]);
      expect(await world.source.remove(digest, signal)).toBe(0);
      expect(await world.source.pull(request, signal)).toMatchObject({ digest });
    });

    it('keeps an image that turns out to be used when it is to be removed', async () => {
      await using world = await setUp();
      const request = { reference: pinned(world), credential: '', range };
      const pulled = await world.source.pull(request, signal);
      const removing = world.source.remove(pulled.digest, signal, () => true);
      await expect(removing).rejects.toMatchObject({ kind: 'failed-precondition' });
      expect(await world.source.find(pinned(world), range)).toEqual(pulled);
    });

    it('leaves nothing behind for a caller who gave up, and pulls again', async () => {
      await using world = await setUp();
      const request = { reference: pinned(world), credential: '', range };
      const controller = new AbortController();
      const first = world.source.pull(request, controller.signal);
      controller.abort(new Error('the caller gave up'));
      await Promise.allSettled([first]);
      expect(await world.source.pull(request, signal)).toMatchObject({ config: { command: ['/bin/sh'] } });
    });
  });
}
