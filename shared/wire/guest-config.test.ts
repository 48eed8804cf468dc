import { describe, expect, it } from 'vitest';
import { GuestConfig } from '#shared/gen/drover/model/v1/model.ts';
import { collectFaults } from '#shared/wire/checks.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { checkGuestConfig, formatGuestConfig, plainGuestConfig } from '#shared/wire/guest-config.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';

describe('where a data volume is mounted', () => {
  it.each([
    ['/data', true],
    ['/var/lib/data.d', true],
    ['/..data', true],
    ['/', false],
    ['data', false],
    ['/data/', false],
    ['/a//b', false],
    ['/a/../b', false],
    ['/./proc', false],
    ['/data/.', false],
    ['/proc', false],
    ['/sys/fs', false],
    ['/dev/shm', false],
    ['/devices', true],
  ])('%s may be: %s', (mountPath, isAllowed) => {
    const message = GuestConfig.fromPartial({ volumes: [{ name: 'data', mountPath }] });
    const faults = collectFaults();
    checkGuestConfig(message, 'none', '', faults);
    const check = (): void => faults.throwIfAny('spec');
    if (isAllowed) expect(check).not.toThrow();
    else expect(check).toThrow('volumes[0].mount');
  });
});

const key = `ssh-ed25519 ${'A'.repeat(68)} admin@example`;

type Options = Pick<Parameters<typeof GuestConfig.fromPartial>[0], 'vm' | 'cluster'>;

const check = (options: Options) => {
  const faults = collectFaults();
  const config = checkGuestConfig(GuestConfig.fromPartial(options), 'none', '', faults);
  faults.throwIfAny('spec');
  return config;
};

it.each([
  ['local-lvm', true],
  ['NAS_2.fast', true],
  ['', true],
  ['-x', false],
  ['a/b', false],
  ['.', false],
  ['..', false],
  ['a b', false],
  ['local:', false],
])('a pool may be called %j: %s', (rootPool, isAllowed) => {
  const faults = collectFaults();
  checkGuestConfig(GuestConfig.fromPartial({ rootPool }), 'none', '', faults);
  const check = (): void => faults.throwIfAny('spec');
  if (isAllowed) expect(check).not.toThrow();
  else expect(check).toThrow('root.pool');
});

describe('options of virtual machines and clusters', () => {
  it('are left out where they say nothing that is not so by itself', () => {
    const empty = check({ vm: { disk: {}, bios: 'seabios', agent: true }, cluster: { features: {} } });
    expect(empty).toEqual(plainGuestConfig);
    expect(Object.keys(empty)).not.toContain('vm');
    expect(check({})).toEqual(plainGuestConfig);
  });

  it('are themselves after the wire', () => {
    const vm = {
      ...plainVmOptions,
      cpuType: 'x86-64-v2-AES',
      sockets: 2,
      cores: 4,
      balloonMib: 512,
      agent: false,
      bios: 'ovmf',
      machine: 'pc-q35-9.2+pve1',
      osType: 'win11',
      display: 'virtio-gl',
      clone: 'linked',
      cloudInit: { user: 'admin', sshKeys: [key] },
      disk: { bus: 'virtio', cache: 'writeback', discard: true, ssd: false, iothread: true },
    } as const;
    const cluster = {
      ...plainClusterOptions,
      pool: 'team/web',
      tags: ['a', 'b'],
      features: { keyctl: false, fuse: true, mount: ['cifs', 'nfs'] },
      onBoot: false,
    };
    const sent = GuestConfig.encode(formatGuestConfig({ ...plainGuestConfig, vm, cluster })).finish();
    expect(check(GuestConfig.decode(sent))).toEqual({ ...plainGuestConfig, vm, cluster });
  });

  it('have tags as a cluster keeps them, and a drive for cloud-init that says nothing', () => {
    expect(check({ cluster: { tags: ['b', 'a', 'b'] } }).cluster?.tags).toEqual(['a', 'b']);
    expect(check({ vm: { cloudInit: {} } }).vm?.cloudInit).toEqual({ user: '', sshKeys: [] });
  });

  it.each<[string, Options]>([
    ['vm.cpuType', { vm: { cpuType: 'host,flags=+aes' } }],
    ['vm.sockets', { vm: { sockets: 5 } }],
    ['vm.cores', { vm: { cores: 10_000 } }],
    ['vm.bios', { vm: { bios: 'uefi' } }],
    ['vm.machine', { vm: { machine: 'q35,viommu=intel' } }],
    ['vm.display', { vm: { display: 'std,memory=512' } }],
    ['vm.osType', { vm: { osType: 'linux' } }],
    ['vm.clone', { vm: { clone: 'half' } }],
    ['vm.cloudInit.user', { vm: { cloudInit: { user: 'admin:x' } } }],
    ['vm.cloudInit.sshKeys[0]', { vm: { cloudInit: { sshKeys: ['command="sh" ssh-ed25519 AAAA'] } } }],
    ['vm.cloudInit.sshKeys[0]', { vm: { cloudInit: { sshKeys: [`${key}\nssh-rsa ${'B'.repeat(64)}`] } } }],
    ['vm.disk.bus', { vm: { disk: { bus: 'nvme' } } }],
    ['vm.disk.cache', { vm: { disk: { cache: 'fast' } } }],
    ['vm.disk.ssd', { vm: { disk: { bus: 'virtio', ssd: true } } }],
    ['vm.disk.iothread', { vm: { disk: { bus: 'ide', iothread: true } } }],
    ['cluster.pool', { cluster: { pool: '../web' } }],
    ['cluster.tags[0]', { cluster: { tags: ['a;b'] } }],
    ['cluster.tags[1]', { cluster: { tags: ['a', 'drover-0123456789ab'] } }],
    ['cluster.tags', { cluster: { tags: Array.from({ length: 33 }, (_, at) => `t${at}`) } }],
    ['cluster.sshKeys[0]', { cluster: { sshKeys: ['ssh-rsa'] } }],
    ['cluster.features.mount[0]', { cluster: { features: { mount: ['nfs;cifs'] } } }],
  ])('are refused by name: %s', (field, options) => {
    expect(() => check(options)).toThrow(expect.objectContaining({ subject: { field } }) as Error);
  });
});
