import { describe, expect, it } from 'vitest';
import { checkImage, parseOne } from '#shared/wire/checks.ts';
import { parseReference } from './reference.ts';
import { parseTemplateReference } from './template-reference.ts';

const reads = (parse: (text: string) => unknown, text: string): boolean => {
  try {
    parse(text);
    return true;
  } catch {
    return false;
  }
};
const digest = `sha256:${'a'.repeat(64)}`;

/** What the fleet lets pass, one source of a node must read, and one alone. */
describe('references to images', () => {
  it.each([
    ['registry.example/web:1.4', 'oci'],
    [`registry.example:5000/team/web@${digest}`, 'oci'],
    ['localhost:5000/web', 'oci'],
    ['lxc:5000/web', 'oci'],
    ['oci:/srv/layouts/web', 'oci'],
    [`oci:/srv/layouts/web:1@${digest}`, 'oci'],
    ['tar:/srv/templates/web.tar.xz', 'lxc-template'],
    [`tar:/srv/templates/web.tar@${digest}`, 'lxc-template'],
    [`https://images.example/web.tar.xz@${digest}`, 'lxc-template'],
    [`http://images.example:8080/a/web.tar.xz@${digest}`, 'lxc-template'],
    [`https://[::1]:8443/web.tar.xz@${digest}`, 'lxc-template'],
    ['lxc:images/debian/12', 'lxc-template'],
    [`lxc:images/debian/12/cloud@${digest}`, 'lxc-template'],
    ['lxc:lab-2/noble', 'lxc-template'],
  ])('%s is read by %s alone', (text, source) => {
    expect(parseOne('the image', (faults) => checkImage(text, 'image', faults))).toBe(text);
    const found = { oci: reads(parseReference, text), 'lxc-template': reads(parseTemplateReference, text) };
    expect(found).toEqual({ oci: source === 'oci', 'lxc-template': source === 'lxc-template' });
  });

  it.each([
    'tar:web.tar',
    'tar:/srv/../etc/shadow',
    'tar:/srv/./web.tar',
    'tar:/srv//web.tar',
    'tar:/-x',
    'https://images.example/web.tar.xz',
    `https://images.example/../web.tar.xz@${digest}`,
    `https://user:secret@images.example/web.tar.xz@${digest}`,
    `ftp://images.example/web.tar.xz@${digest}`,
    'lxc:images',
    'lxc:Images/debian',
    'lxc:images/../debian',
    'lxc:images/a/b/c/d/e/f/g',
    `lxc:images/debian@sha256:${'A'.repeat(64)}`,
    'oci:relative',
  ])('%s is refused by the fleet, and is no tarball', (text) => {
    expect(reads((each) => parseOne('it', (faults) => checkImage(each, 'image', faults)), text)).toBe(false);
    expect(reads(parseTemplateReference, text)).toBe(false);
  });
});
