import { describe, expect, it } from 'vitest';
import type { Digest } from '#shared/model.ts';
import { digestOfStored, parseImage, storedName } from './image-references.ts';

const hex = 'a'.repeat(64);
const digest = `sha256:${hex}` as Digest;

describe('what an image of a cluster is', () => {
  it.each<[string, object]>([
    [
      `proxmox:local:vztmpl/a_1.tar.zst@${digest}`,
      { kind: 'stored', storage: 'local', content: 'vztmpl', volid: 'local:vztmpl/a_1.tar.zst' },
    ],
    [
      'proxmox:nas_2:import/noble.qcow2',
      { kind: 'stored', content: 'import', volid: 'nas_2:import/noble.qcow2' },
    ],
    ['proxmox:template/debian-12', { kind: 'template', name: 'debian-12' }],
    ['proxmox:guest/105', { kind: 'guest', vmid: 105 }],
    [
      `https://images.example/a.qcow2@${digest}`,
      { kind: 'url', url: 'https://images.example/a.qcow2', digest },
    ],
    ['tar:/srv/a.tar.xz', { kind: 'file', path: '/srv/a.tar.xz', digest: undefined }],
  ])('%s', (text, wanted) => {
    expect(parseImage(text)).toMatchObject(wanted);
  });

  it.each([
    'registry.example/web:1',
    'oci:/srv/web',
    'lxc:images/debian/12',
    'https://images.example/a.qcow2',
  ])('%s is for hosts with agents', (text) => {
    expect(() => parseImage(text)).toThrow(expect.objectContaining({ kind: 'unimplemented' }) as Error);
  });
});

describe('what an image that was fetched is called', () => {
  it.each([
    ['https://images.example/rootfs.tar.xz', `drover-sha256-${hex}.tar.xz`, 'vztmpl'],
    ['/srv/rootfs.TGZ', `drover-sha256-${hex}.tar.gz`, 'vztmpl'],
    ['https://images.example/debian.qcow2?x=1', `drover-sha256-${hex}.qcow2`, 'import'],
    ['https://images.example/noble-server-cloudimg-amd64.img', `drover-sha256-${hex}.qcow2`, 'import'],
    ['https://images.example/alpine.iso#x', `drover-sha256-${hex}.iso`, 'iso'],
  ])('%s', (from, name, content) => {
    expect(storedName(digest, from)).toEqual({ name, content });
    expect(digestOfStored(`local:${content}/${name}`)).toBe(digest);
  });

  it.each(['https://images.example/a.zip', 'https://images.example/', '/srv/qcow2', '/srv/a.ova'])(
    'refuses %s',
    (from) => {
      expect(() => storedName(digest, from)).toThrow(/\.qcow2.*\.img/);
    },
  );

  it.each(['local:vztmpl/a.tar.gz', 'local:import/drover-x.qcow2', `drover-sha256-${hex}.iso`])(
    '%s is not one of them',
    (volid) => {
      expect(digestOfStored(volid)).toBeUndefined();
    },
  );
});
