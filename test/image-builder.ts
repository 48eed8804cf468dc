/** Makes OCI images without any tool, and puts them into a layout on disk or into a registry. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { type TarEntry, writeTar } from './tar.ts';

export const mediaTypes = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
};

/** As the image specification spells it. */
export interface RunConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
  readonly StopSignal?: string;
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string; readonly variant?: string };
}

export interface Blob extends Descriptor {
  readonly bytes: Buffer;
}

/** An image or an index: its root comes last, everything that it speaks of before. */
export interface BuiltImage {
  readonly root: Blob;
  readonly blobs: readonly Blob[];
}

export interface BuildOptions {
  readonly layers: readonly (readonly TarEntry[])[];
  readonly config?: RunConfig;
  readonly architecture?: string;
  readonly os?: string;
  /** Last changes to the manifest, to make it lie. */
  readonly mangle?: (manifest: Record<string, unknown>) => Record<string, unknown>;
}

export function makeBlob(mediaType: string, bytes: Buffer): Blob {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  return { mediaType, digest, size: bytes.length, bytes };
}

const jsonBlob = (mediaType: string, value: unknown): Blob =>
  makeBlob(mediaType, Buffer.from(JSON.stringify(value)));

const describe = ({ mediaType, digest, size }: Blob): Descriptor => ({ mediaType, digest, size });

/** The architecture of this machine in the words of OCI. */
export const hostArchitecture = process.arch === 'x64' ? 'amd64' : process.arch;

export function buildImage(options: BuildOptions): BuiltImage {
  const tars = options.layers.map((entries) => writeTar(entries));
  const layers = tars.map((tar) => makeBlob(mediaTypes.layer, gzipSync(tar)));
  const config = jsonBlob(mediaTypes.config, {
    architecture: options.architecture ?? hostArchitecture,
    os: options.os ?? 'linux',
    config: options.config ?? {},
    rootfs: { type: 'layers', diff_ids: tars.map((tar) => makeBlob('', tar).digest) },
    history: tars.map(() => ({ created_by: 'image-builder' })),
  });
  return imageOf(config, layers, options.mangle);
}

export function imageOf(
  config: Blob,
  layers: readonly Blob[],
  mangle: BuildOptions['mangle'] = (manifest) => manifest,
): BuiltImage {
  const manifest = mangle({
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describe(config),
    layers: layers.map(describe),
  });
  const root = jsonBlob(mediaTypes.manifest, manifest);
  return { root, blobs: [...layers, config, root] };
}

/** One reference for several platforms. */
export function buildIndex(
  images: readonly { readonly image: BuiltImage; readonly platform: NonNullable<Descriptor['platform']> }[],
): BuiltImage {
  const root = jsonBlob(mediaTypes.index, {
    schemaVersion: 2,
    mediaType: mediaTypes.index,
    manifests: images.map(({ image, platform }) => ({ ...describe(image.root), platform })),
  });
  return { root, blobs: [...images.flatMap(({ image }) => image.blobs), root] };
}

const applets =
  'sh ash ls cat echo sleep true false env id kill ps mkdir rm touch test printf pwd head tail grep sed wc ' +
  'date seq hostname nc httpd wget vi stty tty mount umount ln chmod chown dd df du find stat sync yes';

/** A root with a shell and the usual small programs: the host's own static busybox. */
export async function busyboxLayer(busybox = '/bin/busybox'): Promise<TarEntry[]> {
  const directories = ['bin/', 'etc/', 'proc/', 'sys/', 'dev/', 'root/', 'var/', 'run/'];
  return [
    ...directories.map((name): TarEntry => ({ name, type: 'directory' })),
    { name: 'tmp/', type: 'directory', mode: 0o1777 },
    { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/var:/bin/sh\n' },
    { name: 'etc/group', content: 'root:x:0:\nweb:x:33:\n' },
    { name: 'bin/busybox', mode: 0o755, content: await readFile(busybox) },
    ...applets.split(' ').map(
      (name): TarEntry => ({
        name: `bin/${name}`,
        type: 'symlink',
        target: 'busybox',
        mode: 0o777,
      }),
    ),
  ];
}

export async function buildBusybox(
  config: RunConfig = {},
  options: { readonly extra?: readonly TarEntry[]; readonly architecture?: string } = {},
): Promise<BuiltImage> {
  const { extra = [], ...rest } = options;
  return buildImage({
    ...rest,
    layers: extra.length === 0 ? [await busyboxLayer()] : [await busyboxLayer(), extra],
    config: { Cmd: ['/bin/sh'], Env: ['PATH=/bin'], WorkingDir: '/', ...config },
  });
}

/** Writes an OCI layout that holds the image under the tag. */
export async function writeLayout(directory: string, image: BuiltImage, tag: string): Promise<void> {
  const blobs = path.join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  for (const blob of image.blobs) await writeFile(path.join(blobs, blob.digest.slice(7)), blob.bytes);
  const annotations = { 'org.opencontainers.image.ref.name': tag };
  const index = { schemaVersion: 2, manifests: [{ ...describe(image.root), annotations }] };
  await writeFile(path.join(directory, 'index.json'), JSON.stringify(index));
  await writeFile(path.join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
}

export interface PushTarget {
  /** "http://127.0.0.1:5000". */
  readonly url: string;
  readonly repository: string;
  readonly tag: string;
  /** Value of the Authorization header. */
  readonly authorization?: string;
}

/** Pushes over the registry's HTTP interface, blobs first, every manifest before what refers to it. */
export async function pushImage(target: PushTarget, image: BuiltImage): Promise<string> {
  const base = `${target.url}/v2/${target.repository}`;
  const headers = target.authorization === undefined ? {} : { authorization: target.authorization };
  for (const blob of image.blobs) {
    if (isManifest(blob)) {
      const name = blob === image.root ? target.tag : blob.digest;
      const type = { 'content-type': blob.mediaType };
      await send('PUT', `${base}/manifests/${name}`, { ...headers, ...type }, blob.bytes);
      continue;
    }
    const started = await send('POST', `${base}/blobs/uploads/`, headers);
    const upload = new URL(started.headers.get('location') ?? '', base);
    upload.searchParams.set('digest', blob.digest);
    const type = { 'content-type': 'application/octet-stream' };
    await send('PUT', upload.href, { ...headers, ...type }, blob.bytes);
  }
  return image.root.digest;
}

const isManifest = ({ mediaType }: Blob): boolean => /manifest|image\.index/.test(mediaType);

async function send(
  method: string,
  url: string,
  headers: Record<string, string>,
  body?: Buffer,
): Promise<Response> {
  const response = await fetch(url, { method, headers, ...(body && { body: new Uint8Array(body) }) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${text}`);
  return response;
}
