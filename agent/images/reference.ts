import path from 'node:path';
import { DroverError } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';

/** Where an image is: in a registry, or in an OCI layout on this node. */
export type Reference = RegistryReference | LayoutReference;

export interface RegistryReference {
  readonly kind: 'registry';
  /** "docker.io", "registry.example:5000". */
  readonly registry: string;
  readonly repository: string;
  /** Means nothing beside a digest, and may be empty there. */
  readonly tag: string;
  readonly digest: Digest | undefined;
}

export interface LayoutReference {
  readonly kind: 'layout';
  readonly directory: string;
  /** Empty: the only image of the layout. */
  readonly tag: string;
  readonly digest: Digest | undefined;
}

const digestText = /^sha256:[0-9a-f]{64}$/;
const tagText = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const hostText = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$/;
const componentText = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/;
const maxLength = 512;

export const isDigest = (text: string): text is Digest => digestText.test(text);

/**
 * "web", "web:1.4", "registry.example/team/web@sha256:…", "oci:/srv/images/web:1.4". Grammar of the
 * distribution project's reference package; names without a registry are docker.io's. invalid-argument.
 */
export function parseReference(text: string): Reference {
  const [name = '', digest, ...more] = text.split('@');
  if (text.length > maxLength || more.length > 0) throw fault(text);
  if (digest !== undefined && !isDigest(digest)) throw fault(text);
  const reference = name.startsWith('oci:') ? parseLayout(name.slice(4)) : parseRegistry(name);
  if (reference === undefined) throw fault(text);
  const isBare = reference.kind === 'registry' && digest === undefined && reference.tag === '';
  return { ...reference, digest, ...(isBare && { tag: 'latest' }) };
}

/** For people and lists: what was asked for, without the digest. */
export function formatReference(reference: Reference): string {
  const { tag } = reference;
  const name =
    reference.kind === 'layout'
      ? `oci:${reference.directory}`
      : `${reference.registry}/${reference.repository}`;
  return tag === '' ? name : `${name}:${tag}`;
}

function parseLayout(text: string): Omit<LayoutReference, 'digest'> | undefined {
  const [directory = '', tag = '', ...more] = text.split(':');
  if (more.length > 0 || (tag !== '' && !tagText.test(tag))) return undefined;
  if (!path.isAbsolute(directory) || /\p{Cc}/u.test(directory)) return undefined;
  if (path.normalize(directory) !== directory) return undefined;
  return { kind: 'layout', directory: directory.replace(/(.)\/$/, '$1'), tag };
}

function parseRegistry(text: string): Omit<RegistryReference, 'digest'> | undefined {
  const slash = text.indexOf('/');
  const first = text.slice(0, Math.max(slash, 0));
  const named = slash > 0 && (/[.:]/.test(first) || first === 'localhost');
  const registry = named ? first : 'docker.io';
  const rest = named ? text.slice(slash + 1) : text;
  const [bare = '', tag, ...more] = rest.split(':');
  const repository = named || bare.includes('/') ? bare : `library/${bare}`;
  const isValid =
    more.length === 0 &&
    hostText.test(registry) &&
    (tag === undefined || tagText.test(tag)) &&
    repository.split('/').every((component) => componentText.test(component));
  return isValid ? { kind: 'registry', registry, repository, tag: tag ?? '' } : undefined;
}

function fault(text: string): DroverError {
  const shown = JSON.stringify(text.slice(0, 100));
  return new DroverError(
    'invalid-argument',
    `${shown} is not an image reference; wanted such as "registry.example/web:1.4", "web@sha256:…" or ` +
      `"oci:/path/to/layout"`,
    { subject: { image: text.slice(0, 100) } },
  );
}
