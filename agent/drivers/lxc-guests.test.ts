import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { InstanceId } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import {
  ended,
  everything,
  execStart,
  inside,
  readSession,
  shell,
  textsOf,
} from '../../test/conformance/runtime-driver-world.ts';
import { setUpLxc } from '../../test/lxc-host.ts';
import { until } from '../../test/until.ts';
import type { GuestSpec, RuntimeDriver } from './driver.ts';

const anySignal = new AbortController().signal;
const forEver = ['/bin/sleep', '100000'];

async function start(driver: RuntimeDriver, guest: GuestSpec): Promise<InstanceId> {
  await driver.create(guest, anySignal);
  await driver.start(guest.id, anySignal);
  return guest.id;
}

describe('a guest of LXC', () => {
  it('shows nothing of the host in its environment, nor in that of its commands', async () => {
    process.env['DROVER_TEST_CANARY'] = 'canary';
    await using world = await setUpLxc();
    const script = 'cat /proc/1/environ; cat /proc/self/environ; ls /proc/self/fd';
    const guest = await world.newGuest(shell(`${script}; sleep 100000`));
    const id = await start(world.driver, { ...guest, image: { ...guest.image, env: { FROM: 'image' } } });
    const { stdout } = await inside(
      world.driver,
      id,
      'cat /proc/1/environ /proc/self/environ; ls /proc/1/fd',
    );
    const words = [stdout, ...(await textsOf(world.driver.logs(id, everything, anySignal)))].join('\n');
    expect(words).toContain('FROM=image');
    expect(words).not.toMatch(/canary|nonexistent|HOME=\/root\0.*HOME=\/root\0HOME/);
    delete process.env['DROVER_TEST_CANARY'];
  });

  it('leaks no descriptor to its first process nor to a command', async () => {
    await using world = await setUpLxc();
    const id = await start(world.driver, await world.newGuest(forEver));
    for (const place of ['1', 'self']) {
      const { stdout } = await inside(world.driver, id, `ls /proc/${place}/fd`);
      // ls has one more open, to read the directory.
      expect(stdout.trim().split('\n').slice(0, 3)).toEqual(['0', '1', '2']);
      expect(stdout.trim().split('\n').length).toBeLessThanOrEqual(4);
    }
  });

  it('shows no variable of a command on the host, and none changes lxc-attach', async () => {
    await using world = await setUpLxc();
    const id = await start(world.driver, await world.newGuest(forEver));
    const env = { LD_PRELOAD: '/no/such.so', SECRET: 's3cr3t-canary', PATH: '/bin', GCONV_PATH: '/x' };
    const command = shell('echo $SECRET $LD_PRELOAD; read x');
    const session = await world.driver.exec(id, execStart(command, { env, stdin: true }), anySignal);
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    const living = new Set(world.payload.processes(id).map(String));
    for (const pid of pids.filter((each) => !living.has(each) && Number(each) !== process.pid)) {
      for (const file of ['cmdline', 'environ']) {
        const text = existsSync(`/proc/${pid}/${file}`) ? readIfAllowed(`/proc/${pid}/${file}`) : '';
        expect(text).not.toContain('s3cr3t-canary');
      }
    }
    await session.send({ kind: 'stdin-end' });
    expect((await readSession(session)).stdout).toBe('s3cr3t-canary /no/such.so\n');
  });

  it('writes its variables to no log of LXC, nor where others may read', async () => {
    await using world = await setUpLxc();
    const env = { SECRET: 's3cr3t-canary' };
    const id = await start(world.driver, await world.newGuest(forEver, { env }));
    await inside(world.driver, id, 'true');
    const found = readdirSync(world.directory, { recursive: true, encoding: 'utf8' })
      .filter((name) => /^(state|run)\//.test(name))
      .map((name) => path.join(world.directory, name))
      .filter((file) => statSync(file).isFile() && readFileSync(file, 'latin1').includes('s3cr3t-canary'));
    expect(found.map((file) => path.relative(world.guestDirectory(id), file)).sort()).toEqual([
      'config',
      'guest.json',
    ]);
    for (const place of [...found, world.guestDirectory(id)]) expect(statSync(place).mode & 0o077).toBe(0);
  });

  it('cannot lift its own limits, nor see its group among the others', async () => {
    await using world = await setUpLxc();
    const id = await start(world.driver, await world.newGuest(forEver));
    const { stdout } = await inside(world.driver, id, 'cat /proc/self/cgroup');
    expect(stdout.split('\n').filter((line) => line !== '' && !/:\/(\.lxc)?$/.test(line))).toEqual([]);
    expect((await inside(world.driver, id, 'echo 0 > /sys/fs/cgroup/pids/pids.max')).exit?.code).not.toBe(0);
  });

  it('that wants more memory than it may have ends, and this is said', async () => {
    await using world = await setUpLxc();
    const resources = { cpuMillicores: 0, memoryMib: 32, diskMib: 0, pids: 32 };
    const command = shell('exec dd if=/dev/zero of=/dev/null bs=100M count=1');
    const id = await start(world.driver, await world.newGuest(command, { resources }));
    expect(await ended(world.driver, id)).toMatchObject({ code: 137, outOfMemory: true, unknown: false });
  });

  it('has a boot of its own and goes on, and shuts down with 0', async () => {
    await using world = await setUpLxc();
    for (const applet of ['reboot', 'poweroff'])
      await symlink('busybox', path.join(world.rootfs, 'bin', applet)).catch(() => undefined);
    await chmod(path.join(world.rootfs, 'tmp'), 0o777);
    const again = 'if [ -e /tmp/again ]; then echo again; poweroff -f; fi; echo > /tmp/again; reboot -f';
    const id = await start(world.driver, await world.newGuest(shell(`${again}; sleep 100`)));
    expect(await ended(world.driver, id)).toMatchObject({ code: 0, unknown: false });
    expect(await textsOf(world.driver.logs(id, everything, anySignal))).toContain('stdout:again');
  });

  it('runs in its directory as its user, with quotes and spaces as they are', async () => {
    await using world = await setUpLxc();
    const place = path.join(world.rootfs, 'a "b" $c ');
    await mkdir(place);
    const changes = { workingDir: '/a "b" $c ', user: '7:8', env: { Q: `"'` } };
    const guest = await world.newGuest(shell('pwd; id -u; id -g; echo "$Q"; sleep 100000'), changes);
    const id = await start(world.driver, guest);
    await until(async () => (await textsOf(world.driver.logs(id, everything, anySignal))).length >= 4, {
      what: 'it has spoken',
    });
    const said = await textsOf(world.driver.logs(id, everything, anySignal));
    expect(said).toEqual(['/a "b" $c ', '7', '8', `"'`].map((text) => `stdout:${text}`));
    const { stdout } = await inside(world.driver, id, 'pwd; id -u; id -g; echo "$Q"');
    expect(stdout).toBe(`/a "b" $c \n7\n8\n"'\n`);
  });

  it.each(['host', 'none'] as const)('has the network %s', async (network) => {
    await using world = await setUpLxc();
    const id = await start(world.driver, await world.newGuest(forEver, { network }));
    const { stdout } = await inside(world.driver, id, 'ls /sys/class/net; ls /sys/fs/cgroup');
    expect(stdout.trim() === 'lo').toBe(network === 'none');
    await world.driver.stop(id, 0, anySignal);
    expect(await world.driver.inspect(id, anySignal)).toMatchObject({ exit: { code: 137 } });
  });

  it('takes keys of LXC that are on the list', async () => {
    await using world = await setUpLxc();
    const lxcKeys = { 'lxc.prlimit.nofile': '77:77', 'lxc.sysctl.net.ipv4.ip_forward': '1' };
    const id = await start(world.driver, await world.newGuest(forEver, { ...plainGuestConfig, lxcKeys }));
    const { stdout } = await inside(world.driver, id, 'cat /proc/1/limits /proc/sys/net/ipv4/ip_forward');
    expect(stdout).toMatch(/Max open files\s+77\s+77/);
    expect(stdout.trim().endsWith('\n1')).toBe(true);
  });
});

function readIfAllowed(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
