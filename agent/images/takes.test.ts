import { describe, expect, it } from 'vitest';
import { checkImage, parseOne } from '#shared/wire/checks.ts';
import { imageSourceOf } from '../instances/tools.ts';
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
    'proxmox:local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst',
    `proxmox:local-lvm:import/noble.qcow2@${digest}`,
    'proxmox:nas_2:iso/alpine-3.20.iso',
    'proxmox:template/debian-12',
    'proxmox:template/9000',
    'proxmox:guest/101',
  ])('%s passes the fleet, is for clusters, and is read by no source of a node', (text) => {
    expect(parseOne('the image', (faults) => checkImage(text, 'image', faults))).toBe(text);
    expect([reads(parseReference, text), reads(parseTemplateReference, text)]).toEqual([false, false]);
    expect(() => imageSourceOf({ images: [] }, text)).toThrow(/image of a Proxmox cluster/);
  });

  it.each([
    'proxmox:',
    'proxmox:local',
    'proxmox:local:vztmpl/',
    'proxmox:local:vztmpl/../x',
    'proxmox:local:vztmpl/a/b',
    'proxmox:local:images/x.qcow2',
    'proxmox:local:iso/a,b.iso',
    'proxmox:-local:iso/a.iso',
    'proxmox:template/',
    'proxmox:template/a b',
    'proxmox:/etc/passwd',
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
