import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import { isDigest } from './reference.ts';

/** Where a root file system's tarball is. */
export type TemplateReference = FileTemplate | UrlTemplate | ServerTemplate;

/** On this node. */
export interface FileTemplate {
  readonly kind: 'file';
  readonly file: string;
  readonly digest: Digest | undefined;
}

/** On a web server. */
export interface UrlTemplate {
  readonly kind: 'url';
  readonly url: string;
  readonly digest: Digest;
}

/** On a server that lists its images: "lxc:SERVER/debian/12". */
export interface ServerTemplate {
  readonly kind: 'server';
  /** A name in the agent's configuration. */
  readonly server: string;
  /** "debian/12/default". */
  readonly alias: string;
  readonly digest: Digest | undefined;
}

const fileText = /^(?:\/[A-Za-z0-9_][A-Za-z0-9._-]*)+$/;
const urlText = /^https?:\/\/[A-Za-z0-9.:[\]-]{1,300}(?:\/[A-Za-z0-9_][A-Za-z0-9._~+-]*)+$/;
const serverNameText = /^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$/;
const aliasPartText = /^[a-z0-9][a-z0-9._-]{0,63}$/;
const maxLength = 512;

/**
 * "tar:/srv/templates/web.tar.xz", "https://images.example/web.tar.xz@sha256:…", "lxc:images/debian/12".
 * invalid-argument.
 */
export function parseTemplateReference(text: string): TemplateReference {
  const [name = '', digest, ...more] = text.split('@');
  if (text.length > maxLength || more.length > 0 || text.includes('..')) throw fault(text);
  if (digest !== undefined && !isDigest(digest)) throw fault(text);
  const reference = parseName(name, digest);
  if (reference === undefined) throw fault(text);
  return reference;
}

function parseName(name: string, digest: Digest | undefined): TemplateReference | undefined {
  if (name.startsWith('tar:')) {
    const file = name.slice('tar:'.length);
    return fileText.test(file) && path.normalize(file) === file ? { kind: 'file', file, digest } : undefined;
  }
  if (name.startsWith('lxc:')) {
    const [server = '', ...parts] = name.slice('lxc:'.length).split('/');
    const isValid =
      serverNameText.test(server) &&
      parts.length >= 1 &&
      parts.length <= 6 &&
      parts.every((part) => aliasPartText.test(part));
    return isValid ? { kind: 'server', server, alias: parts.join('/'), digest } : undefined;
  }
  if (!urlText.test(name) || !URL.canParse(name) || digest === undefined) return undefined;
  return { kind: 'url', url: name, digest };
}

/** As people write it, without the digest. */
export function formatTemplateReference(reference: TemplateReference): string {
  switch (reference.kind) {
    case 'file':
      return `tar:${reference.file}`;
    case 'url':
      return reference.url;
    case 'server':
      return `lxc:${reference.server}/${reference.alias}`;
  }
}

function fault(text: string): DroverError {
  const shown = JSON.stringify(text.slice(0, 100));
  return new DroverError(
    'invalid-argument',
    `${shown} is not a reference to a tarball; wanted such as "tar:/path/rootfs.tar.xz", ` +
      `"https://host/rootfs.tar.xz@sha256:…" or "lxc:server/debian/12"`,
    { subject: { image: text.slice(0, 100) } },
  );
}
