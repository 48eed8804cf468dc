/** What every guest of crun is given: test/golden/oci-config holds it. DROVER_GOLDEN=write makes it anew. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { testRange } from '../../test/guest-specs.ts';
import { defaultCapabilities } from './capabilities.ts';
import { ociConfig, type ConfigOptions } from './oci-config.ts';

const folder = path.join(import.meta.dirname, '../../test/golden/oci-config');
const user = { uid: 0, gid: 0, additionalGids: [], home: '/root' };
const plain: ConfigOptions = {
  process: { args: ['/bin/app'], env: { A: 'b' }, cwd: '', user, capabilities: defaultCapabilities },
  rootfs: '/rootfs',
  hostname: 'web-x7k2p',
  cgroupPath: '/drover-1a2b3c4d/id',
  range: testRange,
  resources: { cpuMillicores: 500, memoryMib: 64, diskMib: 0, pids: 64 },
  network: 'none',
  seccomp: {
    profile: { defaultAction: 'SCMP_ACT_ERRNO', architectures: [], syscalls: [] },
    compiled: undefined,
  },
  limitsSwap: true,
  volumes: [],
  files: [],
  devices: [],
};

const rows: readonly (readonly [string, Partial<ConfigOptions>])[] = [
  ['plain', {}],
  ['host-network', { network: 'host', files: [{ source: '/etc/resolv.conf', target: '/etc/resolv.conf' }] }],
  [
    'bridged-with-volumes',
    {
      network: 'bridged',
      volumes: [
        { source: '/volumes/1', target: '/srv/data', readOnly: false },
        { source: '/volumes/2', target: '/srv/keys', readOnly: true },
      ],
      files: [{ source: '/guests/id/resolv.conf', target: '/etc/resolv.conf' }],
    },
  ],
  [
    'device',
    {
      devices: [
        { path: '/dev/fuse', type: 'c', major: 10, minor: 229, mode: 0o666, source: '/guests/id/devices/0' },
      ],
    },
  ],
  ['no-limits', { resources: { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 4096 } }],
  ['privileged', { range: { base: 0, size: 65_536 } }],
];

/** What the audit of a guest asks, of the fields that are written. */
interface Written {
  readonly process: {
    readonly noNewPrivileges: boolean;
    readonly capabilities: Readonly<Record<string, readonly string[]>>;
  };
  readonly mounts: readonly {
    readonly destination: string;
    readonly type: string;
    readonly options: readonly string[];
  }[];
  readonly linux: {
    readonly namespaces: readonly { readonly type: string }[];
    readonly uidMappings?: readonly { readonly hostID: number }[];
    readonly seccomp: object;
    readonly maskedPaths: readonly string[];
    readonly readonlyPaths: readonly string[];
    readonly resources: { readonly devices: readonly { readonly allow: boolean }[] };
  };
}

describe('the configuration of a guest', () => {
  it.each(rows)('is as it was: %s', (name, changes) => {
    const text = `${JSON.stringify(ociConfig({ ...plain, ...changes }), undefined, 2)}\n`;
    const file = path.join(folder, `${name}.json`);
    if (process.env['DROVER_GOLDEN'] === 'write') {
      mkdirSync(folder, { recursive: true });
      writeFileSync(file, text);
    }
    expect(text).toBe(readFileSync(file, 'utf8'));
  });

  it.each(rows)('keeps the guest in its place: %s', (name, changes) => {
    const { process, mounts, linux } = ociConfig({ ...plain, ...changes }) as Written;
    expect(process.noNewPrivileges).toBe(true);
    for (const granted of Object.values(process.capabilities))
      expect(defaultCapabilities).toEqual(expect.arrayContaining([...granted]));
    expect([process.capabilities['inheritable'], process.capabilities['ambient']]).toEqual([[], []]);
    const namespaces = linux.namespaces.map(({ type }) => type);
    expect(namespaces).toEqual(expect.arrayContaining(['pid', 'ipc', 'uts', 'mount', 'cgroup']));
    expect(namespaces.includes('network')).toBe(name !== 'host-network');
    expect(namespaces.includes('user')).toBe(name !== 'privileged');
    if (name !== 'privileged')
      expect(linux.uidMappings?.map(({ hostID }) => hostID)).toEqual([testRange.base]);
    expect(linux.seccomp).toBeDefined();
    expect(linux.maskedPaths).toEqual(expect.arrayContaining(['/proc/kcore', '/proc/keys', '/sys/firmware']));
    expect(linux.readonlyPaths).toEqual(expect.arrayContaining(['/proc/sys', '/proc/sysrq-trigger']));
    expect(linux.resources.devices[0]).toEqual({ allow: false, access: 'rwm' });
    expect(mounts.find(({ destination }) => destination === '/dev')?.type).toBe('tmpfs');
    for (const { destination, type, options } of mounts) {
      expect(options).toContain('nosuid');
      if (!destination.startsWith('/dev'))
        expect({ destination, options }).toMatchObject({
          options: expect.arrayContaining(['nodev']) as unknown,
        });
      if (destination === '/sys') expect(options).toContain('ro');
      expect(type).not.toMatch(/^cgroup/);
    }
  });

  it('has volumes of the host only where the spec has them', () => {
    const { mounts } = ociConfig(plain) as Written;
    expect(mounts.filter(({ type }) => type === 'bind')).toEqual([]);
  });
});
