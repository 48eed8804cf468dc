import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { inside } from '../../test/conformance/runtime-driver-world.ts';
import { setUpCrun } from '../../test/crun-host.ts';

const anySignal = new AbortController().signal;
const forEver = ['/bin/sleep', '100000'];
const run = (tool: string, ...args: string[]): string => execFileSync(tool, args, { encoding: 'utf8' });

/** One interface between two guests that were created and not started; the host's own network has no part in it. */
function connect(pids: readonly [number, number]): void {
  const [one, other] = pids.map((pid) => `/proc/${pid}/ns/net`) as [string, string];
  const ends = ['name', 'eth0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', `${pids[1]}`];
  run('nsenter', `--net=${one}`, 'ip', 'link', 'add', ...ends);
  for (const [place, namespace] of [one, other].entries()) {
    run('nsenter', `--net=${namespace}`, 'ip', 'address', 'add', `10.99.0.${place + 1}/30`, 'dev', 'eth0');
    run('nsenter', `--net=${namespace}`, 'ip', 'link', 'set', 'eth0', 'up');
  }
}

describe('a guest of crun with interfaces of its own', () => {
  it('has what was made in its namespace between create and start, and counts what goes through', async () => {
    await using world = await setUpCrun();
    const { driver } = world;
    const guests = await Promise.all([1, 2].map(() => world.newGuest(forEver, { network: 'bridged' })));
    const pids: number[] = [];
    for (const guest of guests) {
      await driver.create(guest, anySignal);
      pids.push((await driver.inspect(guest.id, anySignal)).pid);
    }
    connect(pids as [number, number]);
    for (const { id } of guests) await driver.start(id, anySignal);
    const [first] = guests;
    if (first === undefined) throw new Error('no guest');
    expect((await driver.inspect(first.id, anySignal)).pid).toBe(pids[0]);
    const before = await driver.stats(first.id);
    const { stdout, exit } = await inside(driver, first.id, 'ping -c 3 -i 0.1 -s 1000 10.99.0.2');
    expect({ stdout, code: exit?.code }).toMatchObject({ code: 0 });
    const after = await driver.stats(first.id);
    expect(after.receivedBytes - before.receivedBytes).toBeGreaterThan(3000);
    expect(after.sentBytes - before.sentBytes).toBeGreaterThan(3000);
  });

  it('has none but its own loop before anybody makes one, and not the host network', async () => {
    await using world = await setUpCrun();
    const guest = await world.newGuest(forEver, { network: 'bridged' });
    await world.driver.create(guest, anySignal);
    await world.driver.start(guest.id, anySignal);
    const { stdout } = await inside(world.driver, guest.id, 'cat /proc/net/dev');
    const names = stdout
      .split('\n')
      .filter((line) => line.includes(':'))
      .map((line) => line.split(':')[0]?.trim());
    expect(names).toEqual(['lo']);
  });
});
