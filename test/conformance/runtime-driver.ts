import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import type { LogOptions } from '#shared/streams.ts';
import { until } from '../until.ts';
import { driverParts } from './runtime-driver-parts.ts';
import { livingGuests } from './runtime-driver-living.ts';
import {
  anySignal,
  can,
  encode,
  ended,
  everything,
  execStart,
  forEver,
  inside,
  readSession,
  running,
  shell,
  textsOf,
  untilLogged,
  type SetUpDriver,
} from './runtime-driver-world.ts';

export type { DriverWorld, NodePolicy, SetUpDriver } from './runtime-driver-world.ts';

/** What every RuntimeDriver promises. A driver earns its place by passing this, fake and real alike. */
export function runtimeDriverConformance(name: string, setUp: SetUpDriver): void {
  describe(`runtime driver ${name}`, () => {
    lifeCycle(setUp);
    stopping(setUp);
    commandsInside(setUp);
    afterRestart(setUp);
    output(setUp);
    livingGuests(setUp);
    driverParts(setUp);
    refusals(setUp);
  });
}

function lifeCycle(setUp: SetUpDriver): void {
  it('says that it is healthy', async () => {
    await using world = await setUp();
    const { healthy, version, detail } = await world.driver.fingerprint(anySignal);
    expect({ healthy, detail }).toEqual({ healthy: true, detail: '' });
    expect(version).toMatch(/^\d/);
  });

  it('creates, starts, stops and removes', async () => {
    await using world = await setUp();
    const { driver } = world;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    const created = await driver.inspect(guest.id, anySignal);
    expect(created).toMatchObject({ phase: 'created', startedAtMs: 0 });
    // The caller configures the namespace by it.
    expect(created.pid > 1).toBe(driver.network === 'namespace');
    await driver.start(guest.id, anySignal);
    const state = await driver.inspect(guest.id, anySignal);
    expect(state).toMatchObject({ phase: 'running', exit: undefined, message: '' });
    expect(state.pid).toBeGreaterThan(1);
    expect(Math.abs(state.startedAtMs - systemClock.nowMs())).toBeLessThan(10_000);
    await driver.stop(guest.id, 0, anySignal);
    const stopped = await driver.inspect(guest.id, anySignal);
    expect(stopped).toMatchObject({ phase: 'stopped', pid: 0, exit: { code: 137, unknown: false } });
    await driver.remove(guest.id, anySignal);
    await expect(driver.inspect(guest.id, anySignal)).rejects.toMatchObject({ kind: 'not-found' });
    expect(await driver.list(anySignal)).toEqual([]);
  });

  it('may be told everything twice', async () => {
    await using world = await setUp();
    const { driver } = world;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await expect(driver.create(guest, anySignal)).rejects.toMatchObject({ kind: 'already-exists' });
    await driver.start(guest.id, anySignal);
    const { pid } = await driver.inspect(guest.id, anySignal);
    await driver.start(guest.id, anySignal);
    await expect(driver.create(guest, anySignal)).rejects.toMatchObject({ kind: 'already-exists' });
    expect(await driver.inspect(guest.id, anySignal)).toMatchObject({ phase: 'running', pid });
    await driver.stop(guest.id, 0, anySignal);
    await driver.stop(guest.id, 0, anySignal);
    await expect(driver.start(guest.id, anySignal)).rejects.toMatchObject({ kind: 'failed-precondition' });
    await driver.remove(guest.id, anySignal);
    await driver.remove(guest.id, anySignal);
    await driver.create(guest, anySignal);
    await driver.start(guest.id, anySignal);
    expect((await driver.inspect(guest.id, anySignal)).phase).toBe('running');
  });

  it.each([0, 5, 255])('keeps the exit code %i', async (code) => {
    await using world = await setUp();
    const id = await running(world, shell(`exit ${code}`));
    const exit = await ended(world.driver, id);
    expect(exit).toMatchObject({ code, unknown: false, outOfMemory: false });
    expect(Math.abs(exit.atMs - systemClock.nowMs())).toBeLessThan(10_000);
  });

  it('says 137 for a guest that was killed', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    await world.driver.signal(id, 9, anySignal);
    expect(await ended(world.driver, id)).toMatchObject({ code: 137, unknown: false });
    await expect(world.driver.signal(id, 9, anySignal)).rejects.toMatchObject({
      kind: 'failed-precondition',
    });
  });

  it('tells of a guest that ended by itself', async () => {
    await using world = await setUp();
    const told = new Set<string>();
    const unsubscribe = world.driver.onChange((id) => told.add(id));
    const id = await running(world, shell('sleep 0.1; exit 3'));
    await until(() => told.has(id), { what: 'told of the end' });
    expect(await ended(world.driver, id)).toMatchObject({ code: 3 });
    unsubscribe();
  });

  it('reads the limits back from the host', async () => {
    await using world = await setUp();
    const resources = { cpuMillicores: 250, memoryMib: 64, diskMib: 0, pids: 40 };
    const id = await running(world, forEver, { resources });
    expect((await world.driver.inspect(id, anySignal)).limits).toEqual(resources);
  });

  it('removes a guest that runs, and one that never started', async () => {
    await using world = await setUp();
    const { driver } = world;
    await driver.remove(await running(world, forEver), anySignal);
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await driver.remove(guest.id, anySignal);
    expect(await driver.list(anySignal)).toEqual([]);
  });

  it('runs eight at a time', async () => {
    await using world = await setUp();
    const ids = await Promise.all(Array.from({ length: 8 }, () => running(world, forEver)));
    const states = await world.driver.list(anySignal);
    expect(states.map(({ id, phase }) => ({ id, phase })).sort(byId)).toEqual(
      ids.map((id) => ({ id, phase: 'running' })).sort(byId),
    );
    await Promise.all(ids.map((id) => world.driver.remove(id, anySignal)));
  });
}

