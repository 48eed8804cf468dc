import { describe, expect, it } from 'vitest';
import { formatReference, parseReference } from './reference.ts';

const digest = `sha256:${'0a'.repeat(32)}`;

describe('parseReference', () => {
  it.each([
    ['web', 'docker.io', 'library/web', 'latest'],
    ['web:1.4', 'docker.io', 'library/web', '1.4'],
    ['team/web', 'docker.io', 'team/web', 'latest'],
    ['registry.example/web:1.4', 'registry.example', 'web', '1.4'],
    ['localhost/web', 'localhost', 'web', 'latest'],
    ['127.0.0.1:5000/a/b-c/d__e:x_Y.z', '127.0.0.1:5000', 'a/b-c/d__e', 'x_Y.z'],
    ['[::1]:5000/web', '[::1]:5000', 'web', 'latest'],
    [`registry.example/web@${digest}`, 'registry.example', 'web', ''],
    [`registry.example/web:1@${digest}`, 'registry.example', 'web', '1'],
  ])('reads %s', (text, registry, repository, tag) => {
    expect(parseReference(text)).toMatchObject({ kind: 'registry', registry, repository, tag });
  });

  it.each([
    ['oci:/srv/images/web', '/srv/images/web', ''],
    ['oci:/srv/images/web:1.4', '/srv/images/web', '1.4'],
    [`oci:/srv/images/web:1.4@${digest}`, '/srv/images/web', '1.4'],
  ])('reads the layout %s', (text, directory, tag) => {
    expect(parseReference(text)).toMatchObject({ kind: 'layout', directory, tag });
  });

  it.each([
    '',
    '--help',
    '-web',
    'Web',
    'web:',
    'web: 1',
    'web\n',
    'web:1:2',
    'web@sha256:00',
    `web@${digest}@${digest}`,
    `web@${digest.toUpperCase()}`,
    'registry.example/',
    'registry.example//web',
    'registry.example/../web',
    'registry.example:port/web',
    'docker://web',
    'oci:relative',
    'oci:/srv/../etc',
    'oci:/srv\n/x',
    `a${'/a'.repeat(300)}`,
  ])('refuses %j', (text) => {
    expect(() => parseReference(text)).toThrow(expect.objectContaining({ kind: 'invalid-argument' }));
  });

  it('formats what was asked for without the digest', () => {
    expect(formatReference(parseReference(`web:1@${digest}`))).toBe('docker.io/library/web:1');
    expect(formatReference(parseReference('oci:/srv/web'))).toBe('oci:/srv/web');
  });
});
