import { describe, expect, it } from 'vitest';
import { checkDigest, choosePlatform, digestOf, type ManifestIndex, parseManifest } from './manifest.ts';

const digest = `sha256:${'0'.repeat(64)}`;
const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const indexType = 'application/vnd.oci.image.index.v1+json';
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 10 };
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: 10 };
const image = { schemaVersion: 2, mediaType: manifestType, config, layers: [layer] };
const limits = { maxLayers: 128, maxBytes: 1000, maxFiles: 10 };
const parse = (document: unknown) => parseManifest(JSON.stringify(document), limits);

function index(...entries: readonly (readonly [architecture: string, variant?: string, os?: string])[]) {
  const manifests = entries.map(([architecture, variant, os = 'linux'], place) => ({
    mediaType: manifestType,
    digest: `sha256:${String(place).repeat(64)}`,
    size: 10,
    platform: { os, architecture, ...(variant !== undefined && { variant }) },
  }));
  return parse({ schemaVersion: 2, mediaType: indexType, manifests }) as ManifestIndex;
}

describe('parseManifest', () => {
  it('reads a manifest, of OCI and of Docker', () => {
    expect(parse(image)).toMatchObject({ kind: 'manifest', layers: [{ sizeBytes: 10 }] });
    const docker = {
      ...image,
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      layers: [{ ...layer, mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip' }],
    };
    expect(parse(docker)).toMatchObject({ kind: 'manifest' });
  });

  it.each([
    ['is no object', [image]],
    ['is both a manifest and an index', { ...image, manifests: [] }],
    ['is neither', { schemaVersion: 2 }],
    ['is of schema 1', { ...image, schemaVersion: 1 }],
    ['lies about its media type', { ...image, mediaType: indexType }],
    ['has an unknown kind of layer', { ...image, layers: [{ ...layer, mediaType: 'text/html' }] }],
    ['has a layer from elsewhere', { ...image, layers: [{ ...layer, urls: ['http://elsewhere/'] }] }],
    ['has a negative size', { ...image, layers: [{ ...layer, size: -1 }] }],
    ['has a size that is no number', { ...image, layers: [{ ...layer, size: '10' }] }],
    ['has a digest with a path', { ...image, config: { ...config, digest: 'sha256:../../etc/passwd' } }],
    ['has another hash', { ...image, config: { ...config, digest: `sha512:${'0'.repeat(128)}` } }],
    ['has a huge config', { ...image, config: { ...config, size: 1e9 } }],
    ['has no config', { ...image, config: undefined }],
    ['has layers that are no list', { ...image, layers: {} }],
  ])('refuses a document that %s', (_, document) => {
    expect(() => parse(document)).toThrow(expect.objectContaining({ kind: 'invalid-argument' }));
  });

  it('refuses what is not JSON', () => {
    expect(() => parseManifest('<html>')).toThrow(expect.objectContaining({ kind: 'invalid-argument' }));
  });

  it.each([
    ['500 layers', { ...image, layers: Array.from({ length: 500 }, () => layer) }],
    ['too many bytes', { ...image, layers: [{ ...layer, size: 1001 }] }],
  ])('says resource-exhausted for %s', (_, document) => {
    expect(() => parse(document)).toThrow(expect.objectContaining({ kind: 'resource-exhausted' }));
  });
});

describe('choosePlatform', () => {
  it.each([
    ['the only one that fits', index(['arm64'], ['amd64']), 'amd64', '1'],
    ['one with the usual variant', index(['arm', 'v7'], ['arm64', 'v8']), 'arm64', '1'],
    ['not one for newer processors only', index(['amd64', 'v3'], ['amd64']), 'amd64', '1'],
    ['not one for another system', index(['amd64', '', 'windows'], ['amd64']), 'amd64', '1'],
    ['none where none fits', index(['arm64'], ['unknown', '', 'unknown']), 'amd64', undefined],
  ])('chooses %s', (_, document, architecture, place) => {
    const wanted = place === undefined ? undefined : `sha256:${place.repeat(64)}`;
    expect(choosePlatform(document, architecture)?.digest).toBe(wanted);
  });

  it('never follows an index in an index', () => {
    const entry = { mediaType: indexType, digest, size: 1, platform: { os: 'linux', architecture: 'amd64' } };
    const nested = parse({ schemaVersion: 2, mediaType: indexType, manifests: [entry] }) as ManifestIndex;
    expect(choosePlatform(nested, 'amd64')).toBeUndefined();
  });
});

describe('checkDigest', () => {
  it('says data-loss for other content', () => {
    checkDigest('a', digestOf('a'));
    expect(() => checkDigest('a', digestOf('b'))).toThrow(expect.objectContaining({ kind: 'data-loss' }));
  });
});
