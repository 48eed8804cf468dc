import { existsSync } from 'node:fs';
import { chown, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { GuestMount, GuestSpec } from '../../agent/drivers/driver.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { testRange } from '../guest-specs.ts';
import { passableDirectory } from '../passable-directory.ts';
import {
  anySignal,
  can,
  forEver,
  inside,
  type DriverWorld,
  type NodePolicy,
  type SetUpDriver,
} from './runtime-driver-world.ts';

/** What a guest is made of besides its root: volumes, name servers, devices, rights. */
export function driverParts(setUp: SetUpDriver): void {
  dataVolumes(setUp);
  linksInTheRoot(setUp);
  nameServers(setUp);
  devicesAndRights(setUp);
  notAnnounced(setUp);
  notAllowed(setUp);
}

/** A data directory as a volume driver makes it, beside one that no guest may reach. */
async function newVolume() {
  const folder = await passableDirectory('volume');
  const [data, outside] = [path.join(folder.path, 'data'), path.join(folder.path, 'outside')];
  for (const place of [data, outside]) {
    await mkdir(place, { mode: 0o755 });
    await chown(place, testRange.base, testRange.base);
  }
  return { data, outside, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

async function start({ driver }: DriverWorld, guest: GuestSpec): Promise<GuestSpec> {
  await driver.create(guest, anySignal);
  await driver.start(guest.id, anySignal);
  return guest;
}

const mountOf = (source: string, changes: Partial<GuestMount> = {}): GuestMount => ({
  source,
  target: '/srv/data',
  readOnly: false,
  ...changes,
});

/** As the guest itself sees its volume mounted. */
async function optionsOf({ driver }: DriverWorld, id: InstanceId): Promise<string[]> {
  const { stdout } = await inside(driver, id, 'grep " /srv/data " /proc/self/mountinfo');
  return stdout.split(' ')[5]?.split(',') ?? [];
}

function dataVolumes(setUp: SetUpDriver): void {
  it('sees a data volume, writes to it with its own ids, finds it again in the next life', async () => {
    await using world = await setUp();
    await using volume = await newVolume();
    const { driver } = world;
    if (!(await can(world, 'mounts'))) return;
    const guest = await world.newGuest(forEver, {}, { mounts: [mountOf(volume.data)] });
    await start(world, guest);
    const written = await inside(driver, guest.id, 'echo one > /srv/data/file');
    expect(written).toMatchObject({ stderr: '', exit: { code: 0 } });
    expect(await readFile(path.join(volume.data, 'file'), 'utf8')).toBe('one\n');
    const { uid, gid } = await stat(path.join(volume.data, 'file'));
    expect({ uid, gid }).toEqual({ uid: testRange.base, gid: testRange.base });
    expect(await optionsOf(world, guest.id)).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev']));
    await driver.remove(guest.id, anySignal);
    expect(await readdir(volume.data)).toEqual(['file']);
    await start(world, guest);
    expect((await inside(driver, guest.id, 'cat /srv/data/file')).stdout).toBe('one\n');
  });

  it('cannot write to a volume that is read-only', async () => {
    await using world = await setUp();
    await using volume = await newVolume();
    if (!(await can(world, 'mounts'))) return;
    await writeFile(path.join(volume.data, 'file'), 'old\n');
    const mounts = [mountOf(volume.data, { readOnly: true })];
    const { id } = await start(world, await world.newGuest(forEver, {}, { mounts }));
    expect((await inside(world.driver, id, 'cat /srv/data/file')).stdout).toBe('old\n');
    const { exit } = await inside(world.driver, id, 'echo new > /srv/data/file');
    expect(exit?.code).not.toBe(0);
    expect(await readFile(path.join(volume.data, 'file'), 'utf8')).toBe('old\n');
  });

  it('has one volume within another, whatever their order', async () => {
    await using world = await setUp();
    await using volume = await newVolume();
    if (!(await can(world, 'mounts'))) return;
    const mounts = [mountOf(volume.outside, { target: '/srv/data/inner' }), mountOf(volume.data)];
    const { id } = await start(world, await world.newGuest(forEver, {}, { mounts }));
    const script = 'echo a > /srv/data/file; echo b > /srv/data/inner/file';
    expect((await inside(world.driver, id, script)).exit).toMatchObject({ code: 0 });
    expect(await readFile(path.join(volume.data, 'file'), 'utf8')).toBe('a\n');
    expect(await readFile(path.join(volume.outside, 'file'), 'utf8')).toBe('b\n');
  });

  it.each(['', 'data', '/', '/../data', '/a/../b', '/proc/x', '/sys', '/dev/x', '/a\nb', '/a\0b', '//a'])(
    'refuses to mount at %j',
    async (target) => {
      await using world = await setUp();
      await using volume = await newVolume();
      if (!(await can(world, 'mounts'))) return;
      const guest = await world.newGuest(forEver, {}, { mounts: [mountOf(volume.data, { target })] });
      await expect(world.driver.create(guest, anySignal)).rejects.toMatchObject({ kind: 'invalid-argument' });
      expect(await world.driver.list(anySignal)).toEqual([]);
    },
  );

  it('refuses a volume that is not there, and leaves nothing', async () => {
    await using world = await setUp();
    await using volume = await newVolume();
    if (!(await can(world, 'mounts'))) return;
    const mounts = [mountOf(path.join(volume.data, 'missing'))];
    const guest = await world.newGuest(forEver, {}, { mounts });
    await expect(world.driver.create(guest, anySignal)).rejects.toMatchObject({ kind: 'invalid-argument' });
    expect(await world.driver.list(anySignal)).toEqual([]);
  });
}

function linksInTheRoot(setUp: SetUpDriver): void {
  const links: readonly (readonly [string, string, string])[] = [
    ['the target itself', 'srv', '/srv'],
    ['a directory above it', 'srv', '/srv/data'],
    ['a directory above it, and deeper', 'srv', '/srv/a/b/data'],
  ];
  it.each(links)('never follows a link of the root out of it: %s', async (_, link, target) => {
    await using world = await setUp();
    await using volume = await newVolume();
    if (!(await can(world, 'mounts'))) return;
    const guest = await world.newGuest(forEver, {}, { mounts: [mountOf(volume.data, { target })] });
    await rm(path.join(guest.rootfs, link), { recursive: true, force: true });
    await symlink(volume.outside, path.join(guest.rootfs, link));
    const refusal = await world.driver.create(guest, anySignal).catch((error: unknown) => error);
    if (refusal === undefined) {
      await world.driver.start(guest.id, anySignal);
      await inside(world.driver, guest.id, `echo one > ${target}/file`);
      expect(await readFile(path.join(volume.data, 'file'), 'utf8')).toBe('one\n');
    } else {
      expect(refusal).toMatchObject({ kind: 'invalid-argument' });
      expect(await world.driver.list(anySignal)).toEqual([]);
    }
    expect(await readdir(volume.outside)).toEqual([]);
  });

  it.each(['proc', 'sys', 'dev'])('never mounts over /%s by a link', async (place) => {
    await using world = await setUp();
    await using volume = await newVolume();
    if (!(await can(world, 'mounts'))) return;
    const guest = await world.newGuest(forEver, {}, { mounts: [mountOf(volume.data)] });
    await rm(path.join(guest.rootfs, 'srv'), { recursive: true, force: true });
    await mkdir(path.join(guest.rootfs, 'srv'));
    await symlink(`../${place}`, path.join(guest.rootfs, 'srv/data'));
    const refusal = await world.driver.create(guest, anySignal).catch((error: unknown) => error);
    expect(refusal).toMatchObject({ kind: 'invalid-argument' });
    expect(await world.driver.list(anySignal)).toEqual([]);
  });
}

function nameServers(setUp: SetUpDriver): void {
  const resolvConf = 'nameserver 10.20.30.40\nsearch example.test\n';

  it('reads the name servers that it was given', async () => {
    await using world = await setUp();
    const { id } = await start(world, await world.newGuest(forEver, {}, { resolvConf }));
    expect((await inside(world.driver, id, 'cat /etc/resolv.conf')).stdout).toBe(resolvConf);
  });

  it('reads them also where /etc/resolv.conf is a link, and none outside is touched', async () => {
    await using world = await setUp();
    await using volume = await newVolume();
    const guest = await world.newGuest(forEver, {}, { resolvConf });
    const place = path.join(guest.rootfs, 'etc/resolv.conf');
    await mkdir(path.dirname(place), { recursive: true });
    await rm(place, { force: true });
    await symlink(path.join(volume.outside, 'resolv.conf'), place);
    await start(world, guest);
    expect((await inside(world.driver, guest.id, 'cat /etc/resolv.conf')).stdout).toBe(resolvConf);
    expect(await readdir(volume.outside)).toEqual([]);
  });
}

const device = ['/dev/fuse', '/dev/net/tun', '/dev/loop-control'].find((place) => existsSync(place)) ?? '';
const { security } = plainGuestConfig;

async function startAllowed(world: DriverWorld, changes: Partial<InstanceSpec>, parts = {}) {
  return start(world, await world.newGuest(forEver, changes, parts));
}

function devicesAndRights(setUp: SetUpDriver): void {
  it('has a device that the node allows, and only where it asks for it', async () => {
    await using world = await setUp({ allowedDevices: [device] });
    if (!(await can(world, 'devices'))) return;
    const script = `dd if=${device} of=/dev/null count=0`;
    const has = await startAllowed(world, { devices: [device] });
    expect(await inside(world.driver, has.id, script)).toMatchObject({ exit: { code: 0 } });
    const without = await startAllowed(world, {});
    expect((await inside(world.driver, without.id, script)).exit?.code).not.toBe(0);
  });

  it('has more rights and fewer, as it asks', async () => {
    await using world = await setUp();
    const changes = { addCapabilities: ['CAP_NET_ADMIN'], dropCapabilities: ['CAP_MKNOD', 'CAP_CHOWN'] };
    const { id } = await startAllowed(world, { security: { ...security, ...changes } });
    const { stdout } = await inside(world.driver, id, 'grep CapBnd /proc/self/status');
    const bits = BigInt(`0x${stdout.split('\t')[1]?.trim()}`);
    const holds = [12n, 27n, 0n].map((bit) => ((bits >> bit) & 1n) === 1n);
    expect(holds).toEqual([true, false, false]);
  });

  it.each([
    ['adds', { addCapabilities: ['CAP_NO_SUCH'] }],
    ['drops', { dropCapabilities: ['CAP_NO_SUCH'] }],
  ])('refuses a spec that %s a capability that there is not', async (_, changes) => {
    await using world = await setUp();
    const guest = await world.newGuest(forEver, { security: { ...security, ...changes } });
    await expect(world.driver.create(guest, anySignal)).rejects.toMatchObject({ kind: 'invalid-argument' });
  });

  it('is root of the host where it is privileged and the node allows it, its volumes as harmless', async () => {
    await using world = await setUp({ allowsPrivileged: true });
    await using volume = await newVolume();
    if (!(await can(world, 'privileged'))) return;
    const changes = { security: { ...security, privileged: true } };
    const parts = { range: { base: 0, size: 65_536 }, mounts: [mountOf(volume.data)] };
    const { id } = await startAllowed(world, changes, parts);
    const { stdout } = await inside(world.driver, id, 'cat /proc/self/uid_map');
    expect(stdout.trim().split(/\s+/).slice(0, 2)).toEqual(['0', '0']);
    expect(await optionsOf(world, id)).toEqual(expect.arrayContaining(['rw', 'nosuid', 'nodev']));
  });
}

interface Ask {
  readonly capability: string;
  readonly word: RegExp;
  readonly changes?: Partial<InstanceSpec>;
  readonly parts?: Partial<GuestSpec>;
}

const asks: readonly Ask[] = [
  { capability: 'network-none', word: /network/, changes: { network: 'none' } },
  { capability: 'network-host', word: /network/, changes: { network: 'host' } },
  { capability: 'network-bridged', word: /network/, changes: { network: 'bridged' } },
  { capability: 'devices', word: /device/, changes: { devices: ['/dev/fuse'] } },
  { capability: 'nesting', word: /nesting/, changes: { security: { ...security, nesting: true } } },
  {
    capability: 'privileged',
    word: /privileged/,
    changes: { security: { ...security, privileged: true } },
    parts: { range: { base: 0, size: 65_536 } },
  },
  { capability: 'lxc-keys', word: /lxc/i, changes: { lxcKeys: { 'lxc.prlimit.nofile': '1024' } } },
  { capability: 'mounts', word: /mount|volume/, parts: { mounts: [mountOf('/srv')] } },
  { capability: 'vm-options', word: /"vm"/, changes: { vm: { ...plainVmOptions, numa: true } } },
  {
    capability: 'cluster-options',
    word: /"cluster"/,
    changes: { cluster: { ...plainClusterOptions, onBoot: false } },
  },
];

function notAnnounced(setUp: SetUpDriver): void {
  describe('refuses by name what it does not announce', () => {
    it.each(asks)('$capability', async ({ capability, word, changes, parts }) => {
      await using world = await setUp({ allowedDevices: ['/dev/fuse'], allowsPrivileged: true });
      if (await can(world, capability)) return;
      const guest = await world.newGuest(forEver, changes, parts);
      await expect(world.driver.create(guest, anySignal)).rejects.toMatchObject({
        kind: 'unimplemented',
        message: expect.stringMatching(word) as string,
      });
      expect(await world.driver.list(anySignal)).toEqual([]);
    });
  });
}

function notAllowed(setUp: SetUpDriver): void {
  const policies: readonly (readonly [string, NodePolicy])[] = [
    ['devices', { allowedDevices: ['/dev/null'], allowsPrivileged: true }],
    ['privileged', { allowedDevices: ['/dev/fuse'], allowsPrivileged: false }],
  ];
  it.each(policies)('is denied what the node does not allow: %s', async (capability, policy) => {
    await using world = await setUp(policy);
    if (!(await can(world, capability))) return;
    const ask = asks.find((each) => each.capability === capability);
    const guest = await world.newGuest(forEver, ask?.changes, ask?.parts);
    await expect(world.driver.create(guest, anySignal)).rejects.toMatchObject({ kind: 'permission-denied' });
    expect(await world.driver.list(anySignal)).toEqual([]);
  });

  it('is denied the host ids where they were not asked for', async () => {
    await using world = await setUp({ allowsPrivileged: true });
    const guest = await world.newGuest(forEver, {}, { range: { base: 0, size: 65_536 } });
    const refusal = await world.driver.create(guest, anySignal).catch((error: unknown) => error);
    expect(refusal).toMatchObject({
      name: 'DroverError',
      kind: expect.stringMatching(/argument|denied/) as string,
    });
    expect(await world.driver.list(anySignal)).toEqual([]);
  });
}
