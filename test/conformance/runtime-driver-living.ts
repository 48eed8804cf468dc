import { expect, it } from 'vitest';
import type { RuntimeDriver } from '../../agent/drivers/driver.ts';
import { systemClock } from '#shared/clock.ts';
import type { InstanceId, Resources } from '#shared/model.ts';
import { until } from '../until.ts';
import {
  anySignal,
  can,
  encode,
  ended,
  execStart,
  forEver,
  inside,
  readSession,
  running,
  shell,
  untilLogged,
  type DriverWorld,
  type SetUpDriver,
} from './runtime-driver-world.ts';

const busy = shell('while :; do :; done');
const refused = { kind: 'failed-precondition' };

/** What may be done with a guest that lives: pause, update, look at what it uses, sit at its console. */
export function livingGuests(setUp: SetUpDriver): void {
  pausing(setUp);
  endOfThePaused(setUp);
  updating(setUp);
  measuring(setUp);
  sittingAtTheConsole(setUp);
}

const phaseOf = async (driver: RuntimeDriver, id: InstanceId): Promise<string> =>
  (await driver.inspect(id, anySignal)).phase;

const grows = async (driver: RuntimeDriver, id: InstanceId): Promise<boolean> => {
  const { cpuUs } = await driver.stats(id);
  return until(async () => (await driver.stats(id)).cpuUs > cpuUs, { what: `${id} uses the processor` });
};

/** Whether the rest of a row applies; where not, the method has to say so itself. */
async function announced(
  world: DriverWorld,
  capability: string,
  call: (id: InstanceId) => Promise<unknown>,
): Promise<boolean> {
  if (await can(world, capability)) return true;
  const id = await running(world, forEver);
  await expect(call(id)).rejects.toMatchObject({ kind: 'unimplemented' });
  return false;
}

function pausing(setUp: SetUpDriver): void {
  it('stands still while it is paused, and goes on, each said twice', async () => {
    await using world = await setUp();
    const { driver } = world;
    if (!(await announced(world, 'pause', (id) => driver.pause(id, anySignal)))) return;
    const id = await running(world, busy);
    const before = await driver.inspect(id, anySignal);
    await driver.resume(id, anySignal);
    await grows(driver, id);
    await driver.pause(id, anySignal);
    await driver.pause(id, anySignal);
    expect(await driver.inspect(id, anySignal)).toEqual({ ...before, phase: 'paused' });
    expect(await driver.list(anySignal)).toEqual([{ ...before, phase: 'paused' }]);
    await driver.start(id, anySignal);
    const { cpuUs } = await driver.stats(id);
    await systemClock.sleep(50); // Long enough to be seen, had it gone on.
    expect((await driver.stats(id)).cpuUs).toBe(cpuUs);
    await driver.resume(id, anySignal);
    await driver.resume(id, anySignal);
    expect(await driver.inspect(id, anySignal)).toEqual(before);
    await grows(driver, id);
  });

  it('runs no command in a paused guest, and is paused still for a driver opened anew', async () => {
    await using world = await setUp();
    if (!(await can(world, 'pause'))) return;
    const id = await running(world, forEver);
    await world.driver.pause(id, anySignal);
    const driver = world.reopen();
    expect(await phaseOf(driver, id)).toBe('paused');
    await expect(driver.exec(id, execStart(shell('true')), anySignal)).rejects.toMatchObject(refused);
    await driver.resume(id, anySignal);
    expect(await phaseOf(driver, id)).toBe('running');
    expect((await inside(driver, id, 'exit 4')).exit).toMatchObject({ code: 4 });
  });

  it('pauses nothing that does not run', async () => {
    await using world = await setUp();
    const { driver } = world;
    if (!(await can(world, 'pause'))) return;
    const guest = await world.newGuest(forEver);
    await driver.create(guest, anySignal);
    await expect(driver.pause(guest.id, anySignal)).rejects.toMatchObject(refused);
    await expect(driver.resume(guest.id, anySignal)).rejects.toMatchObject(refused);
    await driver.start(guest.id, anySignal);
    await driver.stop(guest.id, 0, anySignal);
    await expect(driver.pause(guest.id, anySignal)).rejects.toMatchObject(refused);
    await expect(driver.resume(guest.id, anySignal)).rejects.toMatchObject(refused);
  });
}

function endOfThePaused(setUp: SetUpDriver): void {
  it('asks a paused guest to stop, which goes on to do so', async () => {
    await using world = await setUp();
    if (!(await can(world, 'pause'))) return;
    const id = await running(world, shell("trap 'exit 3' TERM; echo ready; sleep 100000 & wait"));
    await untilLogged(world.driver, id, 'ready');
    await world.driver.pause(id, anySignal);
    await world.driver.stop(id, 30_000, anySignal);
    expect(await ended(world.driver, id)).toMatchObject({ code: 3, unknown: false });
  });

  it.each([
    ['stopped without grace', async (driver, id) => driver.stop(id, 0, anySignal)],
    ['killed', async (driver, id) => driver.signal(id, 9, anySignal)],
  ] as readonly (readonly [string, (driver: RuntimeDriver, id: InstanceId) => Promise<void>])[])(
    'may be %s while it is paused',
    async (_, end) => {
      await using world = await setUp();
      if (!(await can(world, 'pause'))) return;
      const id = await running(world, forEver);
      await world.driver.pause(id, anySignal);
      await end(world.driver, id);
      expect(await ended(world.driver, id)).toMatchObject({ code: 137, unknown: false });
      await world.driver.remove(id, anySignal);
    },
  );

  it('may be removed while it is paused, with what runs in it', async () => {
    await using world = await setUp();
    if (!(await can(world, 'pause'))) return;
    const id = await running(world, forEver);
    const session = await world.driver.exec(id, execStart(shell('sleep 100000')), anySignal);
    await world.driver.pause(id, anySignal);
    await world.driver.remove(id, anySignal);
    expect((await readSession(session)).exit).toMatchObject({ code: 137 });
    expect(await world.driver.list(anySignal)).toEqual([]);
  });
}

