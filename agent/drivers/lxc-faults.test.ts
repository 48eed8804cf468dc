import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { InstanceId } from '#shared/model.ts';
import { ended, execStart, readSession } from '../../test/conformance/runtime-driver-world.ts';
import { setUpLxc } from '../../test/lxc-host.ts';
import { killGuestAgentAfter } from '../../test/kill-guest-agent.ts';
import { until } from '../../test/until.ts';
import type { GuestSpec, RuntimeDriver } from './driver.ts';
import { lxcDriver } from './lxc.ts';

const anySignal = new AbortController().signal;
const forEver = ['/bin/sleep', '100000'];

async function start(driver: RuntimeDriver, guest: GuestSpec): Promise<InstanceId> {
  await driver.create(guest, anySignal);
  await driver.start(guest.id, anySignal);
  return guest.id;
}

/** An lxc-start of our own in front of the real one: what it does is a file's content. */
async function setUpShim() {
  const world = await setUpLxc();
  const shim = path.join(world.directory, 'shim');
  await mkdir(shim);
  const file = path.join(shim, 'lxc-start');
  const script = `#!/bin/sh
case "$(/bin/cat ${shim}/mode 2>/dev/null)" in
  hang) while true; do /bin/sleep 0.2; done;;
  fail) echo 'shim says no' >&2; exit 1;;
  after-fail) /usr/bin/lxc-start "$@"; exit 1;;
  after-hang) /usr/bin/lxc-start "$@"; while true; do /bin/sleep 0.2; done;;
  garbage) printf 'kill\\001 \\377 garbage {{{' >&2; exit 3;;
  lie) exit 0;;
  *) exec /usr/bin/lxc-start "$@";;
esac
`;
  await writeFile(file, script);
  await chmod(file, 0o755);
  const driver = lxcDriver(world.context, { tools: { start: file } });
  const set = (mode: string): Promise<void> => writeFile(path.join(shim, 'mode'), mode);
  return { world, driver, set };
}

describe('lxc-start that misbehaves', () => {
  it.each(['fail', 'garbage', 'lie'])('leaves a created guest and nothing else: %s', async (mode) => {
    const { world, driver, set } = await setUpShim();
    await using _ = world;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await set(mode);
    await expect(driver.start(guest.id, anySignal)).rejects.toMatchObject({ kind: 'internal' });
    expect((await driver.inspect(guest.id, anySignal)).phase).toBe('created');
    expect(world.payload.exists(guest.id)).toBe(false);
    await set('');
    await driver.start(guest.id, anySignal);
    expect((await driver.inspect(guest.id, anySignal)).phase).toBe('running');
    await driver.close();
  });

  it.each(['after-fail', 'after-hang'])('looks at the host: %s', async (mode) => {
    const { world, driver, set } = await setUpShim();
    await using _ = world;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await set(mode);
    await driver.start(guest.id, systemClock.timeout(2000));
    expect((await driver.inspect(guest.id, anySignal)).phase).toBe('running');
    await driver.close();
  });

  it('says unknown when it hangs, and leaves a created guest', async () => {
    const { world, driver, set } = await setUpShim();
    await using _ = world;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await set('hang');
    const starting = driver.start(guest.id, systemClock.timeout(500));
    await expect(starting).rejects.toMatchObject({ kind: 'deadline-exceeded' });
    expect((await driver.inspect(guest.id, anySignal)).phase).toBe('created');
    await driver.close();
  });

  it('is missing: unhealthy, and unavailable', async () => {
    await using world = await setUpLxc();
    const driver = lxcDriver(world.context, { tools: { start: '/usr/bin/no-lxc-start' } });
    expect(await driver.fingerprint(anySignal)).toMatchObject({ healthy: false });
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await expect(driver.start(guest.id, anySignal)).rejects.toMatchObject({ kind: 'unavailable' });
    await driver.close();
  });

  it('says in its own words what no guest can be: a program that is not there', async () => {
    await using world = await setUpLxc();
    const guest = await world.newGuest(['/bin/no-such-program']);
    await world.driver.create(guest, anySignal);
    await expect(world.driver.start(guest.id, anySignal)).rejects.toMatchObject({
      kind: 'invalid-argument',
      message: expect.stringContaining('/bin/no-such-program') as string,
    });
    expect((await world.driver.inspect(guest.id, anySignal)).phase).toBe('created');
  });
});

