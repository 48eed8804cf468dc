import { systemClock } from '#shared/clock.ts';
import { systemRandom } from '#shared/random.ts';
import type { InstanceId } from '#shared/model.ts';
import { runtimeDriverConformance, type DriverWorld } from '../conformance/runtime-driver.ts';
import { newGuestSpec } from '../guest-specs.ts';
import { createFakeRuntimeHost, fakeRuntimeDriver } from './runtime-driver.ts';

async function setUpFake(): Promise<DriverWorld> {
  const host = createFakeRuntimeHost(systemClock);
  const driver = fakeRuntimeDriver(host);
  return {
    driver,
    reopen: () => fakeRuntimeDriver(host),
    newGuest: async (command, changes) =>
      newGuestSpec({ id: systemRandom.uuidV7() as InstanceId, rootfs: '/', command, changes }),
    loseMonitor: async (id) => host.loseMonitor(id),
    async [Symbol.asyncDispose]() {
      for (const id of host.guests.keys()) await driver.remove(id, new AbortController().signal);
      await driver.close();
    },
  };
}

runtimeDriverConformance('fake', setUpFake);
