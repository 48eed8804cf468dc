import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { type FaultHook, type Instances, openInstances, type Tools } from '../../agent/instances.ts';
import { createPools } from '../../agent/volumes/pools.ts';
import type { VolumeCapability } from '../../agent/volumes/volume-driver.ts';
import type { BeforeUpdate } from '../../agent/instances/tools.ts';
import { type Clock, systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { InstanceId, InstanceSpec, Order } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { until } from '../until.ts';
import { createFakeImageSource, createFakeImageStore } from './image-source.ts';
import { createFakeGuestNetworks, newFakeNetworkHost } from './guest-network.ts';
import { createFakeRuntimeHost, type FakeDriverOptions, fakeRuntimeDriver } from './runtime-driver.ts';
import { createFakeVolumeDriver } from './volume-driver.ts';

export const fleetId = '0b8f5a52-5f0f-4c5e-9d43-0f4f6f6b0001';
const reference = 'registry.test/app:1';

export interface AgentWorldOptions {
  /** Of the driver "fake". */
  readonly driver?: FakeDriverOptions;
  readonly allowsPrivileged?: boolean;
  readonly rangeCount?: number;
  /** The system's own, where it is left out. */
  readonly clock?: Clock;
  /** Of the pools "local", the default, and "other". */
  readonly pools?: { readonly local?: PoolAbilities; readonly other?: PoolAbilities };
}

type PoolAbilities = readonly VolumeCapability[];

/** One node without a control plane: fake drivers, a real state directory, and as many lives of the agent as wanted. */
export async function createAgentWorld(options: AgentWorldOptions = {}) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'drover-agent-'));
  const { clock = systemClock } = options;
  const host = createFakeRuntimeHost(clock);
  const store = createFakeImageStore();
  const digest = store.publish(reference);
  const pool = (name: 'local' | 'other') =>
    createFakeVolumeDriver({
      directory: path.join(folder, name === 'local' ? 'volumes' : `volumes-${name}`),
      pool: name,
      capabilities: options.pools?.[name] ?? ['snapshots', 'idmap'],
    });
  const [volumes, otherVolumes] = [pool('local'), pool('other')];
  /** Of the namespaces that were configured, in this order. */
  const attachedPids: number[] = [];
  const networks = createFakeGuestNetworks(
    newFakeNetworkHost((pid) => {
      attachedPids.push(pid);
      return [...host.guests.values()].some(({ createdPid }) => createdPid === pid);
    }),
  );
  const images = createFakeImageSource({ directory: path.join(folder, 'images'), store });
  const lives: Instances[] = [];
  let boot = 1;

  const order = (id: InstanceId, generation: number, more: Partial<Order> = {}): Order => ({
    fleetId,
    fleetEpoch: 1,
    instanceId: id,
    generation,
    requestId: systemRandom.uuidV4(),
    ...more,
  });
  const spec = (command: readonly string[], more: Partial<InstanceSpec> = {}): InstanceSpec => ({
    runtime: 'fake',
    image: `registry.test/app@${digest}`,
    command,
    env: {},
    resources: { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 64 },
    network: 'none',
    restart: { policy: 'always', maxAttempts: 0 },
    stopGraceMs: 50,
    displayName: 'app-aaaaa',
    workload: 'app',
    user: '',
    workingDir: '',
    imageCredential: '',
    ...plainGuestConfig,
    assigned: emptyAssignment,
    ...more,
  });
  const tools = (): Tools => ({
    drivers: [fakeRuntimeDriver(host, 'fake', options.driver)],
    images: [images],
    pools: createPools([volumes, otherVolumes]),
    networks,
    range: { base: 1_000_000, size: 65_536 },
    rangeCount: options.rangeCount ?? 100,
    allowsPrivileged: options.allowsPrivileged ?? false,
    clock,
    random: systemRandom,
    log: silentLog,
    bootId: `boot-${boot}`,
  });
  return {
    folder,
    host,
    store,
    volumes,
    otherVolumes,
    networks,
    attachedPids,
    images,
    order,
    spec,
    newId: () => systemRandom.uuidV7() as InstanceId,
    /** Another life of the agent on the same state. */
    async open(faults?: FaultHook, beforeUpdate?: BeforeUpdate): Promise<Instances> {
      const instances = await openInstances({
        stateDir: path.join(folder, 'state'),
        fleetId,
        tools: tools(),
        ...(faults && { faults }),
        ...(beforeUpdate && { beforeUpdate }),
      });
      lives.push(instances);
      return instances;
    },
    /** What a damaged disk leaves of it. */
    loseRecord: (id: InstanceId): Promise<void> =>
      writeFile(path.join(folder, 'state/instances', id, 'record.json'), ''),
    /** Every guest is gone, and the kernel says so. */
    reboot(): void {
      boot += 1;
      for (const guest of host.guests.values()) guest.process?.end(137, false);
      host.guests.clear();
    },
    async [Symbol.asyncDispose]() {
      for (const life of lives) await life.close();
      for (const guest of host.guests.values()) guest.process?.end(137, false);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export type AgentWorld = Awaited<ReturnType<typeof createAgentWorld>>;

/** A guest that ends when it is asked to. */
export const forever = ['sh', '-c', 'trap "exit 0" TERM; wait'];

export const phaseOf = (instances: Instances, id: InstanceId): string | undefined =>
  instances.list().find(({ state }) => state.instanceId === id)?.state.phase;

export const reach = (instances: Instances, id: InstanceId, phase: string): Promise<unknown> =>
  until(() => phaseOf(instances, id) === phase, { what: `${id} ${phase}, now ${phaseOf(instances, id)}` });

/** Ensured as its first generation; it runs. */
export async function runInstance(
  world: AgentWorld,
  instances: Instances,
  more: Partial<InstanceSpec> = {},
): Promise<InstanceId> {
  const id = world.newId();
  await instances.ensure(world.order(id, 1), world.spec(forever, more));
  await reach(instances, id, 'running');
  return id;
}