const byId = (a: { readonly id: string }, b: { readonly id: string }): number => (a.id < b.id ? -1 : 1);

function stopping(setUp: SetUpDriver): void {
  it('asks politely first', async () => {
    await using world = await setUp();
    const id = await running(world, shell("trap 'exit 3' TERM; echo ready; sleep 100000 & wait"));
    await untilLogged(world.driver, id, 'ready');
    await world.driver.stop(id, 30_000, anySignal);
    expect(await ended(world.driver, id)).toMatchObject({ code: 3, unknown: false });
  });

  it('kills what does not listen once the grace is over', async () => {
    await using world = await setUp();
    const id = await running(world, shell("trap '' TERM; echo ready; sleep 100000"));
    await untilLogged(world.driver, id, 'ready');
    const beganMs = systemClock.monotonicMs();
    await world.driver.stop(id, 300, anySignal);
    expect(systemClock.monotonicMs() - beganMs).toBeGreaterThanOrEqual(290);
    expect(await world.driver.inspect(id, anySignal)).toMatchObject({
      phase: 'stopped',
      exit: { code: 137 },
    });
  });

  it('stops a guest that never started', async () => {
    await using world = await setUp();
    const guest = await world.newGuest(forEver);
    await world.driver.create(guest, anySignal);
    await world.driver.stop(guest.id, 1000, anySignal);
    expect((await world.driver.inspect(guest.id, anySignal)).phase).toBe('stopped');
  });

  it('stops a guest that has a command running inside', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    const session = await world.driver.exec(id, execStart(shell('sleep 100000')), anySignal);
    await world.driver.stop(id, 0, anySignal);
    expect((await readSession(session)).exit).toMatchObject({ code: 137 });
  });
}