/** Whatever is there now can be brought to run, or has ended, and goes without a trace. */
async function comeToRest(driver: RuntimeDriver, guest: GuestSpec): Promise<void> {
  const { id } = guest;
  const found = (await driver.list(anySignal)).some((each) => each.id === id);
  if (!found) await driver.create(guest, anySignal);
  // lxc-start goes on without the agent.
  await until(async () => (await driver.inspect(id, anySignal)).phase !== 'unknown', { what: 'it is known' });
  const { phase, exit } = await driver.inspect(id, anySignal);
  if (phase === 'created') await driver.start(id, anySignal);
  const now = (await driver.inspect(id, anySignal)).phase;
  expect([phase, now]).toEqual([phase, phase === 'created' ? 'running' : phase]);
  if (phase === 'stopped') expect(exit?.unknown === true || exit?.code === 137).toBe(true);
  await driver.stop(id, 0, anySignal);
  await driver.remove(id, anySignal);
}

describe('lxc-attach that misbehaves', () => {
  it.each([
    ['hangs', 'exec /bin/sleep 100000', 'deadline-exceeded'],
    ['fails', 'exit 3', undefined],
    ['is missing', undefined, 'unavailable'],
  ])('%s: the caller is told, nothing goes on', async (_, body, kind) => {
    await using world = await setUpLxc();
    const attach = path.join(world.directory, 'lxc-attach');
    if (body !== undefined) await writeFile(attach, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    const driver = lxcDriver(world.context, { tools: { attach } });
    const id = await start(driver, await world.newGuest(forEver));
    const running = driver.exec(id, execStart(['/bin/true']), systemClock.timeout(700));
    if (kind === undefined) {
      const { exit } = await readSession(await running);
      expect(exit?.code).toBe(3);
    } else await expect(running).rejects.toMatchObject({ kind });
    await driver.close();
  });
});

describe('LXC after kill -9', () => {
  const delays = [0, 3, 6, 10, 14, 18, 22, 26, 30, 35, 40, 50, 60, 75, 90, 110];
  it('of the agent comes to rest from every moment of a life cycle', { timeout: 120_000 }, async () => {
    await using world = await setUpLxc();
    for (const delayMs of delays) {
      const guest = await world.newGuest(forEver);
      await killGuestAgentAfter(world.context, { runtime: 'lxc', ...guest }, delayMs);
      const driver = world.reopen();
      await comeToRest(driver, guest);
      await driver.close();
    }
  });

  it('of lxc-start comes to rest from every moment', { timeout: 120_000 }, async () => {
    await using world = await setUpLxc();
    const outcomes = new Set<string>();
    for (let delayMs = 0; delayMs <= 30; delayMs += 1) {
      const guest = await world.newGuest(forEver);
      await world.driver.create(guest, anySignal);
      const config = path.join(world.guestDirectory(guest.id), 'config');
      // Our own driver's call, killed with all that it has forked so far.
      const names = path.join(world.context.stateDir, 'lxc/names');
      const args = ['-P', names, '-n', guest.id, '-f', config, '--', ...forEver];
      await writeFile(path.join(world.guestDirectory(guest.id), 'started'), bootId());
      const child = spawn('/usr/bin/lxc-start', args, { stdio: 'ignore', env: { PATH: '/nonexistent' } });
      await systemClock.sleep(delayMs);
      child.kill('SIGKILL');
      for (const pid of namingProcesses(guest.id)) killIfThere(pid);
      outcomes.add((await world.driver.inspect(guest.id, anySignal)).phase);
      const driver = world.reopen();
      await comeToRest(driver, guest);
      expect(readdirSync('/sys/fs/cgroup/pids').filter((name) => name.includes(guest.id))).toEqual([]);
    }
    expect(outcomes.size).toBeGreaterThan(1);
  });

  it('of a guest that ends while no agent runs keeps its code', async () => {
    await using world = await setUpLxc();
    const id = await start(world.driver, await world.newGuest(forEver));
    await world.driver.close();
    for (const pid of world.payload.processes(id)) killIfThere(pid);
    expect(await ended(world.reopen(), id)).toMatchObject({ code: 137, unknown: false });
  });
});

const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();

const namingProcesses = (text: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((name) => {
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone by itself.
  }
}

describe('leftovers', () => {
  it('in the cgroups do not push a guest aside', async () => {
    await using world = await setUpLxc();
    const guest = await world.newGuest(forEver);
    await world.driver.create(guest, anySignal);
    for (const prefix of ['lxc', 'lxc-monitor'])
      for (const controller of ['pids', 'memory', 'freezer'])
        mkdirSync(
          path.join(
            '/sys/fs/cgroup',
            controller,
            `${world.context.cgroupPrefix}-${prefix}`,
            guest.id,
            'guest',
          ),
          { recursive: true },
        );
    await world.driver.start(guest.id, anySignal);
    expect((await world.driver.inspect(guest.id, anySignal)).phase).toBe('running');
    expect(world.payload.list()).toEqual([guest.id]);
  });

  it('of a guest without a record are swept by the next driver', async () => {
    await using world = await setUpLxc();
    const id = await start(world.driver, await world.newGuest(forEver));
    await rm(path.join(world.guestDirectory(id), 'guest.json'));
    const driver = world.reopen();
    expect(await driver.list(anySignal)).toEqual([]);
    expect([...world.payload.list(), ...world.monitors.list()]).toEqual([]);
    await driver.remove(id, anySignal);
  });
});

describe('a guest that makes groups in its own', () => {
  const deep = `mkdir -p /tmp/m && mount -t cgroup -o pids pids /tmp/m && cd /tmp/m || exit 3
name=$(printf 'a%.0s' $(seq 250)); i=0
while [ $i -lt 25 ]; do mkdir $name && cd -P $name || exit 4; i=$((i+1)); done
sleep 100000 & echo $! > cgroup.procs; echo nested; wait`;
  const wide = `mkdir -p /tmp/m && mount -t cgroup -o pids pids /tmp/m && cd /tmp/m || exit 3
seq 3000 | xargs mkdir || exit 4; sleep 100000 & echo $! > 2999/cgroup.procs; echo nested; wait`;

  it.each([
    ['deeper than a path can be', deep],
    ['more than can be read', wide],
  ])('is seen, frozen, and stopped all the same: %s', async (_name, nest) => {
    await using world = await setUpLxc();
    const { driver } = world;
    const id = await start(driver, await world.newGuest(['/bin/sh', '-c', nest]));
    const said = async (): Promise<string> => {
      const lines = await Array.fromAsync(
        driver.logs(id, { follow: false, sinceMs: 0, stream: undefined, tail: undefined }, anySignal),
      );
      return lines.map(({ content }) => Buffer.from(content).toString()).join(' ');
    };
    await until(async () => (await said()).includes('nested'), { what: 'the groups' });
    expect(world.payload.processes(id).length).toBe(2);
    expect((await driver.inspect(id, anySignal)).phase).toBe('running');
    await driver.pause(id, anySignal);
    await driver.resume(id, anySignal);
    await driver.stop(id, 0, anySignal);
    expect((await driver.inspect(id, anySignal)).phase).toBe('stopped');
    await driver.remove(id, anySignal);
    expect(world.payload.exists(id)).toBe(false);
  });
});
