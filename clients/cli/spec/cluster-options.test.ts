import { describe, expect, it } from 'vitest';
import { isKind } from '#shared/errors.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { parseWorkloadDocuments } from '#shared/wire/workload.ts';
import { parseSpec } from './parse-spec.ts';

const head = 'kind: Workload\nname: web\nimage: "proxmox:template/debian-12"\nruntime: proxmox-vm\n';
const read = (text: string) =>
  parseWorkloadDocuments(parseSpec(text, 'web.yaml').map(({ document }) => document))[0]?.spec;

function faultsOf(text: string): string {
  try {
    parseSpec(text, 'web.yaml');
  } catch (error) {
    if (isKind(error, 'invalid-argument')) return error.message;
    throw error;
  }
  return '';
}

describe('a file about a virtual machine', () => {
  it('says all that there is to say', () => {
    const key = `ssh-ed25519 ${'A'.repeat(68)} admin@example`;
    const spec = read(`${head}
vm:
  cpuType: host
  sockets: 2
  cores: 4
  balloon: 1GiB
  numa: true
  kvm: false
  bios: ovmf
  machine: q35
  tpm: true
  agent: false
  serial: true
  display: serial0
  osType: l26
  clone: linked
  cloudInit: { user: admin, sshKeys: ["${key}"] }
  disk: { bus: virtio, cache: none, discard: true, iothread: true }
cluster:
  pool: team/web
  tags: [web, blue]
  features: { fuse: true, keyctl: true, mount: [nfs] }
  onBoot: false
  protection: true
`);
    expect(spec?.vm).toEqual({
      cpuType: 'host',
      sockets: 2,
      cores: 4,
      balloonMib: 1024,
      numa: true,
      kvm: false,
      bios: 'ovmf',
      machine: 'q35',
      tpm: true,
      agent: false,
      serial: true,
      display: 'serial0',
      osType: 'l26',
      clone: 'linked',
      cloudInit: { user: 'admin', sshKeys: [key] },
      disk: { bus: 'virtio', cache: 'none', discard: true, ssd: false, iothread: true },
    });
    expect(spec?.cluster).toEqual({
      pool: 'team/web',
      tags: ['blue', 'web'],
      sshKeys: [],
      features: { fuse: true, keyctl: true, mount: ['nfs'] },
      onBoot: false,
      protection: true,
    });
  });

  it('says nothing where it says only what is so by itself', () => {
    expect(read(`${head}vm: { agent: true }\ncluster: { onBoot: true }\n`)).not.toHaveProperty('vm');
    expect(read(`${head}vm: {}\ncluster: { tags: [] }\n`)).not.toHaveProperty('cluster');
  });

  it('has a drive for cloud-init as soon as the section is there', () => {
    const cloudInit = { user: '', sshKeys: [] };
    expect(read(`${head}vm: { cloudInit: {} }\n`)?.vm).toEqual({ ...plainVmOptions, cloudInit });
  });

  it.each([
    ['vm: { balloon: 1 GB }', /web\.yaml:5:7 vm\.balloon.*did you mean "1GiB"/],
    ['vm: { bios: uefi }', /web\.yaml:5:7 vm\.bios/],
    ['vm: { core: 2 }', /web\.yaml:5:7 .*did you mean "cores"/],
    ['vm: { cloudInit: { password: x } }', /web\.yaml:5:20 /],
    ['cluster: { onboot: true }', /web\.yaml:5:12 .*did you mean "onBoot"/],
  ])('places what is wrong in %s', (line, wanted) => {
    expect(faultsOf(`${head}${line}\n`)).toMatch(wanted);
  });
});