function commandsInside(setUp: SetUpDriver): void {
  it('runs a command with both outputs and its exit code', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    const script = 'echo out $MORE; echo err >&2; exit 7';
    const session = await world.driver.exec(
      id,
      execStart(shell(script), { env: { MORE: 'more' } }),
      anySignal,
    );
    const { stdout, stderr, exit } = await readSession(session);
    expect({ stdout, stderr }).toEqual({ stdout: 'out more\n', stderr: 'err\n' });
    expect(exit).toMatchObject({ code: 7, unknown: false });
    expect(await world.driver.execExit(session.execId)).toMatchObject({ code: 7, unknown: false });
    await expect(session.send({ kind: 'stdin', data: encode('x') })).rejects.toMatchObject({
      kind: 'failed-precondition',
    });
  });

  it('carries standard input, all of it, and its end', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    const session = await world.driver.exec(id, execStart(['/bin/cat'], { stdin: true }), anySignal);
    const read = readSession(session);
    let sent = '';
    for (let part = 0; part < 40; part += 1) {
      const text = `${part}:${'x'.repeat(10_000)}\n`;
      sent += text;
      await session.send({ kind: 'stdin', data: encode(text) });
    }
    await session.send({ kind: 'stdin-end' });
    const { stdout, exit } = await read;
    expect(stdout.length).toBe(sent.length);
    expect(stdout === sent).toBe(true);
    expect(exit).toMatchObject({ code: 0 });
  });

  it('ends the input of a command that was given none', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    const session = await world.driver.exec(id, execStart(['/bin/cat']), anySignal);
    expect((await readSession(session)).exit).toMatchObject({ code: 0 });
  });

  it('gives a terminal, and resizes it', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    const size = { columns: 91, rows: 21 };
    const start = execStart(shell('stty size; read x; stty size'), { tty: true, stdin: true, size });
    const session = await world.driver.exec(id, start, anySignal);
    const heard: string[] = [];
    const read = readSession(session, heard);
    await until(() => heard.join('').includes('21 91\r\n'), { what: 'the first size' });
    await session.send({ kind: 'resize', size: { columns: 100, rows: 30 } });
    await session.send({ kind: 'resize', size: { columns: 101, rows: 33 } });
    await systemClock.sleep(200); // The size goes another way than the input.
    await session.send({ kind: 'stdin', data: encode('go\n') });
    const { stdout, exit } = await read;
    expect(stdout).toMatch(/21 91\r\n(go\r\n)?33 101\r\n/);
    expect(exit).toMatchObject({ code: 0 });
  });

  it('signals a command, and hangs up a terminal', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    const signalled = await world.driver.exec(id, execStart(['/bin/sleep', '100000']), anySignal);
    await signalled.send({ kind: 'signal', signal: 15 });
    expect((await readSession(signalled)).exit).toMatchObject({ code: 143 });
    const start = execStart(['/bin/sleep', '100000'], { tty: true, stdin: true });
    const hungUp = await world.driver.exec(id, start, anySignal);
    hungUp.close();
    const exit = await until(() => world.driver.execExit(hungUp.execId), { what: 'hung up' });
    expect(exit).toMatchObject({ code: 129 });
  });

  it('refuses a program that is not there, and a guest that does not run', async () => {
    await using world = await setUp();
    const { driver } = world;
    const id = await running(world, forEver);
    const missing = driver.exec(id, execStart(['/bin/no-such-program']), anySignal);
    await expect(missing).rejects.toMatchObject({ kind: 'invalid-argument' });
    await driver.stop(id, 0, anySignal);
    const late = driver.exec(id, execStart(shell('true')), anySignal);
    await expect(late).rejects.toMatchObject({ kind: 'failed-precondition' });
  });
}

