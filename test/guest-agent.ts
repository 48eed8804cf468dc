import { runtimeDrivers } from '../agent/drivers/index.ts';
import { createHostCommands } from '../agent/host/command.ts';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { newGuestSpec } from './guest-specs.ts';

/** The part of an agent that a test kills: one life cycle, each step said on standard output. */
const options = JSON.parse(process.argv[2] ?? '{}') as {
  /** "crun". */
  readonly runtime: string;
  readonly stateDir: string;
  readonly runDir: string;
  readonly cgroupPrefix: string;
  readonly id: InstanceId;
  readonly rootfs: string;
};
const { id, rootfs, runtime } = options;
const openDriver = runtimeDrivers[runtime];
if (openDriver === undefined) throw new Error(`no driver ${runtime}`);
const driver = openDriver({
  ...options,
  allowedDevices: [],
  allowsPrivileged: false,
  commands: createHostCommands({ clock: systemClock }),
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
});
const { signal } = new AbortController();
const say = (word: string): boolean => process.stdout.write(`${word}\n`);

say('begin');
await driver.create(newGuestSpec({ id, rootfs, command: ['/bin/sleep', '100000'] }), signal);
say('created');
await driver.start(id, signal);
say('started');
await driver.stop(id, 0, signal);
say('stopped');
await driver.remove(id, signal);
say('removed');
await systemClock.sleep(60_000);
