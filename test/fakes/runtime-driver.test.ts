import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { systemClock } from '#shared/clock.ts';
import type { InstanceId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import {
  runtimeDriverConformance,
  type DriverWorld,
  type NodePolicy,
} from '../conformance/runtime-driver.ts';
import { newGuestSpec } from '../guest-specs.ts';
import { createFakeRuntimeHost, fakeRuntimeDriver, type FakeDriverOptions } from './runtime-driver.ts';

const setUpFake =
  (options: FakeDriverOptions) =>
  async (policy: NodePolicy = {}): Promise<DriverWorld> => {
    const host = createFakeRuntimeHost(systemClock);
    const folder = await mkdtemp(path.join(tmpdir(), 'drover-fake-'));
    const open = () => fakeRuntimeDriver(host, 'fake', { ...options, ...policy });
    const driver = open();
    return {
      driver,
      reopen: open,
      newGuest: async (command, changes, parts) =>
        newGuestSpec({
          id: systemRandom.uuidV7() as InstanceId,
          rootfs: await mkdtemp(path.join(folder, 'root-')),
          command,
          changes,
          parts,
        }),
      loseMonitor: async (id) => host.loseMonitor(id),
      async [Symbol.asyncDispose]() {
        for (const id of host.guests.keys()) await driver.remove(id, new AbortController().signal);
        await driver.close();
        await rm(folder, { recursive: true });
      },
    };
  };

runtimeDriverConformance('fake', setUpFake({}));

// What it does not announce it has to refuse.
runtimeDriverConformance(
  'fake that can little',
  setUpFake({
    network: 'native',
    capabilities: ['exec', 'logs', 'network-none', 'outlives-monitor', 'separate-output'],
  }),
);
