/** What nodes can download: files that a test names by URL, and what a server on loopback gives. */
import { createHash } from 'node:crypto';
import { get } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { virtualSizeOf } from './qcow2.ts';

export interface Downloaded {
  readonly status: number;
  readonly reason: string;
  readonly mimeType: string;
  readonly bytes: number;
  /** Of a disk image. */
  readonly virtualBytes?: number;
  readonly sha256: string;
  readonly sha512: string;
}

/** An image in a registry. */
export interface RegistryImage {
  readonly bytes: number;
  /** Its ENTRYPOINT and CMD in one. */
  readonly command: readonly string[];
  /** "PATH=/bin". */
  readonly env: readonly string[];
}

export interface Internet {
  /** By reference with its tag: "registry.example/web:1.4". */
  readonly images: Map<string, RegistryImage>;
  /** By URL; another file of the same host is not found there. */
  readonly files: Map<string, Uint8Array>;
  /** Throws where nothing listens. */
  fetch(url: string): Promise<Downloaded>;
}

export function createInternet(): Internet {
  const files = new Map<string, Uint8Array>();
  return {
    images: new Map(),
    files,
    async fetch(url) {
      const file = files.get(url);
      if (file !== undefined) return downloaded(200, 'OK', mimeTypeOf(url), file);
      const { protocol, hostname, origin } = new URL(url);
      const isServed = [...files.keys()].some((one) => new URL(one).origin === origin);
      if (isServed) return downloaded(404, 'Not Found', 'text/html', new Uint8Array());
      const isLoopback = hostname.startsWith('127.') || hostname === 'localhost';
      if (protocol !== 'http:' || !isLoopback) throw new Error('Connection refused');
      return fetchOverHttp(url);
    },
  };
}

const mimeTypeOf = (url: string): string =>
  url.endsWith('.gz') ? 'application/gzip' : 'application/octet-stream';

async function fetchOverHttp(url: string): Promise<Downloaded> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(url, { agent: false }, resolve).on('error', () => reject(new Error('Connection refused')));
  });
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const type = response.headers['content-type'] ?? 'application/octet-stream';
  return downloaded(response.statusCode ?? 0, response.statusMessage ?? '', type, Buffer.concat(chunks));
}

function downloaded(status: number, reason: string, mimeType: string, content: Uint8Array): Downloaded {
  const digest = (algorithm: string): string => createHash(algorithm).update(content).digest('hex');
  const virtualBytes = virtualSizeOf(content);
  return {
    status,
    reason,
    mimeType,
    bytes: content.length,
    ...(virtualBytes !== undefined && { virtualBytes }),
    sha256: digest('sha256'),
    sha512: digest('sha512'),
  };
}
