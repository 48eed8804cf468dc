import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import { createFakeFleet, type FakeFleet } from '../../../test/fakes/backend.ts';
import { createFakeClock, type FakeClock } from '../../../test/fakes/clock.ts';
import { createSeededRandom } from '../../../test/fakes/random.ts';
import { type SimulatedControlPlane, startControlPlane } from '../../../test/simulation/control-plane.ts';
import { createMemoryJournal } from '../../store/memory.ts';
import type { HandlerContext, HandlerDeps } from '../handler.ts';
import { explainInstance } from './plan.ts';
import { listVolumes, removeVolume } from './volumes.ts';

let clock: FakeClock;
let fleet: FakeFleet;
let control: SimulatedControlPlane;
let deps: HandlerDeps;
const ending = new AbortController();
const context: HandlerContext = {
  signal: ending.signal,
  method: '/drover.fleet.v1.FleetService/RemoveVolume',
  peer: undefined,
  deadlineMs: undefined,
  caller: { role: 'admin', name: 'root' },
  certificateSerial: '',
};
const able = { name: 'crun', version: '1', healthy: true, detail: '', capabilities: ['mounts'] };
const claim = { name: 'data', mountPath: '/data', sizeMib: 64, pool: '', readOnly: false, keep: true };

beforeEach(async () => {
  clock = createFakeClock();
  fleet = createFakeFleet({ clock });
  const options = { clock, random: createSeededRandom(1), backend: fleet.backend };
  control = await startControlPlane({ ...options, journal: createMemoryJournal() });
  for (const name of ['h1', 'h2']) {
    await control.enroll(name);
    fleet.addNode(name, { facts: { runtimes: [able] } });
  }
  const { store, view, reconciler } = control;
  deps = { store, view, wake: reconciler.wake, backendOf: () => fleet.backend, ...options };
  await clock.advance(5000);
  await control.apply('db', { replicas: 2, volumes: [claim] });
  await clock.advance(30_000);
});

afterEach(async () => {
  await control.close();
  await fleet.backend.close();
});

async function list(workload = ''): Promise<string[]> {
  const lines: string[] = [];
  for await (const { metadata, node, instance, removing } of listVolumes({ project: '', workload }, deps))
    lines.push(`${metadata?.name} ${node} ${instance.replace(/-\w{5}$/, '')}${removing ? ' removing' : ''}`);
  return lines;
}

/** What it came to, with time passing meanwhile. */
async function remove(volume: string): Promise<string> {
  const outcome = removeVolume({ project: '', volume }, context, deps).then(
    () => 'removed',
    ({ kind, message }: { kind: string; message: string }) => `${kind}: ${message}`,
  );
  await clock.advance(40_000);
  return outcome;
}

const volumesOn = (node: string): number => fleet.nodes.get(node)?.storage.volumes.size ?? -1;

