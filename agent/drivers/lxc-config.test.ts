import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Attachment, InstanceId } from '#shared/model.ts';
import {
  environment,
  format,
  lxcConfig,
  mountHookScript,
  systemCapabilities,
  type LxcConfigOptions,
  type LxcHost,
} from './lxc-config.ts';
import { hostInterfaceName } from '../host/guest-interface.ts';
import { checkLxcKeys, signalNumberOf } from './lxc-keys.ts';

const golden = (name: string): string =>
  path.join(import.meta.dirname, `../../test/golden/lxc-5.0.2/${name}.conf`);

const id = '01890a5d-ac96-774b-bcce-b302099a8057' as InstanceId;
const version1: LxcHost = {
  cgroupVersion: 1,
  limitsSwap: true,
  hasAppArmor: false,
  seccompProfile: '/usr/share/lxc/config/common.seccomp',
};
const version2: LxcHost = { ...version1, cgroupVersion: 2, hasAppArmor: true };

const attachment: Attachment = {
  network: 'front',
  bridge: 'drvbr0',
  managedBridge: true,
  interface: 'eth0',
  mac: '02:00:00:00:00:05',
  addresses: ['10.20.0.5/22', 'fd00::5/64'],
  gateways: ['10.20.0.1', 'fd00::1'],
  mtu: 1400,
  vlan: 7,
  masquerade: false,
  nodePrivateSubnet: '',
  routes: [],
};

const plain: LxcConfigOptions = {
  id,
  rootfs: '/srv/drover/root',
  hostname: 'web-a1b2c',
  range: { base: 1_000_000, size: 65_536 },
  resources: { cpuMillicores: 1500, memoryMib: 256, diskMib: 0, pids: 100 },
  env: { PATH: '/bin', A: ' x "y\' ' },
  user: { uid: 33, gid: 34, additionalGids: [4, 5], home: '/' },
  workingDir: '/srv/my app ',
  stopSignal: 37,
  capabilities: ['CAP_CHOWN', 'CAP_NET_ADMIN'],
  nesting: false,
  network: 'bridged',
  attachments: [attachment],
  mounts: [
    { source: '/srv/drover/volumes/1', target: '/var/lib/my data', readOnly: false },
    { source: '/srv/drover/volumes/2', target: '/var/lib/#"x', readOnly: true },
  ],
  devices: [
    { path: '/dev/net/tun', type: 'c', major: 10, minor: 200, mode: 0o666, source: '/srv/drover/devices/0' },
  ],
  resolvConf: { source: '/srv/drover/resolv.conf', target: '/etc/resolv.conf' },
  lxcKeys: { 'lxc.prlimit.nofile': '1024:4096' },
  payloadCgroup: `drover-x-lxc/${id}`,
  monitorCgroup: `drover-x-lxc-monitor/${id}`,
  monitorLog: '/run/drover/monitors/i.log',
  outputLog: '/srv/drover/output/i.log',
  maxOutputBytes: 1_048_576,
  stopHook: '/bin/cp a b',
  mountHook: undefined,
  host: version1,
};

/** Keys and values in order, so that a test can ask for some. */
const linesOf = (text: string): string[][] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' = ') + 3)]);
const valuesOf = (changes: Partial<LxcConfigOptions>, key: string): (string | undefined)[] =>
  linesOf(lxcConfig({ ...plain, ...changes }).start)
    .filter(([name]) => name === key)
    .map(([, value]) => value);

