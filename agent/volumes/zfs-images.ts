import { DroverError, isKind } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import type { UnpackedImage } from './volume-driver.ts';
import { createArgs, destroyArgs, snapshotArgs } from './zfs-features.ts';
import { hexOf, type ZfsLayout } from './zfs-layout.ts';
import { mark } from './zfs-marks.ts';
import type { Dataset } from './zfs-tool.ts';

export interface ZfsImages {
  /** What roots of the image are cloned from, whether it is there or not. */
  snapshotOf(image: UnpackedImage): string;
  /** Makes it, once, whoever asks meanwhile. It goes on when its caller gives up. */
  ensure(image: UnpackedImage, signal: AbortSignal): Promise<void>;
  list(signal: AbortSignal): Promise<{ readonly digest: Digest; readonly bytes: number }[]>;
  remove(digest: Digest, signal: AbortSignal): Promise<void>;
  close(): void;
}

const copyMs = 60 * 60_000;
const imageName = /^([0-9a-f]{64})-\d{1,10}$/;

/** Images as datasets below PARENT/images: what is there was whole before it got that name. */
export function createZfsImages(layout: ZfsLayout): ZfsImages {
  const { tool, mounts, run } = layout;
  const lifetime = new AbortController();
  const underWay = new Map<string, Promise<void>>();
  const nameOf = ({ digest, range }: UnpackedImage): string => layout.image(digest, range.base);

  async function fill(rootfs: string, place: string, signal: AbortSignal): Promise<void> {
    const args = ['-a', '--one-file-system', '-T', '--', rootfs, place];
    const { exitCode, stderr } = await run('cp', args, { signal, timeoutMs: copyMs });
    if (exitCode === 0) return;
    const words = stderr.trim().slice(0, 500);
    const kind = /no space|quota/i.test(words) ? 'resource-exhausted' : 'unavailable';
    throw new DroverError(kind, `copying the image to the pool: ${words}`);
  }

  async function make(image: UnpackedImage, signal: AbortSignal): Promise<void> {
    const name = nameOf(image);
    const staging = layout.newStaging();
    const marks = [`${mark.kind}=staging`, `${mark.image}=${image.digest}`];
    const where = [`mountpoint=${staging.place}`, 'canmount=noauto'];
    try {
      await tool.change(createArgs(staging.name, [...where, ...marks]), signal);
      await mounts.mount(staging.name, staging.place, false, signal);
      await fill(image.rootfs, staging.place, signal);
      await mounts.unmount(staging.place, signal);
      await tool.change(snapshotArgs([`${staging.name}@ready`], [`${mark.kind}=image`]), signal);
      await tool.changeBusy(['rename', staging.name, name], staging.name, signal);
      await mounts.forget(staging.place);
    } catch (error) {
      // With a signal of its own: a caller that gave up must not stop the clean-up.
      await layout.dropStaging(staging.name, new AbortController().signal).catch(() => undefined);
      if (!isKind(error, 'already-exists')) throw error;
    }
  }

  /** Ours, by name and mark; `kind` is what it had in the making, its place tells that it is whole. */
  const digestOf = (one: Dataset): Digest | undefined => {
    const hex = imageName.exec(one.name.slice(layout.group('images').length + 1))?.[1];
    const digest = one.local(mark.image);
    return hex !== undefined && digest === `sha256:${hex}` ? (digest as Digest) : undefined;
  };

  async function findAll(signal: AbortSignal): Promise<Map<string, Dataset>> {
    const properties = [mark.image, mark.kind, 'used', 'userrefs'];
    const all = await tool.get([layout.group('images')], properties, 'all', signal);
    if (all.size === 0) await layout.requirePool(signal);
    return all;
  }

  async function removeOne(name: string, all: Map<string, Dataset>, signal: AbortSignal): Promise<void> {
    const isPart = (each: string): boolean => each.startsWith(`${name}@`) || each.startsWith(`${name}/`);
    const parts = [...all.values()].filter((one) => isPart(one.name));
    const ready = `${name}@ready`;
    const stranger = parts.find((one) => one.name !== ready || one.local(mark.kind) !== 'image');
    if (stranger !== undefined) {
      const message = `${stranger.name} stands on the image, and Drover did not make it`;
      throw new DroverError('failed-precondition', message, { subject: { dataset: stranger.name } });
    }
    if (parts.length > 0) await tool.changeBusy(destroyArgs(ready), ready, signal);
    await tool.changeBusy(destroyArgs(name), name, signal);
  }

  return {
    snapshotOf: (image) => `${nameOf(image)}@ready`,
    async ensure(image, signal) {
      const name = nameOf(image);
      signal.throwIfAborted();
      const work = underWay.get(name) ?? make(image, lifetime.signal).finally(() => underWay.delete(name));
      underWay.set(name, work);
      const left = Promise.withResolvers<never>();
      const leave = (): void => left.reject(signal.reason);
      signal.addEventListener('abort', leave, { once: true });
      try {
        await Promise.race([work, left.promise]);
      } finally {
        signal.removeEventListener('abort', leave);
      }
    },
    async list(signal) {
      const bytes = new Map<Digest, number>();
      for (const one of (await findAll(signal)).values()) {
        const digest = digestOf(one);
        if (digest === undefined) continue;
        bytes.set(digest, (bytes.get(digest) ?? 0) + (Number(one.value('used')) || 0));
      }
      return [...bytes].map(([digest, sum]) => ({ digest, bytes: sum }));
    },
    async remove(digest, signal) {
      hexOf(digest);
      const all = await findAll(signal);
      for (const one of all.values()) if (digestOf(one) === digest) await removeOne(one.name, all, signal);
    },
    close: () => lifetime.abort(new DroverError('unavailable', 'the agent ends')),
  };
}