const limits = (changes: Partial<Resources> = {}): Resources => ({
  cpuMillicores: 500,
  memoryMib: 64,
  diskMib: 0,
  pids: 50,
  ...changes,
});

function updating(setUp: SetUpDriver): void {
  it('takes other limits while it runs, up, down and none, and while it is paused', async () => {
    await using world = await setUp();
    const { driver } = world;
    if (!(await announced(world, 'update', (id) => driver.update(id, limits(), anySignal)))) return;
    const id = await running(world, forEver, { resources: limits() });
    const before = await driver.inspect(id, anySignal);
    const rows = [
      limits({ memoryMib: 256, cpuMillicores: 1500, pids: 90 }),
      limits({ memoryMib: 48, cpuMillicores: 100, pids: 20 }),
      limits({ memoryMib: 0, cpuMillicores: 0 }),
      limits(),
    ];
    for (const wanted of rows) {
      await driver.update(id, { ...wanted, diskMib: 100 }, anySignal);
      await driver.update(id, wanted, anySignal);
      expect(await driver.inspect(id, anySignal)).toEqual({ ...before, limits: wanted });
    }
    if (!(await can(world, 'pause'))) return;
    await driver.pause(id, anySignal);
    await driver.update(id, limits({ memoryMib: 96 }), anySignal);
    const paused = { ...before, phase: 'paused', limits: limits({ memoryMib: 96 }) };
    expect(await world.reopen().inspect(id, anySignal)).toEqual(paused);
  });

  it('is not limited below the memory that it uses', async () => {
    await using world = await setUp();
    const { driver } = world;
    if (!(await can(world, 'update')) || !(await can(world, 'stats'))) return;
    const resources = limits({ cpuMillicores: 0 });
    const id = await running(world, shell('dd if=/dev/zero bs=24M count=1 | sleep 100000'), { resources });
    await until(async () => (await driver.stats(id)).memoryBytes > 24_000_000, { what: 'it holds memory' });
    await expect(driver.update(id, limits({ memoryMib: 8 }), anySignal)).rejects.toMatchObject({
      ...refused,
      message: expect.stringMatching(/\b8 MiB\b.*\b2\d MiB\b/) as string,
    });
    expect(await driver.inspect(id, anySignal)).toMatchObject({ phase: 'running', limits: resources });
  });

  it('updates and measures nothing that does not live', async () => {
    await using world = await setUp();
    const { driver } = world;
    if (!(await can(world, 'update')) || !(await can(world, 'stats'))) return;
    const guest = await world.newGuest(forEver);
    const check = async (): Promise<void> => {
      await expect(driver.update(guest.id, limits(), anySignal)).rejects.toMatchObject(refused);
      await expect(driver.stats(guest.id)).rejects.toMatchObject(refused);
    };
    await driver.create(guest, anySignal);
    await check();
    await driver.start(guest.id, anySignal);
    await driver.stop(guest.id, 0, anySignal);
    await check();
  });
}

function measuring(setUp: SetUpDriver): void {
  it('says what it uses', async () => {
    await using world = await setUp();
    const { driver } = world;
    if (!(await announced(world, 'stats', (id) => driver.stats(id)))) return;
    const id = await running(world, busy);
    await grows(driver, id);
    const before = await driver.stats(id);
    expect(before).toMatchObject({ instanceId: id, receivedBytes: 0, sentBytes: 0 });
    expect(Math.abs(before.atMs - systemClock.nowMs())).toBeLessThan(10_000);
    expect(before.memoryBytes).toBeGreaterThan(0);
    expect(before.memoryBytes).toBeLessThan(64 * 1024 * 1024);
    const session = await driver.exec(id, execStart(shell('sleep 100000 & wait')), anySignal);
    await until(async () => (await driver.stats(id)).pids > before.pids, { what: 'it has more processes' });
    session.close();
  });
}

function sittingAtTheConsole(setUp: SetUpDriver): void {
  it('shows its console, to more than one', async () => {
    await using world = await setUp();
    const { driver } = world;
    const size = { columns: 80, rows: 24 };
    if (!(await announced(world, 'console', (id) => driver.console(id, size, anySignal)))) return;
    const id = await running(world, ['/bin/sh']);
    const one: string[] = [];
    const other: string[] = [];
    const first = await driver.console(id, size, anySignal);
    const second = await driver.console(id, size, anySignal);
    const reading = [readSession(first, one), readSession(second, other)];
    await first.send({ kind: 'stdin', data: encode('echo he""llo\n') });
    for (const heard of [one, other])
      await until(() => heard.join('').includes('hello'), { what: 'it answered' });
    first.close();
    await reading[0];
    expect((await driver.inspect(id, anySignal)).phase).toBe('running');
    await driver.stop(id, 0, anySignal);
    await reading[1];
    await expect(driver.console(id, size, anySignal)).rejects.toMatchObject(refused);
  });
}