describe('the configuration of a guest', () => {
  const system: Partial<LxcConfigOptions> = {
    range: { base: 0, size: 65_536 },
    nesting: true,
    network: 'host',
    capabilities: systemCapabilities,
    mounts: [],
    devices: [],
    lxcKeys: {},
    resolvConf: undefined,
  };
  it.each([
    ['version-1', plain],
    ['version-2', { ...plain, host: version2 }],
    ['privileged-nested-host-network', { ...plain, ...system, host: version2 }],
    ['host-network', { ...plain, ...system, nesting: false, range: plain.range }],
  ])('is as recorded: %s', async (name, options) => {
    const { start, attach } = lxcConfig(options);
    await expect(`${start}\n# lxc-attach\n${attach}`).toMatchFileSnapshot(golden(name));
  });

  it('says nothing of limits that there are not', () => {
    const none = { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 0 };
    for (const host of [version1, version2]) {
      const { start } = lxcConfig({ ...plain, resources: none, host });
      expect(start).not.toMatch(/memory|cpu\.|pids/);
    }
  });

  it.each([
    ['10.20.0.5/22', '10.20.3.255'],
    ['10.0.0.3/24', '10.0.0.255'],
    ['192.168.1.1/32', '192.168.1.1'],
    ['200.1.2.3/8', '200.255.255.255'],
    ['10.0.0.4/31', '10.0.0.5'],
  ])('gives %s the broadcast address %s', (address, broadcast) => {
    const attachments = [{ ...attachment, addresses: [address] }];
    expect(valuesOf({ attachments }, 'lxc.net.0.ipv4.address')).toEqual([`${address} ${broadcast}`]);
  });

  it('names interfaces of the host within fifteen characters, from the random tail', () => {
    expect(hostInterfaceName(id, 7)).toBe('drv02099a80577');
    expect(hostInterfaceName(id, 7).length).toBeLessThanOrEqual(15);
  });

  it('keeps lxc-attach from log, output and environment', () => {
    expect(lxcConfig(plain).attach).not.toMatch(/lxc\.(log|console|environment|hook|init)/);
  });

  it('says nodev and nosuid again for volumes that may be written to, and runs no name', () => {
    const target = '/a`id`$(id)"; unlink "x';
    const script = mountHookScript([
      { source: '/s', target, readOnly: false },
      { source: '/s', target: '/ro', readOnly: true },
    ]);
    expect(script).toContain(`qw(${Buffer.from(target).toString('hex')})`);
    expect(script).not.toContain('unlink');
    expect(mountHookScript([{ source: '/s', target, readOnly: true }])).toBeUndefined();
  });
});

const controls = Array.from({ length: 33 }, (_, code) => String.fromCharCode(code === 32 ? 127 : code));
const spoiled = (sign: string): readonly (readonly [string, Partial<LxcConfigOptions>])[] => {
  const text = `/x${sign}lxc.hook.pre-start = /bin/false`;
  return [
    ['hostname', { hostname: text }],
    ['rootfs', { rootfs: text }],
    ['the name of a variable', { env: { [text]: 'x' } }],
    ['the value of a variable', { env: { A: text } }],
    ['workingDir', { workingDir: text }],
    ['a capability', { capabilities: [`CAP_${text}`] }],
    ['the interface', { attachments: [{ ...attachment, interface: text }] }],
    ['the bridge', { attachments: [{ ...attachment, bridge: text }] }],
    ['the address of a card', { attachments: [{ ...attachment, mac: text }] }],
    ['an address', { attachments: [{ ...attachment, addresses: [text] }] }],
    ['an address of version 6', { attachments: [{ ...attachment, addresses: [`fd00::5/64${text}`] }] }],
    ['a gateway', { attachments: [{ ...attachment, gateways: [text] }] }],
    ['a key', { lxcKeys: { [text]: '1' } }],
    ['the value of a key', { lxcKeys: { 'lxc.prlimit.nofile': text } }],
    ['the profile', { host: { ...version1, seccompProfile: text } }],
    ['a cgroup', { payloadCgroup: text }],
    ['the log', { monitorLog: text }],
    ['the output', { outputLog: text }],
    ['the hook', { stopHook: text }],
  ];
};

