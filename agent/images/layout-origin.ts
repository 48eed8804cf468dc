import { createHash } from 'node:crypto';
import { mkdir, open, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import { allowedPath, openRegular } from './allowed-path.ts';
import { checkDigest, type Descriptor, digestOf, object, parseObject, refuse } from './manifest.ts';
import type { ImageOrigin } from './origin.ts';
import { isDigest, type LayoutReference } from './reference.ts';

const tagAnnotation = 'org.opencontainers.image.ref.name';
const copyBytes = 1024 ** 2;
const maxDocumentBytes = 4 * 1024 ** 2;

const places = {
  what: 'layout',
  scheme: 'oci:',
  nextStep: "add its directory to the agent's layout directories",
};

export const blobPath = (layout: string, digest: Digest): string =>
  path.join(layout, 'blobs', 'sha256', digest.slice('sha256:'.length));

/** An image in an OCI layout on this node, below one of the directories that the node's owner allows. */
export async function layoutOrigin(
  allowedDirs: readonly string[],
  reference: LayoutReference,
): Promise<ImageOrigin> {
  const layout = await allowedPath({ ...places, directories: allowedDirs }, reference.directory);
  return {
    async readManifest(digest) {
      return readBlob(layout, digest ?? (await taggedDigest(layout, reference.tag)));
    },
    readConfig: (_digest, manifest) => readBlob(layout, manifest.config.digest),
    async copy({ digest, manifest }, target, signal) {
      await mkdir(path.dirname(blobPath(target, digest)), { recursive: true });
      const raw = await readBlob(layout, digest);
      await writeFile(blobPath(target, digest), raw);
      for (const blob of [manifest.config, ...manifest.layers]) {
        await copyBlob(blobPath(layout, blob.digest), blobPath(target, blob.digest), blob, signal);
      }
      await writeIndex(target, digest, raw);
    },
  };
}

/** What the layout's index names so; the one entry that there is, where no tag is asked. */
async function taggedDigest(layout: string, tag: string): Promise<Digest> {
  const document = parseObject(await readDocument(path.join(layout, 'index.json')));
  const { manifests } = document;
  if (!Array.isArray(manifests)) throw refuse('its layout lists no manifests');
  const entries = manifests.map((entry) => object(entry, 'index.json'));
  const fitting = entries.filter(
    (entry) => tag === '' || object(entry['annotations'] ?? {}, 'annotations')[tagAnnotation] === tag,
  );
  const [first] = fitting;
  if (first === undefined || fitting.length > 1) {
    const wanted = tag === '' ? 'one image' : `one image with tag ${tag}`;
    throw new DroverError('not-found', `${layout}: wanted ${wanted}, found ${fitting.length}`);
  }
  const digest = String(first['digest']);
  if (!isDigest(digest)) throw refuse('its layout has a digest that is none');
  return digest;
}

async function readBlob(layout: string, digest: Digest): Promise<string> {
  const raw = await readDocument(blobPath(layout, digest));
  checkDigest(raw, digest);
  return raw;
}

async function readDocument(file: string): Promise<string> {
  await using handle = await openRegular(file);
  const { size } = await handle.stat();
  if (size > maxDocumentBytes) throw refuse(`a document of ${size} bytes`);
  return await handle.readFile('utf8');
}

async function copyBlob(
  from: string,
  to: string,
  { digest, sizeBytes }: Descriptor,
  signal: AbortSignal,
): Promise<void> {
  await using source = await openRegular(from);
  await using target = await open(to, 'w', 0o600);
  const { size } = await source.stat();
  if (size !== sizeBytes) {
    throw new DroverError('data-loss', `${digest}: wanted ${sizeBytes} bytes, found ${size}`);
  }
  const hash = createHash('sha256');
  const buffer = Buffer.alloc(copyBytes);
  for (let copied = 0; copied < sizeBytes; ) {
    signal.throwIfAborted();
    const { bytesRead } = await source.read(buffer, 0, Math.min(copyBytes, sizeBytes - copied));
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    await target.writeFile(buffer.subarray(0, bytesRead));
    copied += bytesRead;
  }
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== digest) throw new DroverError('data-loss', `wanted ${digest}, found content of ${found}`);
}

async function writeIndex(layout: string, digest: Digest, raw: string): Promise<void> {
  const { mediaType = 'application/vnd.oci.image.manifest.v1+json' } = parseObject(raw);
  const annotations = { [tagAnnotation]: 'image' };
  const manifests = [{ mediaType, digest, size: Buffer.byteLength(raw), annotations }];
  await writeFile(path.join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  await writeFile(path.join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

/**
 * The one manifest of a layout that copy wrote; a registry's older format was turned into OCI's on the way.
 */
export async function readCopied(layout: string): Promise<string> {
  const digest = await taggedDigest(layout, 'image');
  const raw = await readFile(blobPath(layout, digest), 'utf8');
  if (digestOf(raw) !== digest) throw new DroverError('data-loss', `wanted ${digest}, found other content`);
  return raw;
}
