/** Servers of root file systems on loopback: plain files, the lists that public servers have, and faults. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { busyboxLayer } from './image-builder.ts';
import { type TarEntry, writeTar } from './tar.ts';

export interface Tarball {
  readonly bytes: Buffer;
  /** "sha256:…" of it. */
  readonly digest: string;
}

export const makeTarball = (bytes: Buffer): Tarball => ({
  bytes,
  digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}`,
});

export function xz(bytes: Buffer): Buffer {
  const { status, stdout } = spawnSync('xz', ['-1', '--stdout'], { input: bytes, maxBuffer: 2 ** 28 });
  if (status !== 0) throw new Error('no xz; install it: apt-get install xz-utils');
  return stdout;
}

/** As busybox would be distributed for system containers: with an init that powers off when it is told to. */
export async function systemTarball(extra: readonly TarEntry[] = []): Promise<Tarball> {
  const init: readonly TarEntry[] = [
    { name: 'sbin/', type: 'directory' },
    { name: 'sbin/init', type: 'symlink', target: '../bin/busybox', mode: 0o777 },
    { name: 'etc/hostname', content: 'template\n' },
    { name: 'etc/inittab', content: '::respawn:/bin/sleep 1000\n' },
  ];
  return makeTarball(xz(writeTar([...(await busyboxLayer()), ...init, ...extra])));
}

/** The same without an init; its command is a shell. */
export async function shellTarball(extra: readonly TarEntry[] = []): Promise<Tarball> {
  const hostname: TarEntry = { name: 'etc/hostname', content: 'template\n' };
  return makeTarball(xz(writeTar([...(await busyboxLayer()), hostname, ...extra])));
}

/** A program's first bytes, for a processor by its number in ELF. */
export function elfHeader(machine: number): Buffer {
  const header = Buffer.alloc(64);
  header.write('\u007fELF\u0002\u0001\u0001', 0, 'latin1');
  header.writeUInt16LE(machine, 18);
  return header;
}

export interface ListedBuild {
  /** "debian/12". */
  readonly alias: string;
  readonly architecture: string;
  /** "20260301_05:24". */
  readonly version: string;
  readonly tarball: Tarball;
  /** "root.tar.xz" where left out. */
  readonly form?: string;
}

/** What breaks the next answers for a path, one each. */
export type Fault =
  | { readonly kind: 'cut'; readonly afterBytes: number }
  | { readonly kind: 'stall'; readonly afterBytes: number }
  | { readonly kind: 'status'; readonly status: number; readonly location?: string };

export interface ImageServer extends AsyncDisposable {
  /** "127.0.0.1:34567". */
  readonly address: string;
  /** "http://127.0.0.1:34567". */
  readonly url: string;
  /** By path without the first slash. */
  readonly files: Map<string, Buffer>;
  readonly faults: Map<string, Fault[]>;
  /** "GET /path", with " from N" for a part. */
  readonly requests: string[];
  /** Makes the lists that name these builds, and serves them. */
  list(builds: readonly ListedBuild[]): void;
}

export async function startImageServer(tls?: {
  readonly key: string;
  readonly cert: string;
}): Promise<ImageServer> {
  const files = new Map<string, Buffer>();
  const faults = new Map<string, Fault[]>();
  const requests: string[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse): void => {
    const name = decodeURI((request.url ?? '').slice(1));
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    requests.push(`GET /${name}${from > 0 ? ` from ${from}` : ''}`);
    send(response, files.get(name), from, faults.get(name)?.shift());
  };
  const server = tls === undefined ? createServer(answer) : createTlsServer(tls, answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    address,
    url: `${tls === undefined ? 'http' : 'https'}://${address}`,
    files,
    faults,
    requests,
    list: (builds) => serveLists(files, builds),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function send(
  response: ServerResponse,
  file: Buffer | undefined,
  from: number,
  fault: Fault | undefined,
): void {
  if (fault?.kind === 'status') {
    const headers = fault.location === undefined ? {} : { location: fault.location };
    response.writeHead(fault.status, headers).end();
    return;
  }
  if (file === undefined) {
    response.writeHead(404).end();
    return;
  }
  const part = file.subarray(from);
  response.writeHead(from > 0 ? 206 : 200, {
    'content-length': part.length,
    ...(from > 0 && { 'content-range': `bytes ${from}-${file.length - 1}/${file.length}` }),
  });
  if (fault === undefined) {
    response.end(part);
    return;
  }
  response.write(part.subarray(0, fault.afterBytes), () => {
    if (fault.kind === 'cut') response.destroy();
  });
}

/** Recorded in shape from public servers of LXC images: format "index:1.0" and "products:1.0". */
function serveLists(files: Map<string, Buffer>, builds: readonly ListedBuild[]): void {
  const products: Record<string, { versions: Record<string, unknown>; [key: string]: unknown }> = {};
  for (const { alias, architecture, version, tarball, form = 'root.tar.xz' } of builds) {
    const [os = '', release = ''] = alias.split('/');
    const name = `${os}:${release}:${architecture}:default`;
    const path = `images/${os}/${release}/${architecture}/default/${version}/${form}`;
    files.set(path, tarball.bytes);
    const aliases = `${alias}/default,${alias}`;
    const product = { aliases, arch: architecture, os, release, release_title: release, variant: 'default' };
    const sha256 = tarball.digest.slice('sha256:'.length);
    const items = {
      'lxd.tar.xz': { ftype: 'lxd.tar.xz', path: path.replace(form, 'lxd.tar.xz'), sha256, size: 1 },
      [form]: { ftype: form, path, sha256, size: tarball.bytes.length },
    };
    products[name] ??= { ...product, versions: {} };
    products[name].versions[version] = { items };
  }
  const list = { content_id: 'images', datatype: 'image-downloads', format: 'products:1.0', products };
  const index = {
    format: 'index:1.0',
    index: {
      images: {
        datatype: 'image-downloads',
        path: 'streams/v1/images.json',
        format: 'products:1.0',
        products: Object.keys(products),
      },
    },
  };
  files.set('streams/v1/images.json', Buffer.from(JSON.stringify(list)));
  files.set('streams/v1/index.json', Buffer.from(JSON.stringify(index)));
}