describe('a control character', () => {
  it.each(spoiled('\n').map(([field]) => field))('is refused, each one, in %s', (field) => {
    for (const sign of controls) {
      const [, changes] = spoiled(sign).find(([name]) => name === field) ?? [];
      expect(() => lxcConfig({ ...plain, ...changes })).toThrow(
        expect.objectContaining({ kind: 'invalid-argument' }),
      );
    }
  });

  it.each(controls.map((sign) => [JSON.stringify(sign), sign]))('%s makes no line of a mount', (_, sign) => {
    const mounts = [{ source: `/s${sign}x`, target: `/t${sign}lxc.hook.pre-start`, readOnly: false }];
    const build = (): string => lxcConfig({ ...plain, mounts }).start;
    let text: string;
    try {
      text = build();
    } catch (error) {
      expect(error).toMatchObject({ kind: 'invalid-argument' });
      return;
    }
    expect(linesOf(text).length).toBe(linesOf(lxcConfig(plain).start).length - 1);
    expect(text).not.toContain(sign === '\n' ? '\nlxc.hook.pre-start' : sign);
  });
});

describe('environment', () => {
  it('keeps quotes, spaces and equal signs', () => {
    expect(format(environment({ A: '"x"', B: ' y ', C: 'a=b#c' }))).toBe(
      'lxc.environment = "A="x""\nlxc.environment = "B= y "\nlxc.environment = "C=a=b#c"\n',
    );
  });
});

describe('keys that specs may set', () => {
  it.each([
    ['lxc.pty.max', '64'],
    ['lxc.tty.max', '4'],
    ['lxc.signal.halt', 'SIGRTMIN+3'],
    ['lxc.signal.stop', '9'],
    ['lxc.prlimit.nofile', 'unlimited'],
    ['lxc.prlimit.memlock', '1:unlimited'],
    ['lxc.sysctl.net.ipv4.ip_forward', '1'],
    ['lxc.sysctl.net.ipv4.ip_local_port_range', '1024 65535'],
  ])('%s = %s', (key, value) => {
    expect(checkLxcKeys({ [key]: value }, 'bridged')).toEqual([[key, value]]);
  });

  it.each([
    ['lxc.hook.pre-start', '/bin/sh'],
    ['lxc.include', '/etc/passwd'],
    ['lxc.rootfs.path', '/'],
    ['lxc.mount.entry', '/ host none bind 0 0'],
    ['lxc.mount.auto', 'cgroup:rw:force'],
    ['lxc.cap.keep', 'sys_module'],
    ['lxc.idmap', 'u 0 0 1'],
    ['lxc.apparmor.profile', 'unconfined'],
    ['lxc.seccomp.profile', '/dev/null'],
    ['lxc.cgroup.devices.allow', 'a'],
    ['lxc.cgroup2.devices.allow', 'a'],
    ['lxc.net.0.type', 'none'],
    ['lxc.log.file', '/etc/passwd'],
    ['lxc.console.logfile', '/etc/passwd'],
    ['lxc.environment', 'A=b'],
    ['lxc.sysctl.kernel.core_pattern', '|/x'],
    ['lxc.proc.oom_score_adj', '-1000'],
    ['lxc.namespace.share.net', '1'],
    ['lxc.monitor.unshare', '1'],
    ['lxc.ephemeral', '1'],
    ['lxc.signal.halt', 'SIGPWR; x'],
    ['lxc.pty.max', '1 '],
    ['lxc.prlimit.nofile', '1:2:3'],
    ['lxc.prlimit.rtprio', '99'],
    ['lxc.sysctl.net.ipv4.ip_forward', '1 = 2'],
    ['lxc.sysctl.net.../../kernel.x', '1'],
  ])('refuses %s = %s by name', (key, value) => {
    expect(() => checkLxcKeys({ [key]: value }, 'bridged')).toThrow(key);
  });

  it("refuses to change the host's network", () => {
    const keys = { 'lxc.sysctl.net.ipv4.ip_forward': '1' };
    expect(() => checkLxcKeys(keys, 'host')).toThrow(/host's network/);
  });

  it.each([
    ['SIGPWR', 30],
    ['SIGRTMIN+3', 37],
    ['SIGRTMAX-1', 63],
    ['15', 15],
    ['SIGNO', undefined],
  ])('counts %s as %s', (text, number) => {
    expect(signalNumberOf(text)).toBe(number);
  });
});
