import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import path from 'node:path';
import { allowedPath } from './allowed-path.ts';
import { createWeb, type Web } from './http.ts';
import type { ImageLimits } from './manifest.ts';
import { chooseBuild, parseStreamIndex, parseStreamProducts, type StreamFile } from './simplestreams.ts';
import type { ServerTemplate, TemplateReference } from './template-reference.ts';
import { checkRoom } from './unpack.ts';

/** A server that lists its images: "<url>/streams/v1/index.json". */
export interface ImageServer {
  /** "https://images.example". */
  readonly url: string;
  /** Whether the URL may be without TLS. */
  readonly insecure?: boolean;
}

/** One tarball that a reference stands for. */
export interface TemplateOrigin {
  /** Its file or URL. */
  readonly place: string;
  /** Known without reading it; the content has not been compared. */
  readonly digest: Digest | undefined;
  /** "linux/amd64". Empty where nothing tells but the tarball itself. */
  readonly platforms: readonly string[];
  /** Gives the tarball as a file: its own, or the one that it was fetched to. Its digest is to be checked. */
  fetch(file: string, onBytes: (done: number, total: number) => void, signal: AbortSignal): Promise<string>;
}

export interface TemplateOriginOptions {
  readonly templateDirs: readonly string[];
  readonly imageServers: Readonly<Record<string, ImageServer>>;
  readonly insecureServers: readonly string[];
  readonly architecture: string;
  readonly clock: Clock;
  readonly limits: ImageLimits;
  readonly stallMs: number;
}

const maxListBytes = 32 * 1024 ** 2;
const maxLists = 8;
const nextStep = 'add its directory to templateRoots of the agent';

export type OriginOf = (reference: TemplateReference, signal: AbortSignal) => Promise<TemplateOrigin>;

/** not-found, permission-denied, unavailable; for listed images all that simplestreams.ts throws, too. */
export function createTemplateOrigins(options: TemplateOriginOptions): OriginOf {
  const { architecture, templateDirs, imageServers, insecureServers, limits } = options;
  const insecureHosts = new Set([
    ...insecureServers,
    ...Object.values(imageServers).flatMap(({ url, insecure }) => (insecure ? [new URL(url).host] : [])),
  ]);
  const web = createWeb({
    ...options,
    isInsecure: (host) => insecureHosts.has(host) || insecureHosts.has(host.replace(/:\d{1,5}$/, '')),
  });

  function remote(
    url: string,
    known: Pick<TemplateOrigin, 'digest' | 'platforms'>,
    size?: number,
  ): TemplateOrigin {
    return {
      ...known,
      place: url,
      async fetch(file, onBytes, signal) {
        await checkRoom(path.dirname(file), size ?? 0);
        const request = { url, file, maxBytes: limits.maxBytes, sizeBytes: size, onBytes };
        await web.download(request, signal);
        return file;
      },
    };
  }

  async function listed(reference: ServerTemplate, signal: AbortSignal): Promise<TemplateOrigin> {
    const { server: name, alias, digest } = reference;
    const server = Object.hasOwn(imageServers, name) ? imageServers[name] : undefined;
    if (server === undefined) throw noServer(name, imageServers);
    const base = server.url.replace(/\/+$/, '');
    const found = await findListed(web, base, { alias, architecture, digest }, signal);
    const platforms = [`linux/${architecture}`];
    return remote(`${base}/${found.path}`, { digest: found.digest, platforms }, found.sizeBytes);
  }

  return async (reference, signal) => {
    if (reference.kind === 'server') return listed(reference, signal);
    if (reference.kind === 'url') return remote(reference.url, { digest: reference.digest, platforms: [] });
    const places = { what: 'tarball', scheme: 'tar:', directories: templateDirs, nextStep };
    const file = await allowedPath(places, reference.file);
    return {
      place: file,
      digest: undefined,
      platforms: [],
      async fetch(_file, onBytes) {
        onBytes(0, 0);
        return file;
      },
    };
  };
}

async function findListed(
  web: Web,
  base: string,
  wanted: Parameters<typeof chooseBuild>[1],
  signal: AbortSignal,
): Promise<StreamFile> {
  const lists = parseStreamIndex(await web.readText(`${base}/streams/v1/index.json`, maxListBytes, signal));
  const builds = [];
  for (const list of lists.slice(0, maxLists)) {
    builds.push(
      ...parseStreamProducts(await web.readText(`${base}/${list}`, maxListBytes, signal), wanted.alias),
    );
  }
  return chooseBuild(builds, wanted).tarball;
}

function noServer(name: string, servers: Readonly<Record<string, ImageServer>>): DroverError {
  const known = Object.keys(servers).join(', ') || 'none';
  return new DroverError('not-found', `this node knows no image server ${name}; there is ${known}`, {
    nextStep: 'add it to imageServers of the agent',
  });
}
