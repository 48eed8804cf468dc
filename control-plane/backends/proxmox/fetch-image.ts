import { isKind } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import type { ClusterTools } from './cluster-memory.ts';
import { type Content, type ImageReference, storedName } from './image-references.ts';
import { isLost } from './lost-answer.ts';
import { isUpid } from './perform.ts';
import type { StoredFiles } from './stored-files.ts';

/** An image that comes from elsewhere: from the net, or from the control plane's own host. */
export type Foreign = Extract<ImageReference, { kind: 'url' | 'file' }>;

interface Target {
  readonly node: string;
  readonly storage: string;
  readonly content: Content;
  readonly name: string;
}

const uploadTimeoutMs = 3_600_000;

export type FetchImage = (
  node: string,
  digest: Digest,
  image: Foreign,
  signal: AbortSignal,
) => Promise<{ readonly volid: string; readonly content: Content }>;

/** Brings images to storages, each once, whoever waits for it. Its name is made of its digest. */
export function createFetchImage(tools: ClusterTools, files: StoredFiles): FetchImage {
  const { api, tasks, templateFiles } = tools;
  const fetching = new Map<string, Promise<void>>();

  async function isThere({ node, storage, content, name }: Target, signal: AbortSignal): Promise<boolean> {
    const volid = `${storage}:${content}/${name}`;
    return (await files.on(node, storage, content, signal)).some((each) => each.volid === volid);
  }

  async function bring(to: Target, digest: Digest, image: Foreign, signal: AbortSignal): Promise<void> {
    const sha256 = digest.slice('sha256:'.length);
    try {
      const upid =
        image.kind === 'file'
          ? await upload(to, image.path, sha256, signal)
          : await download(to, image.url, sha256, signal);
      if (isUpid(upid)) await tasks.wait(upid, { signal });
    } catch (error) {
      // Somebody else brought it meanwhile, or its answer was lost: what is there decides.
      if (signal.aborted || !(isLost(error) || isKind(error, 'already-exists'))) throw error;
      if (!(await isThere(to, signal))) throw error;
    }
  }

  const download = ({ name, ...to }: Target, url: string, sha256: string, signal: AbortSignal) =>
    api.call(
      'POST /nodes/{node}/storage/{storage}/download-url',
      { ...to, filename: name, url, checksum: sha256, 'checksum-algorithm': 'sha256' },
      { signal },
    );

  async function upload({ name, ...to }: Target, path: string, sha256: string, signal: AbortSignal) {
    await using file = await templateFiles.open(path);
    const { size: bytes } = await file.stat();
    const open = () => file.createReadStream({ autoClose: false, start: 0 }) as AsyncIterable<Uint8Array>;
    const options = { signal, timeoutMs: uploadTimeoutMs };
    return await api.upload(to, { name, bytes, open }, { sha256 }, options);
  }

  async function once(key: string, act: () => Promise<void>): Promise<void> {
    const running = fetching.get(key) ?? act().finally(() => fetching.delete(key));
    fetching.set(key, running);
    return running;
  }

  return async (node, digest, image, signal) => {
    const { name, content } = storedName(digest, image.kind === 'url' ? image.url : image.path);
    for (const { storage } of files.storages(node, content))
      if (await isThere({ node, storage, content, name }, signal))
        return { volid: `${storage}:${content}/${name}`, content };
    const { storage, shared } = files.target(node, content);
    await once(`${shared ? '' : node} ${storage} ${name}`, () =>
      bring({ node, storage, content, name }, digest, image, signal),
    );
    return { volid: `${storage}:${content}/${name}`, content };
  };
}
