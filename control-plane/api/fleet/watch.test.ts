import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { ObjectKind, WatchRequest, type WatchResponse } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { createFakeFleet } from '../../../test/fakes/backend.ts';
import { createFakeClock } from '../../../test/fakes/clock.ts';
import { createSeededRandom } from '../../../test/fakes/random.ts';
import { startControlPlane } from '../../../test/simulation/control-plane.ts';
import { createMemoryJournal } from '../../store/memory.ts';
import type { HandlerContext } from '../handler.ts';
import { watch } from './watch.ts';

async function setUp() {
  const world = { clock: createFakeClock(), random: createSeededRandom(5) };
  const { clock } = world;
  const { backend } = createFakeFleet(world);
  const control = await startControlPlane({ ...world, backend, journal: createMemoryJournal() });
  const { store, view } = control;
  const deps = { ...world, store, view, wake: () => {}, backendOf: () => backend };
  const ending = new AbortController();
  const context: HandlerContext = {
    signal: ending.signal,
    method: '/drover.fleet.v1.FleetService/Watch',
    peer: undefined,
    deadlineMs: undefined,
    caller: { role: 'viewer', name: 'eve' },
    certificateSerial: '',
  };
  await control.apply('web', { replicas: 0, env: { FILL: 'x'.repeat(4000) } });
  await clock.settle();
  let writes = 0;
  return {
    clock,
    control,
    watch(fromRevision = 0) {
      const kinds = [ObjectKind.OBJECT_KIND_WORKLOAD];
      return watch(WatchRequest.fromPartial({ kinds, fromRevision: BigInt(fromRevision) }), context, deps);
    },
    /** Writes the workload again and again, a revision each time. */
    async write(times: number): Promise<void> {
      for (let count = 0; count < times; count += 1) {
        writes += 1;
        await store.transact((tx) => {
          const workload = tx.named('workload', 'web');
          if (workload === undefined) throw new Error('no workload');
          const metadata = { ...workload.metadata, annotations: { writes: String(writes) } };
          tx.put('workload', metadata.id, { ...workload, metadata });
        });
      }
    },
    revision: () => store.snapshot().revision,
    async [Symbol.asyncDispose]() {
      ending.abort(new Error('the test has ended'));
      await clock.settle();
      await control.close();
      await backend.close();
    },
  };
}

const told = ({ event }: WatchResponse): string =>
  event?.$case === 'resync' ? event.value.reason : (event?.$case ?? '');

/** Reads on in the background. */
function follow(responses: AsyncIterable<WatchResponse>): WatchResponse[] {
  const seen: WatchResponse[] = [];
  void (async () => {
    for await (const response of responses) seen.push(response);
  })();
  return seen;
}

/** Reads until the bookmark, and then no more. */
async function readOnce(responses: AsyncIterator<WatchResponse>): Promise<string[]> {
  const seen: string[] = [];
  while (seen.at(-1) !== 'bookmark') {
    const { value, done } = await responses.next();
    if (done) throw new Error('the watch ended');
    seen.push(told(value));
  }
  return seen;
}

describe('a watch of the fleet', () => {
  it('says where it is after each 30 s of silence', async () => {
    await using world = await setUp();
    const seen = follow(world.watch());
    await world.clock.settle();
    expect(seen.map(told)).toEqual(['workload', 'bookmark']);
    await world.clock.advance(29_000);
    expect(seen).toHaveLength(2);
    await world.clock.advance(1000);
    expect(seen.map(told)).toEqual(['workload', 'bookmark', 'bookmark']);
    expect(seen.at(-1)?.revision).toBe(BigInt(world.revision()));
    await world.clock.advance(20_000);
    await world.write(1);
    await world.clock.advance(29_000);
    expect(seen.slice(3).map(told)).toEqual(['workload']);
    await world.clock.advance(2000);
    expect(seen.at(-1)).toMatchObject({ revision: BigInt(world.revision()), event: { $case: 'bookmark' } });
  });

  it('resumes after a revision with what changed since, each change once', async () => {
    await using world = await setUp();
    const from = world.revision();
    await world.write(3);
    const seen = follow(world.watch(from));
    await world.clock.settle();
    // What is not settled is told as it is now, whether it changed or not.
    const changes = seen.filter(({ revision }) => revision > BigInt(from));
    expect(changes.map(({ revision }) => Number(revision))).toEqual([from + 1, from + 2, from + 3]);
    expect(seen.map(told)).not.toContain('resync');
  });

  it('begins anew where the changes are kept no longer', async () => {
    await using world = await setUp();
    const from = world.revision();
    await world.write(12_500);
    const seen = follow(world.watch(from));
    await world.clock.settle();
    expect(
      seen.filter((each) => told(each) !== 'workload' || Number(each.revision) > from).map(told),
    ).toEqual(['compacted', 'workload', 'bookmark']);
  }, 30_000);
});

/** What is in use after everything unused is gone. */
function heapMib(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

describe('readers that pause', () => {
  it('cost no memory while they pause, and read everything anew when they come back', async () => {
    await using world = await setUp();
    const readers = Array.from({ length: 50 }, () => world.watch());
    for (const reader of readers) expect(await readOnce(reader)).toEqual(['workload', 'bookmark']);
    // Each of them takes one change, and reads no further.
    const taken = readers.map((reader) => reader.next());
    await world.write(1);
    await Promise.all(taken);
    const beforeMib = heapMib();
    for (let round = 0; round < 15; round += 1) {
      await world.write(100);
      await world.clock.advance(1000);
    }
    // The history itself keeps 1,500 records of 4 kB; fifty copies of it would be 300 MiB.
    expect(heapMib() - beforeMib).toBeLessThan(40);
    for (const reader of readers) {
      const seen = await readOnce(reader);
      expect(seen.slice(-3)).toEqual(['slow-reader', 'workload', 'bookmark']);
      expect(seen.length).toBeLessThan(10);
    }
  }, 30_000);
});
