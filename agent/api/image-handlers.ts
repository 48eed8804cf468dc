import type {
  PullImageProgress,
  PullImageRequest,
  RuntimeServiceService,
} from '#shared/gen/drover/runtime/v1/runtime.ts';
import type { Image } from '#shared/model.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { parseDigest } from '#shared/wire/checks.ts';
import { formatImage } from '#shared/wire/node.ts';
import type { ImageSource, PullProgress } from '../images/image-source.ts';
import { imageSourceOf } from '../instances/tools.ts';
import type { Instances } from '../instances.ts';

interface ImageParts {
  readonly images: readonly ImageSource[];
  readonly isPinned?: (image: Image) => boolean;
  readonly instances: Pick<Instances, 'imageRange' | 'usedImages' | 'removeImage'>;
}

type ImageMethod = 'resolveImage' | 'pullImage' | 'listImages' | 'removeImage';

export const imageHandlers = (
  parts: ImageParts,
): Pick<Handlers<typeof RuntimeServiceService>, ImageMethod> => ({
  resolveImage: async ({ reference, credential }, { signal }) =>
    imageSourceOf(parts, reference).resolve(reference, credential, signal),
  pullImage: (request, { signal }) => pullImage(parts, request, signal),
  listImages: async function* (_request, { signal }) {
    for (const source of parts.images) {
      const images = await source.list(signal);
      const used = parts.instances.usedImages();
      for (const image of images) {
        const pinned = parts.isPinned?.(image) ?? false;
        yield formatImage({ ...image, usedBy: used.get(image.digest) ?? 0, pinned });
      }
    }
  },
  removeImage: async ({ digest }, { signal }) => ({
    freedBytes: BigInt(Math.round(await parts.instances.removeImage(parseDigest(digest), signal))),
  }),
});

async function* pullImage(
  { images, instances }: ImageParts,
  { reference, credential }: PullImageRequest,
  signal: AbortSignal,
): AsyncGenerator<PullImageProgress> {
  let latest: PullProgress | undefined;
  let news = Promise.withResolvers<'news'>();
  const onProgress = (progress: PullProgress): void => {
    latest = progress;
    news.resolve('news');
  };
  const range = await instances.imageRange();
  const pulling = imageSourceOf({ images }, reference).pull(
    { reference, credential, range, onProgress },
    signal,
  );
  const outcome = pulling.then((image) => ({ image }));
  outcome.catch(() => undefined); // Thrown where it is awaited, which may be later.
  while (true) {
    const next = await Promise.race([outcome, news.promise]);
    if (next !== 'news') {
      const size = BigInt(next.image.sizeBytes);
      yield { step: 'ready', bytesDone: size, bytesTotal: size, done: true, digest: next.image.digest };
      return;
    }
    news = Promise.withResolvers<'news'>();
    if (latest !== undefined) yield formatProgress(latest);
  }
}

const formatProgress = ({ step, bytesDone, bytesTotal }: PullProgress): PullImageProgress => ({
  step,
  bytesDone: BigInt(Math.round(bytesDone)),
  bytesTotal: BigInt(Math.round(bytesTotal)),
  done: false,
  digest: '',
});