function afterRestart(setUp: SetUpDriver): void {
  it('finds its guests again, and how they ended meanwhile', async () => {
    await using world = await setUp();
    const [goesOn, ends] = [await running(world, forEver), await running(world, shell('sleep 0.2; exit 5'))];
    const before = await world.driver.inspect(goesOn, anySignal);
    const driver = world.reopen();
    expect(await driver.inspect(goesOn, anySignal)).toEqual(before);
    expect(await ended(driver, ends)).toMatchObject({ code: 5, unknown: false });
    expect((await driver.list(anySignal)).map(({ id }) => id).sort()).toEqual([goesOn, ends].sort());
  });

  it('finds how a command ended that began before', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    const session = await world.driver.exec(id, execStart(shell('sleep 0.3; exit 4')), anySignal);
    const driver = world.reopen();
    expect(await driver.execExit(session.execId)).toBeUndefined();
    const exit = await until(() => driver.execExit(session.execId), { what: 'the exec ended' });
    expect(exit).toMatchObject({ code: 4, unknown: false });
  });

  it('says unknown where the monitor died, and never makes a code up', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    await world.loseMonitor(id);
    if (await can(world, 'outlives-monitor')) {
      expect(await world.driver.inspect(id, anySignal)).toMatchObject({
        phase: 'running',
        message: expect.stringContaining('monitor') as string,
      });
      await world.driver.signal(id, 9, anySignal);
    }
    expect(await ended(world.driver, id)).toMatchObject({ unknown: true });
    expect(await ended(world.reopen(), id)).toMatchObject({ unknown: true });
  });
}

function output(setUp: SetUpDriver): void {
  it('keeps the output: all, the last lines, one stream, since a time', async () => {
    await using world = await setUp();
    const id = await running(world, shell('echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three'));
    await ended(world.driver, id);
    const read = (changes: Partial<LogOptions>) =>
      textsOf(world.driver.logs(id, { ...everything, ...changes }, anySignal));
    const two = (await can(world, 'separate-output')) ? 'stderr:two' : 'stdout:two';
    expect(await read({})).toEqual(['stdout:one', two, 'stdout:three']);
    expect(await read({ tail: 2 })).toEqual([two, 'stdout:three']);
    expect(await read({ tail: 0 })).toEqual([]);
    expect(await read({ stream: 'stderr' })).toEqual(two === 'stderr:two' ? [two] : []);
    expect(await read({ sinceMs: systemClock.nowMs() + 60_000 })).toEqual([]);
    expect(await read({ follow: true, tail: 1 })).toEqual(['stdout:three']);
  });

  it('follows the output until the guest ends', async () => {
    await using world = await setUp();
    const id = await running(world, shell('echo one; sleep 0.3; echo two; exit 0'));
    const followed = textsOf(world.driver.logs(id, { ...everything, follow: true }, anySignal));
    expect(await followed).toEqual(['stdout:one', 'stdout:two']);
  });

  it('stops following when it is told to', async () => {
    await using world = await setUp();
    const id = await running(world, forEver);
    const stop = new AbortController();
    const followed = textsOf(world.driver.logs(id, { ...everything, follow: true }, stop.signal));
    stop.abort();
    expect(await followed).toEqual([]);
  });

  it('keeps the output of an earlier run where it is asked to', async () => {
    await using world = await setUp();
    const { driver } = world;
    const guest = await world.newGuest(shell('echo run; exit 1'));
    for (const keepLogs of [true, true, false]) {
      await driver.create(guest, anySignal);
      await driver.start(guest.id, anySignal);
      await ended(driver, guest.id);
      if (!keepLogs) break;
      await driver.remove(guest.id, anySignal, { keepLogs });
    }
    const lines = await textsOf(driver.logs(guest.id, everything, anySignal));
    expect(lines).toEqual(['stdout:run', 'stdout:run', 'stdout:run']);
    await driver.remove(guest.id, anySignal);
    await expect(textsOf(driver.logs(guest.id, everything, anySignal))).rejects.toMatchObject({
      kind: 'not-found',
    });
  });
}

