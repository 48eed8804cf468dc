import { createMemoryJournal } from '../../control-plane/store/memory.ts';
import { isKind } from '#shared/errors.ts';
import type { InstanceId, NodeFacts, VolumeClaim, WorkloadSpec } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import { createFakeFleet } from '../fakes/backend.ts';
import { createFakeClock, type FakeClock } from '../fakes/clock.ts';
import type { FakeNode } from '../fakes/node.ts';
import { createSeededRandom } from '../fakes/random.ts';
import { retireVolume } from '../../control-plane/store/remove-volume.ts';
import { type SimulatedControlPlane, simpleSpec, startControlPlane } from './control-plane.ts';
import { type Faults, faultyBackend } from './faulty-backend.ts';

/** What was acknowledged of a workload; undefined replicas: its delete was. */
interface Wanted {
  readonly image: string;
  readonly replicas: number | undefined;
}

/** What a person asks for; the rest of the spec is as `simpleSpec` says. */
export interface Asked {
  readonly image: string;
  readonly replicas: number;
  readonly memoryMib: number;
  readonly runtime?: 'crun' | 'lxc';
  readonly claims?: readonly Pick<VolumeClaim, 'name' | 'keep' | 'sizeMib'>[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface SimulatedFleet {
  readonly clock: FakeClock;
  readonly random: Random;
  readonly nodes: ReadonlyMap<string, FakeNode>;
  /** By name; what was refused is not in it. */
  readonly wanted: ReadonlyMap<string, Wanted>;
  readonly faults: Faults;
  control(): SimulatedControlPlane;
  /** Volumes that a person had removed, and those on hosts that were lost. */
  readonly givenUpVolumes: ReadonlySet<string>;
  apply(name: string, asked: Asked): Promise<void>;
  /** Removes a data volume that no instance has; false: there is none. */
  removeVolume(): Promise<boolean>;
  scale(name: string, replicas: number): Promise<void>;
  remove(name: string): Promise<void>;
  fillDisk(isFull: boolean): void;
  /** The control plane ends, or dies with its changes half way, and another starts on the same journal. */
  restart(how: 'ends' | 'dies'): Promise<void>;
  /** The node is gone, and an operator says that it is for good. */
  lose(name: string): Promise<void>;
  /** A host that was said to be dead is not, and joins again with all that it holds; false: there is none. */
  comeBack(): Promise<boolean>;
  endGuest(node: FakeNode): void;
  close(): Promise<void>;
}

const able = { version: '1', healthy: true, detail: '', capabilities: ['mounts'] };
const ableFacts: Partial<NodeFacts> = {
  runtimes: [
    { name: 'crun', ...able },
    { name: 'lxc', ...able },
  ],
};

function specOf({ image, replicas, memoryMib, runtime = 'crun', claims = [], env = {} }: Asked) {
  const resources = { ...simpleSpec.resources, memoryMib };
  const volumes = claims.map((claim) => ({
    ...claim,
    mountPath: `/${claim.name}`,
    pool: '',
    readOnly: false,
  }));
  return { image, replicas, resources, runtime, env, volumes } satisfies Partial<WorkloadSpec>;
}

export async function createFleet(seed: number, nodeCount: number): Promise<SimulatedFleet> {
  const clock = createFakeClock();
  const random = createSeededRandom(seed);
  const inner = createFakeFleet({ clock });
  const givenUpVolumes = new Set<string>();
  const faults: Faults = { isOn: true };
  const incarnationOf = (name: string): string | undefined => inner.nodes.get(name)?.incarnation;
  const backend = faultyBackend(inner.backend, { clock, random, faults, incarnationOf });
  let isFull = false;
  const journal = createMemoryJournal({ isFull: () => isFull });
  const wanted = new Map<string, Wanted>();
  const nodes = new Map<string, FakeNode>();
  const lost: FakeNode[] = [];
  let control = await startControlPlane({ clock, random, journal, backend });
  for (let count = 0; count < nodeCount; count += 1) {
    await control.enroll(`node-${count}`);
    nodes.set(`node-${count}`, inner.addNode(`node-${count}`, { facts: ableFacts }));
  }

  /** Notes the change when it was acknowledged, and only then. */
  async function acknowledged(change: () => Promise<void>, name: string, after: Wanted): Promise<void> {
    try {
      await change();
    } catch (error) {
      if (isKind(error, 'resource-exhausted', 'failed-precondition', 'not-found')) return;
      throw error;
    }
    wanted.set(name, after);
  }

  return {
    clock,
    random,
    nodes,
    wanted,
    faults,
    control: () => control,
    givenUpVolumes,
    apply(name, asked) {
      const { image, replicas } = asked;
      return acknowledged(() => control.apply(name, specOf(asked)), name, { image, replicas });
    },
    async removeVolume() {
      const { store } = control;
      const free = store
        .snapshot()
        .list('volume')
        .filter(({ instanceId, removingSinceMs }) => !instanceId && removingSinceMs === undefined);
      const chosen = free[Math.floor(random.fraction() * free.length)];
      if (chosen === undefined) return false;
      await store.transact((tx) => {
        const record = tx.get('volume', chosen.metadata.id);
        if (record === undefined || record.instanceId !== undefined) return;
        retireVolume(tx, record, 'asked', clock.nowMs());
        givenUpVolumes.add(chosen.metadata.id);
      });
      return true;
    },
    async scale(name, replicas) {
      const before = wanted.get(name);
      if (before?.replicas === undefined) return;
      await acknowledged(() => control.scale(name, replicas), name, { ...before, replicas });
    },
    async remove(name) {
      const before = wanted.get(name);
      if (before === undefined) return;
      await acknowledged(() => control.remove(name), name, { ...before, replicas: undefined });
    },
    fillDisk: (full) => {
      isFull = full;
    },
    async restart(how) {
      // Nothing that was under way becomes durable; orders that are out are still delivered.
      if (how === 'dies') await journal.close();
      const closing = control.close();
      await clock.advance(10);
      await closing;
      control = await startControlPlane({ clock, random, journal, backend });
    },
    async lose(name) {
      for (const { metadata, node: at } of control.store.snapshot().list('volume'))
        if (at === name) givenUpVolumes.add(metadata.id);
      await control.expel(name);
      const node = nodes.get(name);
      node?.disconnect('it burnt');
      nodes.delete(name);
      if (node !== undefined) lost.push(node);
    },
    async comeBack() {
      const node = lost[0];
      if (node === undefined) return false;
      await control.enroll(node.name);
      lost.shift();
      nodes.set(node.name, node);
      node.connect();
      return true;
    },
    endGuest(node) {
      const running = [...node.instances].filter(([, { state }]) => state.phase === 'running');
      const chosen = running[Math.floor(random.fraction() * running.length)];
      if (chosen !== undefined) node.endGuest(chosen[0] as InstanceId, 1);
    },
    close: () => control.close(),
  };
}
