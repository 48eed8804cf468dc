import { chmod, mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { setUpCrun, type CrunWorld } from '../../test/crun-host.ts';
import { killGuestAgentAfter } from '../../test/kill-guest-agent.ts';
import { crunDriver } from './crun.ts';

const anySignal = new AbortController().signal;
const forEver = ['/bin/sleep', '100000'];

/** A crun of our own in front of the real one: what it does for a subcommand is a file's content. */
async function shimCrun(directory: string): Promise<string> {
  const shim = path.join(directory, 'shim');
  await mkdir(shim, { recursive: true });
  const file = path.join(shim, 'crun');
  const script = `#!/bin/sh
for word in create start delete exec; do
  case " $* " in *" $word "*) command=$word; break;; esac
done
mode=$(cat ${shim}/$command 2>/dev/null)
case "$mode" in
  hang) while true; do sleep 0.2; done;;
  fail) echo '{"msg":"shim says no","level":"error"}' >&2; exit 1;;
  after-fail) /usr/bin/crun "$@"; echo '{"msg":"the reply was lost","level":"error"}' >&2; exit 1;;
  garbage) printf 'kill\\001 \\377 garbage {{{' >&2; exit 1;;
  lie) exit 0;;
  *) exec /usr/bin/crun "$@";;
esac
`;
  await writeFile(file, script);
  await chmod(file, 0o755);
  return file;
}

interface ShimWorld {
  readonly world: CrunWorld;
  readonly driver: ReturnType<typeof crunDriver>;
  set(command: string, mode: string): Promise<void>;
}

async function setUpShim(): Promise<ShimWorld> {
  const world = await setUpCrun();
  const runtime = await shimCrun(world.directory);
  const driver = crunDriver(world.context, { runtime });
  return {
    world,
    driver,
    set: (command, mode) => writeFile(path.join(world.directory, 'shim', command), mode),
  };
}

describe('crun that misbehaves', () => {
  it.each(['fail', 'garbage', 'after-fail', 'lie'])('leaves nothing when create does: %s', async (mode) => {
    const { world, driver, set } = await setUpShim();
    await using _ = world;
    const guest = await world.newGuest(forEver);
    await set('create', mode);
    await expect(driver.create(guest, anySignal)).rejects.toMatchObject({ name: 'DroverError' });
    await expect(driver.inspect(guest.id, anySignal)).rejects.toMatchObject({ kind: 'not-found' });
    await set('create', '');
    await driver.create(guest, anySignal);
    await driver.start(guest.id, anySignal);
    expect((await driver.inspect(guest.id, anySignal)).phase).toBe('running');
  });

  it('says unknown when create hangs, and leaves nothing', async () => {
    const { world, driver, set } = await setUpShim();
    await using _ = world;
    const guest = await world.newGuest(forEver);
    await set('create', 'hang');
    const creating = driver.create(guest, systemClock.timeout(500));
    await expect(creating).rejects.toMatchObject({ kind: 'deadline-exceeded' });
    await expect(driver.inspect(guest.id, anySignal)).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('looks at the host when start fails after doing', async () => {
    const { world, driver, set } = await setUpShim();
    await using _ = world;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await set('start', 'after-fail');
    await driver.start(guest.id, anySignal);
    expect((await driver.inspect(guest.id, anySignal)).phase).toBe('running');
  });

  it.each(['hang', 'fail'])('says so when start does not start: %s', async (mode) => {
    const { world, driver, set } = await setUpShim();
    await using _ = world;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await set('start', mode);
    await expect(driver.start(guest.id, systemClock.timeout(500))).rejects.toMatchObject({
      name: 'DroverError',
    });
    expect((await driver.inspect(guest.id, anySignal)).phase).toBe('created');
    await set('start', '');
    await driver.start(guest.id, anySignal);
    expect((await driver.inspect(guest.id, anySignal)).phase).toBe('running');
  });

  it.each(['fail', 'lie', 'garbage'])('removes all the same when delete does: %s', async (mode) => {
    const { world, driver, set } = await setUpShim();
    await using _ = world;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await driver.start(guest.id, anySignal);
    await set('delete', mode);
    await driver.remove(guest.id, anySignal);
    await expect(driver.inspect(guest.id, anySignal)).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('ends a command whose exec fails', async () => {
    const { world, driver, set } = await setUpShim();
    await using _ = world;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await driver.start(guest.id, anySignal);
    await set('exec', 'fail');
    const start = {
      instance: '',
      command: ['/bin/true'],
      stdin: false,
      tty: false,
      size: { columns: 80, rows: 24 },
      env: {},
      user: '',
      workingDir: '',
      project: 'default',
    };
    await expect(driver.exec(guest.id, start, anySignal)).rejects.toThrow(/shim says no/);
    await set('exec', 'hang');
    const hanging = driver.exec(guest.id, start, systemClock.timeout(400));
    await expect(hanging).rejects.toMatchObject({ kind: 'deadline-exceeded' });
    await set('exec', '');
    const session = await driver.exec(guest.id, start, anySignal);
    expect(await Array.fromAsync(session.output)).toMatchObject([{ kind: 'exit', exit: { code: 0 } }]);
  });
});

/** Runs a life cycle in a process of its own and kills it with SIGKILL after a while. */
describe('crun after kill -9 of the agent', () => {
  const delays = [0, 2, 5, 8, 11, 14, 17, 20, 24, 28, 32, 40, 50, 60, 75, 90, 110];
  it('comes to rest from every moment of a life cycle', { timeout: 120_000 }, async () => {
    await using world = await setUpCrun();
    for (const delayMs of delays) {
      const guest = await world.newGuest(forEver);
      await killGuestAgentAfter(world.context, { runtime: 'crun', ...guest }, delayMs);
      const driver = world.reopen();
      const found = (await driver.list(anySignal)).filter(({ id }) => id === guest.id);
      if (found.length === 0) await driver.create(guest, anySignal);
      const { phase } = await driver.inspect(guest.id, anySignal);
      if (phase === 'created') await driver.start(guest.id, anySignal);
      const now = (await driver.inspect(guest.id, anySignal)).phase;
      expect([phase, now]).toEqual([phase, phase === 'created' ? 'running' : phase]);
      await driver.stop(guest.id, 0, anySignal);
      await driver.remove(guest.id, anySignal);
      await driver.close();
    }
  });

  it('treats what was cut short as never made', async () => {
    await using world = await setUpCrun();
    const guest = await world.newGuest(forEver);
    await world.driver.create(guest, anySignal);
    const pidFile = path.join(world.guestDirectory(guest.id), 'pid');
    await rename(pidFile, `${pidFile}.gone`);
    const driver = world.reopen();
    await expect(driver.inspect(guest.id, anySignal)).rejects.toMatchObject({ kind: 'not-found' });
    expect(await driver.list(anySignal)).toEqual([]);
    expect(world.processes(guest.id)).toEqual([]);
    await driver.remove(guest.id, anySignal);
  });
});