function refusals(setUp: SetUpDriver): void {
  it('does not know what was never made', async () => {
    await using world = await setUp();
    const { driver } = world;
    const { id } = await world.newGuest(forEver);
    const calls: (() => Promise<unknown>)[] = [
      () => driver.start(id, anySignal),
      () => driver.stop(id, 0, anySignal),
      () => driver.signal(id, 15, anySignal),
      () => driver.inspect(id, anySignal),
      () => driver.exec(id, execStart(forEver), anySignal),
      () => driver.execExit('no-such-exec'),
      () => textsOf(driver.logs(id, everything, anySignal)),
    ];
    const resources = { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 10 };
    if (await can(world, 'pause'))
      calls.push(
        () => driver.pause(id, anySignal),
        () => driver.resume(id, anySignal),
      );
    if (await can(world, 'update')) calls.push(() => driver.update(id, resources, anySignal));
    if (await can(world, 'stats')) calls.push(() => driver.stats(id));
    if (await can(world, 'console'))
      calls.push(() => driver.console(id, { columns: 80, rows: 24 }, anySignal));
    for (const call of calls) await expect(call()).rejects.toMatchObject({ kind: 'not-found' });
    await driver.remove(id, anySignal);
  });

  it.each(['..', '.', '', '../x', 'a/b', '-f', 'A', 'a\nb', 'a b', 'é', 'x'.repeat(60), 'a\0b', '*'])(
    'refuses the id %j',
    async (hostile) => {
      await using world = await setUp();
      const { driver } = world;
      const guest = { ...(await world.newGuest(forEver)), id: hostile as InstanceId };
      await expect(driver.create(guest, anySignal)).rejects.toMatchObject({ kind: 'invalid-argument' });
      await expect(driver.remove(guest.id, anySignal)).rejects.toMatchObject({ kind: 'invalid-argument' });
      await expect(driver.inspect(guest.id, anySignal)).rejects.toMatchObject({ name: 'DroverError' });
      expect(await driver.list(anySignal)).toEqual([]);
    },
  );

  const hostileSpecs: readonly (readonly [string, Partial<InstanceSpec>])[] = [
    ['a NUL in the command', { command: ['/bin/sh', 'a\0b'] }],
    ['a NUL in the environment', { env: { A: 'a\0b' } }],
    ['no command at all', { command: [] }],
    ['a NUL in the directory', { workingDir: '/a\0b' }],
  ];
  it.each(hostileSpecs)('refuses %s and leaves nothing', async (_, changes) => {
    await using world = await setUp();
    const guest = await world.newGuest(changes.command ?? forEver, changes);
    await expect(world.driver.create(guest, anySignal)).rejects.toMatchObject({ kind: 'invalid-argument' });
    await expect(world.driver.inspect(guest.id, anySignal)).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('hands strange texts to the program as they are', async () => {
    await using world = await setUp();
    const strange = ['$(id)', '`id`', '; id', '--help', '"\'', '%s', 'a = b # c', '\u{1f600}'];
    const env = Object.fromEntries(strange.map((text, index) => [`V${index}`, text]));
    const id = await running(world, forEver, { env });
    expect((await world.driver.inspect(id, anySignal)).phase).toBe('running');
    for (const [index, text] of strange.entries())
      expect((await inside(world.driver, id, `echo "$V${index}"`)).stdout).toBe(`${text}\n`);
  });

  it.each(['\u001b[31m', 'a\nb', 'a\rb'])('hands over %j or refuses it, one of the two', async (text) => {
    await using world = await setUp();
    const guest = await world.newGuest(forEver, { env: { V: text } });
    const refusal = await world.driver.create(guest, anySignal).catch((error: unknown) => error);
    if (refusal !== undefined) {
      expect(refusal).toMatchObject({ kind: 'invalid-argument' });
      return;
    }
    await world.driver.start(guest.id, anySignal);
    expect((await inside(world.driver, guest.id, 'echo "$V"')).stdout).toBe(`${text}\n`);
  });
}
