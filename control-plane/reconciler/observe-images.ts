import type { Clock } from '#shared/clock.ts';
import { asDroverError } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { NodeName } from '#shared/model.ts';
import type { Backend } from '../backends/backend.ts';
import type { WritableFleetView } from '../fleet-view.ts';

export interface ImageWatch {
  /** The node's images may have changed. Many calls cost one listing. */
  refresh(backend: Backend, node: NodeName): void;
}

const settleMs = 1000;
const everyMs = 60_000;
const listTimeoutMs = 15_000;

/** Keeps view.images: a hint for placing, so a listing that fails is left for the next one. */
export function startImageWatch(options: {
  readonly view: WritableFleetView;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
}): ImageWatch {
  const { view, clock, log, signal } = options;
  const asked = new Set<NodeName>();
  const backendOf = new Map<NodeName, Backend>();

  async function list(backend: Backend, node: NodeName): Promise<void> {
    const images = new Set<string>();
    try {
      for await (const image of backend.listImages(node, clock.timeout(listTimeoutMs, signal))) {
        if (!image.ready) continue;
        images.add(image.digest);
        for (const reference of image.references) images.add(reference);
      }
    } catch (caught) {
      return log.debug({ event: 'images.unlisted', node, err: asDroverError(caught) });
    }
    const live = view.node(node);
    if (!live?.connected || (live.imagesListed === true && isSame(live.images, images))) return;
    view.put({ ...live, images, imagesListed: true });
  }

  const refresh: ImageWatch['refresh'] = (backend, node) => {
    backendOf.set(node, backend);
    if (asked.has(node)) return;
    asked.add(node);
    clock.after(settleMs, () => {
      asked.delete(node);
      if (!signal.aborted && view.node(node)?.connected) void list(backend, node);
    });
  };
  const takeBack = clock.every(everyMs, () => {
    for (const [node, backend] of backendOf) refresh(backend, node);
  });
  signal.addEventListener('abort', takeBack, { once: true });
  return { refresh };
}

const isSame = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean =>
  a.size === b.size && [...a].every((each) => b.has(each));
