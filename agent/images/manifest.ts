import { createHash } from 'node:crypto';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import { isDigest } from './reference.ts';

/** OCI image specification 1.1, "Content Descriptors". */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
}

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** Empty where there is none. */
  readonly variant: string;
}

export interface Manifest {
  readonly kind: 'manifest';
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

export interface ManifestIndex {
  readonly kind: 'index';
  readonly manifests: readonly (Descriptor & { readonly platform: Platform | undefined })[];
}

/** What an image may cost a node. */
export interface ImageLimits {
  readonly maxLayers: number;
  /** Of all layers, unpacked. */
  readonly maxBytes: number;
  /** Entries of all layers. */
  readonly maxFiles: number;
}

export const defaultLimits: ImageLimits = { maxLayers: 128, maxBytes: 32 * 1024 ** 3, maxFiles: 1_000_000 };

const maxManifestBytes = 4 * 1024 ** 2;
const indexTypes = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
];
const manifestTypes = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
];
const gzipLayers = [
  'application/vnd.oci.image.layer.v1.tar+gzip',
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
];
const plainLayers = [
  'application/vnd.oci.image.layer.v1.tar',
  'application/vnd.docker.image.rootfs.diff.tar',
];

export const isGzip = (layer: Descriptor): boolean => gzipLayers.includes(layer.mediaType);

export const digestOf = (bytes: Uint8Array | string): Digest =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;

export const formatPlatform = ({ os, architecture, variant }: Platform): string =>
  variant === '' ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;

/** data-loss where the bytes are not what the digest says. */
export function checkDigest(bytes: Uint8Array | string, wanted: Digest): void {
  const found = digestOf(bytes);
  if (found === wanted) return;
  throw new DroverError('data-loss', `wanted ${wanted}, found content of ${found}`);
}

/**
 * Reads a manifest or an index. What could be taken for both is refused (CVE-2021-41190), as are layers
 * that would come from elsewhere, other hash functions, and what is too much. invalid-argument, resource-
 * exhausted.
 */
export function parseManifest(raw: string, limits: ImageLimits = defaultLimits): Manifest | ManifestIndex {
  if (raw.length > maxManifestBytes) throw refuse(`a manifest of ${raw.length} bytes`);
  const document = parseObject(raw);
  const isIndex = document['manifests'] !== undefined;
  if (isIndex === (document['layers'] !== undefined || document['config'] !== undefined)) {
    throw refuse('neither clearly a manifest nor clearly an index');
  }
  const { mediaType = isIndex ? indexTypes[0] : manifestTypes[0], schemaVersion } = document;
  if (schemaVersion !== 2) throw refuse(`schema version ${String(schemaVersion)}, wanted 2`);
  const types = isIndex ? indexTypes : manifestTypes;
  if (!types.includes(String(mediaType))) throw refuse(`media type ${show(mediaType)}`);
  return isIndex ? parseIndex(document) : parseImageManifest(document, limits);
}

function parseIndex(document: Record<string, unknown>): ManifestIndex {
  const manifests = list(document['manifests'], 'manifests').map((entry) => ({
    ...parseDescriptor(entry, 'manifests'),
    platform: parsePlatform(object(entry, 'manifests')['platform']),
  }));
  return { kind: 'index', manifests };
}

function parseImageManifest(document: Record<string, unknown>, limits: ImageLimits): Manifest {
  const layers = list(document['layers'], 'layers').map((layer) => parseLayer(layer));
  if (layers.length > limits.maxLayers) {
    throw new DroverError('resource-exhausted', `${layers.length} layers, at most ${limits.maxLayers}`);
  }
  const total = layers.reduce((sum, layer) => sum + layer.sizeBytes, 0);
  if (total > limits.maxBytes) {
    throw new DroverError('resource-exhausted', `layers of ${total} bytes, at most ${limits.maxBytes}`);
  }
  const config = parseDescriptor(document['config'], 'config');
  if (config.sizeBytes > maxManifestBytes) throw refuse(`a config of ${config.sizeBytes} bytes`);
  return { kind: 'manifest', config, layers };
}

function parseLayer(value: unknown): Descriptor {
  const layer = parseDescriptor(value, 'layers');
  if (object(value, 'layers')['urls'] !== undefined) throw refuse('a layer that is to come from elsewhere');
  if (![...gzipLayers, ...plainLayers].includes(layer.mediaType)) {
    throw refuse(`a layer of media type ${show(layer.mediaType)}; wanted tar, or tar with gzip`);
  }
  return layer;
}

function parseDescriptor(value: unknown, where: string): Descriptor {
  const { mediaType, digest, size } = object(value, where);
  if (typeof mediaType !== 'string') throw refuse(`media type ${show(mediaType)} in ${where}`);
  if (typeof digest !== 'string' || !isDigest(digest)) throw refuse(`digest ${show(digest)} in ${where}`);
  if (!Number.isSafeInteger(size) || Number(size) < 0) throw refuse(`size ${show(size)} in ${where}`);
  return { mediaType, digest, sizeBytes: Number(size) };
}

function parsePlatform(value: unknown): Platform | undefined {
  if (value === undefined) return undefined;
  const { os, architecture, variant = '' } = object(value, 'platform');
  const words = [os, architecture, variant].map(String);
  if (!words.every((word) => /^[A-Za-z0-9._-]{0,64}$/.test(word))) throw refuse(`platform ${show(words)}`);
  return { os: words[0] ?? '', architecture: words[1] ?? '', variant: words[2] ?? '' };
}

/**
 * The manifest for a node; undefined where there is none. Of several variants the plain or oldest one that
 * the architecture always has: v8 for arm64, v1 for amd64. An index in an index is never followed.
 */
export function choosePlatform(index: ManifestIndex, architecture: string): Descriptor | undefined {
  const fitting = index.manifests.filter(
    ({ platform, mediaType }) =>
      manifestTypes.includes(mediaType) &&
      platform?.os === 'linux' &&
      platform.architecture === architecture &&
      ['', 'v1', 'v8'].includes(platform.variant),
  );
  return fitting[0];
}

/** As people read them; entries such as attestations, which run nowhere, are left out. */
export function platformsOf(index: ManifestIndex): string[] {
  const platforms = index.manifests.flatMap(({ platform }) => (platform === undefined ? [] : [platform]));
  return [...new Set(platforms.filter(({ os }) => os !== 'unknown').map(formatPlatform))];
}

export function parseObject(raw: string): Record<string, unknown> {
  try {
    return object(JSON.parse(raw), 'document');
  } catch (cause) {
    if (cause instanceof DroverError) throw cause;
    throw new DroverError('invalid-argument', 'the image is broken: wanted JSON', { cause });
  }
}

export function object(value: unknown, where: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>;
  }
  throw refuse(`${where} is not an object`);
}

function list(value: unknown, where: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw refuse(`${where} is not a list`);
}

const show = (value: unknown): string => (JSON.stringify(value) ?? 'none').slice(0, 100);

/** A broken or hostile image. */
export const refuse = (found: string): DroverError =>
  new DroverError('invalid-argument', `the image is refused: ${found}`, { reason: 'bad-image' });
