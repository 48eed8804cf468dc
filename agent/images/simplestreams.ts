import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import { object, parseObject, refuse } from './manifest.ts';
import { isDigest } from './reference.ts';

/** One build of an image, as a server lists it. */
export interface StreamBuild {
  /** "amd64", in the words of OCI. */
  readonly architecture: string;
  /** Sortable: the newest is the last. */
  readonly version: string;
  readonly tarball: StreamFile | undefined;
  /** What else there is of a root file system, as the server calls it: "squashfs". */
  readonly otherForms: readonly string[];
}

export interface StreamFile {
  /** Below the server's URL. */
  readonly path: string;
  /** Of the file. */
  readonly digest: Digest;
  readonly sizeBytes: number;
}

const maxBuilds = 100_000;
const pathText = /^[A-Za-z0-9_][A-Za-z0-9._~+:%-]*(?:\/[A-Za-z0-9_][A-Za-z0-9._~+:%-]*)*$/;
/** Plain roots; what is called combined has the server's own files beside. */
const tarballForms = ['root.tar.xz', 'root.tar.gz', 'root.tar', 'rootfs.tar.xz', 'rootfs.tar.gz'];
const otherRootForms = /^(?:root(?:fs)?\.)?squashfs$|combined/;
const ociArchitecture: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  aarch64: 'arm64',
  armhf: 'arm',
  armv7l: 'arm',
  i686: '386',
  i386: '386',
  ppc64el: 'ppc64le',
};

/** Paths of the lists of images that an index names ("streams/v1/index.json"). invalid-argument. */
export function parseStreamIndex(raw: string): string[] {
  const document = parseObject(raw);
  expectFormat(document, 'index:1.0');
  const lists = Object.values(object(document['index'], 'index')).map((entry) => object(entry, 'index'));
  const images = lists.filter(
    (entry) =>
      entry['datatype'] === 'image-downloads' && (entry['format'] ?? productsFormat) === productsFormat,
  );
  return images.map((entry) => checkPath(entry['path']));
}

const productsFormat = 'products:1.0';

/** The builds that have the alias in a list of images ("streams/v1/images.json"). invalid-argument. */
export function parseStreamProducts(raw: string, alias: string): StreamBuild[] {
  const document = parseObject(raw);
  expectFormat(document, productsFormat);
  const builds: StreamBuild[] = [];
  for (const value of Object.values(object(document['products'], 'products'))) {
    const product = object(value, 'products');
    const named = String(product['arch']);
    const architecture = ociArchitecture[named] ?? named;
    if (!aliasesOf(product).includes(alias)) continue;
    for (const [version, listed] of Object.entries(object(product['versions'] ?? {}, 'versions'))) {
      const items = Object.values(object(object(listed, 'versions')['items'] ?? {}, 'items'));
      builds.push({ architecture, version, ...parseItems(items) });
      if (builds.length > maxBuilds) throw refuse(`a list of more than ${maxBuilds} builds`);
    }
  }
  return builds;
}

/** The aliases as listed, and the places in the tree of systems that every such server has. */
function aliasesOf(product: Record<string, unknown>): string[] {
  const listed = typeof product['aliases'] === 'string' ? product['aliases'].split(',') : [];
  const [system, release, variant] = ['os', 'release', 'variant'].map((key) =>
    typeof product[key] === 'string' ? product[key].toLowerCase() : '',
  );
  const place = `${system}/${release}`;
  const placed =
    variant === '' ? [place] : [`${place}/${variant}`, ...(variant === 'default' ? [place] : [])];
  return [...new Set([...listed.map((alias) => alias.trim()), ...placed])];
}

function parseItems(items: readonly unknown[]): Pick<StreamBuild, 'tarball' | 'otherForms'> {
  const entries = items.map((item) => object(item, 'items'));
  const formOf = (entry: Record<string, unknown>): string => String(entry['ftype']);
  const best = tarballForms.flatMap((form) => entries.filter((entry) => formOf(entry) === form))[0];
  return {
    tarball: best === undefined ? undefined : parseFile(best),
    otherForms: entries.map(formOf).filter((form) => otherRootForms.test(form)),
  };
}

function parseFile(entry: Record<string, unknown>): StreamFile {
  const digest = `sha256:${String(entry['sha256'])}`;
  const size = entry['size'];
  if (!isDigest(digest)) throw refuse('the server lists a file without a sha256');
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw refuse('the server lists a file without a size');
  }
  return { path: checkPath(entry['path']), digest, sizeBytes: size };
}

function checkPath(value: unknown): string {
  if (typeof value === 'string' && pathText.test(value) && !value.includes('..')) return value;
  throw refuse(`the server lists a path ${(JSON.stringify(value) ?? 'none').slice(0, 100)}`);
}

function expectFormat(document: Record<string, unknown>, wanted: string): void {
  if (document['format'] === wanted) return;
  const found = (JSON.stringify(document['format']) ?? 'none').slice(0, 100);
  throw refuse(`the server's list has format ${found}, wanted ${wanted}`);
}

/**
 * The newest of an alias' builds for the architecture, or the one with the digest. not-found, with what
 * there is instead; unimplemented where there is no tarball of it.
 */
export function chooseBuild(
  builds: readonly StreamBuild[],
  wanted: { readonly alias: string; readonly architecture: string; readonly digest: Digest | undefined },
): StreamBuild & { readonly tarball: StreamFile } {
  const { alias, architecture, digest } = wanted;
  if (builds.length === 0) throw new DroverError('not-found', `the server has no image ${alias}`);
  const pinned = builds.filter(({ tarball }) => digest === undefined || tarball?.digest === digest);
  if (pinned.length === 0) {
    const nextStep = 'servers keep a few builds only: resolve the image anew';
    throw new DroverError('not-found', `the server has no build ${digest} of ${alias}`, { nextStep });
  }
  const fitting = pinned.filter((build) => build.architecture === architecture);
  if (fitting.length === 0) {
    const found = [...new Set(pinned.map((build) => `linux/${build.architecture}`))].join(', ');
    throw new DroverError(
      'not-found',
      `no image for this platform: wanted linux/${architecture}, found ${found}`,
      { reason: 'no-platform' },
    );
  }
  const newestFirst = fitting.toSorted((one, other) => (one.version < other.version ? 1 : -1));
  const best = newestFirst.find(({ tarball }) => tarball !== undefined);
  if (best?.tarball !== undefined) return { ...best, tarball: best.tarball };
  const forms = newestFirst[0]?.otherForms.join(', ') || 'nothing';
  throw new DroverError('unimplemented', `the server has ${alias} as ${forms} only, and no root.tar.xz`, {
    nextStep:
      'unpack it elsewhere (unsquashfs), make a tar.xz of it, and name that as tar:/path or https://…',
  });
}