describe('data volumes', () => {
  it('are listed by name, with who has them', async () => {
    expect((await list()).map((line) => line.replace(/h\d/, 'h'))).toEqual([
      'db-data-0 h db',
      'db-data-1 h db',
    ]);
    expect(await list('web')).toEqual([]);
  });

  it('are refused to go while an instance has them, and unknown ones get the nearest name', async () => {
    expect(await remove('db-data-0')).toMatch(/^failed-precondition: volume db-data-0 is used by db-/);
    expect(await remove('db-date-0')).toBe('not-found: there is no volume "db-date-0"');
  });

  it('stay when their workload goes, and go when somebody says so', async () => {
    await control.remove('db');
    await clock.advance(30_000);
    expect(control.workload('db')).toBeUndefined();
    expect(await list()).toHaveLength(2);
    const id = control.store.snapshot().named('volume', 'db-data-0')?.metadata.id ?? '';
    expect(await remove(id)).toBe('removed');
    expect((await list()).map((line) => line.split(' ')[0])).toEqual(['db-data-1']);
    expect(volumesOn('h1') + volumesOn('h2')).toBe(1);
  });

  it('wait for a node that is away, and the caller hears so', async () => {
    await control.remove('db');
    await clock.advance(30_000);
    const node = control.store.snapshot().named('volume', 'db-data-1')?.node ?? '';
    fleet.nodes.get(node)?.disconnect();
    await clock.advance(1000);
    expect(await remove('db-data-1')).toBe(
      `unavailable: volume db-data-1 will be removed, but ${node} does not answer`,
    );
    expect(await list()).toContainEqual(`db-data-1 ${node}  removing`);
    fleet.nodes.get(node)?.connect();
    await clock.advance(30_000);
    expect((await list()).map((line) => line.split(' ')[0])).toEqual(['db-data-0']);
    expect(volumesOn(node)).toBe(0);
  });

  it('say once what keeps a node from removing them, and go when it can', async () => {
    await control.remove('db');
    await clock.advance(30_000);
    const node = control.store.snapshot().named('volume', 'db-data-0')?.node ?? '';
    const busy = new DroverError('failed-precondition', 'a clone of it is in use');
    for (let times = 0; times < 3; times += 1) fleet.nodes.get(node)?.failNext('storage', busy);
    expect(await remove('db-data-0')).toBe('removed');
    const failures = control.store
      .snapshot()
      .list('event')
      .filter(({ type }) => type === 'order.failed');
    expect(failures.map(({ message }) => message)).toEqual(['removal failed: a clone of it is in use']);
  });

  it('tie the next copy to their node, and it is explained', async () => {
    const [one] = control.instances('db');
    const { node, metadata } = one ?? {};
    const volume = control.store
      .snapshot()
      .list('volume')
      .find(({ instanceId }) => instanceId === metadata?.id)?.metadata.name;
    const { decision } = await explainInstance({ project: '', instance: metadata?.name ?? '' }, deps);
    expect(decision?.node).toBe(node);
    const other = decision?.verdicts.find((verdict) => verdict.node !== node);
    expect(other).toMatchObject({ fits: false, reason: `its volume ${volume} lies on ${node}` });
  });

  it('survive a change of their workload, one copy after the other on its node', async () => {
    const before = new Map(
      control.instances('db').map(({ spec, node }) => [spec.assigned.volumes[0]?.volumeId, node]),
    );
    const seen = new Set<number>();
    await control.apply('db', { replicas: 2, volumes: [claim], env: { MODE: 'b' } });
    for (let step = 0; step < 200; step += 1) {
      await clock.advance(100);
      const guests = [...fleet.nodes.values()].flatMap((each) => [...each.instances.values()]);
      seen.add(guests.length);
    }
    const after = new Map(
      control.instances('db').map(({ spec, node }) => [spec.assigned.volumes[0]?.volumeId, node]),
    );
    expect(after).toEqual(before);
    expect(Math.max(...seen)).toBe(2);
    expect(Math.min(...seen)).toBe(1);
    expect(control.operations('db').map(({ state }) => state)).toEqual(['succeeded', 'succeeded']);
  });

  it('grow where they are, and so do limits, without another start', async () => {
    const starts = (): number =>
      [...fleet.nodes.values()].flatMap((each) => [...each.starts.values()]).reduce((a, b) => a + b, 0);
    expect(starts()).toBe(2);
    const resources = { cpuMillicores: 200, memoryMib: 512, diskMib: 100, pids: 64 };
    await control.apply('db', { replicas: 2, volumes: [claim], resources });
    await clock.advance(30_000);
    expect(control.operations('db').map(({ state }) => state)).toEqual(['succeeded', 'succeeded']);
    expect(starts()).toBe(2);
    expect(
      control.instances('db').map(({ metadata, spec }) => [metadata.generation, spec.resources.memoryMib]),
    ).toEqual([
      [2, 512],
      [2, 512],
    ]);
    await control.apply('db', { replicas: 2, volumes: [{ ...claim, sizeMib: 128 }], resources });
    await clock.advance(30_000);
    expect([...fleet.nodes.values()].flatMap((each) => [...each.storage.volumes.values()])).toMatchObject([
      { sizeMib: 128 },
      { sizeMib: 128 },
    ]);
  });
});
