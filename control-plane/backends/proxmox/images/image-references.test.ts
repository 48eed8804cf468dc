import { describe, expect, it } from 'vitest';
import type { Digest } from '#shared/model.ts';
import { checkImage, collectFaults } from '#shared/wire/checks.ts';
import { pinImage } from '../../../store/instance-template.ts';
import {
  digestIn,
  digestOfStored,
  identityOf,
  isOciImage,
  parseImage,
  storedImage,
  storedName,
} from './image-references.ts';
import { ociFileName, storedOci } from './oci-names.ts';

const digest = `sha256:${'a'.repeat(64)}` as Digest;

describe('an image for a cluster', () => {
  it.each([
    [
      'proxmox:local:vztmpl/debian-12.tar.zst',
      { kind: 'stored', storage: 'local', content: 'vztmpl', volid: 'local:vztmpl/debian-12.tar.zst' },
    ],
    [
      'proxmox:nfs-1:import/noble.qcow2',
      { kind: 'stored', storage: 'nfs-1', content: 'import', volid: 'nfs-1:import/noble.qcow2' },
    ],
    ['proxmox:template/9000', { kind: 'template', name: '9000' }],
    ['proxmox:guest/105', { kind: 'guest', vmid: 105, snapshot: '' }],
    ['proxmox:guest/105@before-9', { kind: 'guest', vmid: 105, snapshot: 'before-9' }],
    ['tar:/srv/rootfs.tar.xz', { kind: 'file', path: '/srv/rootfs.tar.xz', digest: undefined }],
  ])('is read out of %s, pinned or not', (image, read) => {
    const faults = collectFaults();
    expect(checkImage(image, 'image', faults)).toBe(image);
    faults.throwIfAny('image');
    expect(parseImage(image)).toEqual(read);
    const pinned = pinImage(image, digest);
    expect(parseImage(pinned)).toEqual(read.kind === 'file' ? { ...read, digest } : read);
    expect(digestIn(pinned)).toBe(digest);
  });

  it('comes from the net with its digest alone', () => {
    const url = 'https://images.example/noble.qcow2';
    expect(parseImage(`${url}@${digest}`)).toEqual({ kind: 'url', url, digest });
    for (const image of [
      url,
      'nginx:1',
      'oci:/srv/layout',
      'lxc:images/debian/12',
      'lxc:1/debian',
      '[::1]:5/a',
    ])
      expect(() => parseImage(image)).toThrow(expect.objectContaining({ kind: 'unimplemented' }) as Error);
  });

  it.each([
    ['https://h/a.tar.xz', 'vztmpl', '.tar.xz'],
    ['https://h/a.tgz?x=1', 'vztmpl', '.tar.gz'],
    ['https://h/a.tar.bz2', 'vztmpl', '.tar.bz2'],
    ['/srv/A.QCOW2', 'import', '.qcow2'],
    ['https://h/a.iso', 'iso', '.iso'],
    ['https://h/a.img', 'import', '.qcow2'],
  ])('has a name of its digest: %s is %s', (from, content, ending) => {
    const { name, content: found } = storedName(digest, from);
    expect([found, name]).toEqual([content, `drover-sha256-${'a'.repeat(64)}${ending}`]);
    expect(digestOfStored(`local:${content}/${name}`)).toBe(digest);
  });

  it('that ends in nothing known is refused, and a file of somebody else’s has no digest', () => {
    expect(() => storedName(digest, 'https://h/a')).toThrow(/wanted an image that ends in/);
    expect(digestOfStored('local:vztmpl/debian.tar.gz')).toBeUndefined();
    expect(identityOf('local:vztmpl/a', 1)).not.toBe(identityOf('local:vztmpl/a', 2));
  });
});

describe('an image in a registry', () => {
  it.each([
    ['registry.example:5000/team/my_web:1.4', 'registry.example:5000/team/my_web:1.4'],
    ['registry.example/web', 'registry.example/web:latest'],
  ])('is read out of %s, pinned or not, and keeps its tag', (image, reference) => {
    const faults = collectFaults();
    expect(checkImage(image, 'image', faults)).toBe(image);
    faults.throwIfAny('image');
    expect(isOciImage(image)).toBe(true);
    for (const each of [image, pinImage(image, digest, 'proxmox-lxc')])
      expect(parseImage(each)).toEqual({ kind: 'oci', reference });
    expect(pinImage('registry.example/web:1.4', digest)).toBe(`registry.example/web@${digest}`);
  });

  it.each(['r.example:5000/a/b_c:1', 'r.example/a_b:1', 'r.example/a/b:1', 'R.example/a__b/c-d:V_1.0-x'])(
    'has a file of its own, which tells it again: %s',
    (reference) => {
      const name = ociFileName(reference);
      expect(name).toMatch(/^drover-oci-[A-Za-z0-9_.-]+$/);
      expect(storedOci(`local:vztmpl/${name}.tar`)).toEqual({ name, reference });
      const image = storedImage({ volid: `local:vztmpl/${name}.tar`, sizeBytes: 7 });
      expect(image).toMatchObject({ reference, isOurs: true });
      expect(storedImage({ volid: `nfs:vztmpl/${name}.tar`, sizeBytes: 7 }).digest).toBe(image.digest);
      expect(storedImage({ volid: `local:vztmpl/${name}.tar`, sizeBytes: 8 }).digest).not.toBe(image.digest);
    },
  );

  it('of a reference that is too long for a file is named by what it adds up to', () => {
    const reference = `r.example/${'a/'.repeat(100)}b:1`;
    const name = ociFileName(reference);
    expect(name.length).toBeLessThan(100);
    expect(storedOci(`local:vztmpl/${name}.tar`)).toEqual({ name, reference: undefined });
    expect(storedOci('local:vztmpl/web.tar')).toBeUndefined();
  });
});
