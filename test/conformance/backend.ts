import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Backend, Observation, OrderHead } from '../../control-plane/backends/backend.ts';
import type { InstanceId, InstanceSpec, NodeName, SnapshotId, VolumeId } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { until } from '../until.ts';

export interface BackendWorld extends AsyncDisposable {
  readonly backend: Backend;
  /** Connected when the world is made. */
  readonly node: NodeName;
  /** What its runtime can do, by the names in RuntimeFacts. Left out: everything. */
  readonly capabilities?: ReadonlySet<string>;
  /** What a spec needs there. */
  readonly spec?: Partial<InstanceSpec>;
  /** Cuts the node off; what it runs stays. */
  cut(): Promise<void>;
  restore(): Promise<void>;
}

export const newSpec = (patch: Partial<InstanceSpec> = {}): InstanceSpec => ({
  runtime: 'crun',
  image: `127.0.0.1:5000/hello@sha256:${'a'.repeat(64)}`,
  command: ['/bin/sleep', '1000'],
  env: {},
  resources: { cpuMillicores: 100, memoryMib: 64, diskMib: 0, pids: 100 },
  network: 'none',
  restart: { policy: 'always', maxAttempts: 0 },
  stopGraceMs: 1000,
  displayName: 'web-x7k2p',
  workload: 'web',
  user: '',
  workingDir: '',
  imageCredential: '',
  ...plainGuestConfig,
  assigned: emptyAssignment,
  ...patch,
});

const never = new AbortController().signal;

const newOrder = (node: NodeName, patch: Partial<OrderHead> = {}): OrderHead => ({
  node,
  instanceId: randomUUIDv7() as InstanceId,
  generation: 1,
  requestId: randomUUID(),
  ...patch,
});

/** Reads a watch into a list. */
function follow(backend: Backend): { seen: Observation[]; stop: () => Promise<void> } {
  const seen: Observation[] = [];
  const end = new AbortController();
  const reading = (async () => {
    for await (const observation of backend.watch(end.signal)) seen.push(observation);
  })();
  return {
    seen,
    stop: async () => {
      end.abort();
      await reading;
    },
  };
}

const kinds = (seen: readonly Observation[]): string[] => seen.map(({ kind }) => kind);
const phaseOf = (seen: readonly Observation[], id: InstanceId): string | undefined =>
  seen.findLast((one) => one.kind === 'instance' && one.state.instanceId === id)?.kind === 'instance'
    ? seen.filter((one) => one.kind === 'instance').findLast((one) => one.state.instanceId === id)?.state
        .phase
    : undefined;

const can = ({ capabilities }: BackendWorld, capability: string): boolean =>
  capabilities === undefined || capabilities.has(capability);

async function running(
  { backend, node, spec: usual }: BackendWorld,
  seen: readonly Observation[],
  spec: Partial<InstanceSpec> = {},
): Promise<OrderHead> {
  const order = newOrder(node);
  await backend.ensureInstance(order, newSpec({ ...usual, ...spec }), never);
  await until(() => phaseOf(seen, order.instanceId) === 'running', { what: 'running' });
  return order;
}

/** What every Backend promises. */
export function backendConformance(name: string, setUp: () => Promise<BackendWorld>): void {
  describe(`backend ${name}`, () => {
    it('tells a watch of every node that answers: connected first, then all it holds, then complete', async () => {
      await using world = await setUp();
      const order = newOrder(world.node);
      await world.backend.ensureInstance(order, newSpec(world.spec), never);
      const { seen, stop } = follow(world.backend);
      await until(() => kinds(seen).includes('complete'), { what: 'complete' });
      expect(seen[0]).toMatchObject({ kind: 'connected', node: world.node });
      const at = seen.findIndex(({ kind }) => kind === 'complete');
      expect(kinds(seen.slice(0, at))).toContain('instance');
      expect(seen[at]).toMatchObject({ kind: 'complete', present: new Set([order.instanceId]) });
      await until(() => kinds(seen).includes('feeling'), { what: 'how the node feels' });
      await stop();
    });

    it('carries an instance through its life, and everything may be repeated', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const { seen, stop } = follow(backend);
      const order = newOrder(node);
      const id = order.instanceId;
      for (const _ of [1, 2]) {
        expect(await backend.ensureInstance(order, newSpec(world.spec), never)).toMatchObject({
          instanceId: id,
        });
      }
      await until(() => phaseOf(seen, id) === 'running', { what: 'running' });
      for (const requestId of [randomUUID(), randomUUID()]) {
        const state = await backend.stopInstance({ ...order, requestId }, undefined, never);
        expect(state.phase).toBe('stopped');
      }
      for (const requestId of [randomUUID(), randomUUID()]) {
        await backend.removeInstance({ ...order, requestId }, undefined, never);
      }
      await until(() => seen.some((one) => one.kind === 'absent' && one.instanceId === id), {
        what: 'absent',
      });
      await stop();
    });

    it('refuses an order older than what the node has seen, and an instance that was removed', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const order = newOrder(node, { generation: 5 });
      await backend.ensureInstance(order, newSpec(world.spec), never);
      const older = { ...order, generation: 4, requestId: randomUUID() };
      await expect(backend.ensureInstance(older, newSpec(world.spec), never)).rejects.toMatchObject({
        kind: 'failed-precondition',
        reason: 'stale-generation',
      });
      await backend.removeInstance({ ...order, requestId: randomUUID() }, undefined, never);
      const again = backend.ensureInstance({ ...order, requestId: randomUUID() }, newSpec(world.spec), never);
      await expect(again).rejects.toMatchObject({ kind: 'failed-precondition' });
    });

    it('throws unavailable at once for a node that does not answer, and tells when it comes back', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const order = newOrder(node);
      await backend.ensureInstance(order, newSpec(world.spec), never);
      const { seen, stop } = follow(backend);
      await until(() => phaseOf(seen, order.instanceId) === 'running', { what: 'running' });
      await world.cut();
      await until(() => seen.some(({ kind }) => kind === 'disconnected'), { what: 'disconnected' });
      const unavailable = { kind: 'unavailable' };
      await expect(backend.ensureInstance(order, newSpec(world.spec), never)).rejects.toMatchObject(
        unavailable,
      );
      await expect(backend.resolveImage(node, 'a:1', '', never)).rejects.toMatchObject(unavailable);
      await expect(backend.listImages(node, never)[Symbol.asyncIterator]().next()).rejects.toMatchObject(
        unavailable,
      );
      seen.length = 0;
      await world.restore();
      await until(() => kinds(seen).includes('complete'), { what: 'complete again' });
      expect(seen[0]).toMatchObject({ kind: 'connected', node });
      expect(seen.find(({ kind }) => kind === 'complete')).toMatchObject({
        present: new Set([order.instanceId]),
      });
      await stop();
    });

    it('throws unavailable for a node that it has never heard of', async () => {
      await using world = await setUp();
      const order = newOrder('nobody' as NodeName);
      const attempt = world.backend.ensureInstance(order, newSpec(world.spec), never);
      await expect(attempt).rejects.toMatchObject({ kind: 'unavailable' });
    });

    it('runs a command with its input and tells how it ended', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const { seen, stop } = follow(backend);
      const order = newOrder(node);
      await backend.ensureInstance(order, newSpec(world.spec), never);
      await until(() => phaseOf(seen, order.instanceId) === 'running', { what: 'running' });
      const start = {
        instance: order.instanceId,
        command: ['cat'],
        stdin: true,
        tty: false,
        size: { columns: 80, rows: 24 },
        env: {},
        user: '',
        workingDir: '',
        project: 'default',
      };
      const attempt = backend.exec(node, start, { role: 'admin', name: 'root' }, never);
      if (!can(world, 'exec')) {
        await expect(attempt).rejects.toMatchObject({ kind: 'unimplemented' });
        return stop();
      }
      const channel = await attempt;
      await channel.send({ kind: 'stdin', data: new TextEncoder().encode('hello') });
      await channel.send({ kind: 'stdin-end' });
      const output: string[] = [];
      for await (const item of channel.output) {
        if (item.kind === 'stdout') output.push(new TextDecoder().decode(item.data));
        if (item.kind === 'exit') output.push(`exit ${item.exit.code}`);
      }
      expect(output).toEqual(['hello', 'exit 0']);
      await stop();
    });

    it('shows the terminal of an instance until it is left, and none of one that is not there', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const { seen, stop } = follow(backend);
      const { instanceId } = await running(world, seen);
      const size = { columns: 80, rows: 24 };
      const usual = { command: [], env: {}, user: '', workingDir: '', project: 'default' };
      const open = async (instance: InstanceId) => {
        const start = { ...usual, instance, stdin: true, tty: true, size };
        const channel = await backend.console(node, start, { role: 'admin', name: 'root' }, never);
        const first = await channel.output[Symbol.asyncIterator]().next();
        return { channel, first };
      };
      if (can(world, 'console')) {
        const { channel, first } = await open(instanceId);
        expect(first.done).not.toBe(true);
        await channel.send({ kind: 'resize', size: { columns: 100, rows: 30 } });
        await channel.send({ kind: 'stdin', data: new TextEncoder().encode('x') });
        channel.close();
        await expect(open(randomUUIDv7() as InstanceId)).rejects.toMatchObject({ kind: 'not-found' });
      } else await expect(open(instanceId)).rejects.toMatchObject({ kind: 'unimplemented' });
      await stop();
    });

    it('gives out what an instance wrote, and tells of one that is not there', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const { seen, stop } = follow(backend);
      const { instanceId } = await running(world, seen);
      const options = { tail: undefined, sinceMs: 0, follow: false, stream: undefined };
      const first = (id: InstanceId) => backend.logs(node, id, options, never)[Symbol.asyncIterator]().next();
      if (can(world, 'logs')) expect(await first(instanceId)).toBeDefined();
      else await expect(first(instanceId)).rejects.toMatchObject({ kind: 'unimplemented' });
      await expect(first(randomUUIDv7() as InstanceId)).rejects.toMatchObject({ kind: 'not-found' });
      await stop();
    });

    it('pauses and resumes, as often as it is asked, and tells so', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const { seen, stop } = follow(backend);
      const order = await running(world, seen);
      const anew = () => ({ ...order, generation: 0, requestId: randomUUID() });
      if (!can(world, 'pause')) {
        await expect(backend.pauseInstance(anew(), never)).rejects.toMatchObject({ kind: 'unimplemented' });
        return stop();
      }
      for (const _ of [1, 2]) expect((await backend.pauseInstance(anew(), never)).phase).toBe('paused');
      await until(() => phaseOf(seen, order.instanceId) === 'paused', { what: 'paused' });
      for (const _ of [1, 2]) expect((await backend.resumeInstance(anew(), never)).phase).toBe('running');
      await until(() => phaseOf(seen, order.instanceId) === 'running', { what: 'running again' });
      const missing = { ...newOrder(node), generation: 0 };
      await expect(backend.pauseInstance(missing, never)).rejects.toMatchObject({ kind: 'not-found' });
      await stop();
    });

    it('has file systems stand still and go on, as often as it is asked', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const { seen, stop } = follow(backend);
      const order = await running(world, seen);
      const anew = () => ({ ...order, generation: 0, requestId: randomUUID() });
      if (!can(world, 'freeze')) {
        const unimplemented = { kind: 'unimplemented' };
        await expect(backend.freezeInstance(anew(), never)).rejects.toMatchObject(unimplemented);
        await expect(backend.thawInstance(anew(), never)).rejects.toMatchObject(unimplemented);
        return stop();
      }
      await until(
        async () => {
          try {
            return (await backend.freezeInstance(anew(), never)) === false;
          } catch (error) {
            // Its system comes up.
            if ((error as { readonly kind?: string }).kind === 'failed-precondition') return false;
            throw error;
          }
        },
        { what: 'frozen' },
      );
      expect(await backend.freezeInstance(anew(), never)).toBe(true);
      for (const _ of [1, 2]) await backend.thawInstance(anew(), never);
      expect(await backend.freezeInstance(anew(), never)).toBe(false);
      await backend.thawInstance(anew(), never);
      const missing = { ...newOrder(node), generation: 0 };
      await expect(backend.freezeInstance(missing, never)).rejects.toMatchObject({ kind: 'not-found' });
      await stop();
    });

    it('tells what instances use', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const { seen, stop } = follow(backend);
      const { instanceId } = await running(world, seen);
      for (const id of [instanceId, undefined]) {
        const read = await Array.fromAsync(backend.stats(node, id, 0, never));
        expect(read.map((one) => one.instanceId)).toEqual([instanceId]);
      }
      await stop();
    });

    it('takes, lists, goes back to and removes snapshots', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const { seen, stop } = follow(backend);
      const order = await running(world, seen);
      const anew = () => ({ ...order, generation: 0, requestId: randomUUID() });
      const wanted = { id: randomUUIDv7() as SnapshotId, name: 'first' };
      for (const _ of [1, 2]) {
        expect(await backend.createSnapshot(anew(), wanted, never)).toMatchObject({
          ...wanted,
          instanceId: order.instanceId,
          volumes: [{ volumeId: order.instanceId, name: 'root' }],
        });
      }
      const names = async () => {
        const found = await Array.fromAsync(backend.listSnapshots(node, order.instanceId, never));
        return found.map(({ name }) => name);
      };
      await backend.createSnapshot(anew(), { id: randomUUIDv7() as SnapshotId, name: 'second' }, never);
      expect(await names()).toEqual(['first', 'second']);
      await backend.rollbackSnapshot(anew(), wanted.id, never);
      await until(() => phaseOf(seen, order.instanceId) === 'running', { what: 'running again' });
      expect(await names()).toEqual(['first']);
      for (const _ of [1, 2]) await backend.removeSnapshot(anew(), wanted.id, never);
      expect(await names()).toEqual([]);
      const gone = backend.rollbackSnapshot(anew(), wanted.id, never);
      await expect(gone).rejects.toMatchObject({ kind: 'not-found' });
      await stop();
    });

    it('has data volumes, and keeps them until they are removed where it can', async () => {
      await using world = await setUp();
      const { backend, node } = world;
      const { seen, stop } = follow(backend);
      const volumeId = randomUUIDv7() as VolumeId;
      const keep = can(world, 'volumes-keep');
      const sizeMib = keep ? 0 : 64;
      const claim = { name: 'data', mountPath: '/data', sizeMib, pool: '', readOnly: false, keep };
      const assigned = { ...emptyAssignment, volumes: [{ name: 'data', volumeId }] };
      if (!keep) {
        const kept = newSpec({ ...world.spec, volumes: [{ ...claim, keep: true }], assigned });
        const attempt = backend.ensureInstance(newOrder(node), kept, never);
        await expect(attempt).rejects.toMatchObject({ kind: 'unimplemented' });
      }
      const order = await running(world, seen, { volumes: [claim], assigned });
      const listed = () => Array.fromAsync(backend.listVolumes(node, never));
      expect(await listed()).toMatchObject([{ id: volumeId, instanceId: order.instanceId }]);
      const used = backend.removeVolume(node, volumeId, never);
      await expect(used).rejects.toMatchObject({ kind: 'failed-precondition' });
      await backend.removeInstance({ ...order, requestId: randomUUID() }, undefined, never);
      if (!keep) {
        expect(await listed()).toEqual([]);
        return stop();
      }
      expect(await listed()).toMatchObject([{ id: volumeId, instanceId: undefined }]);
      for (const _ of [1, 2]) await backend.removeVolume(node, volumeId, never);
      expect(await listed()).toEqual([]);
      await stop();
    });

    it('ends the connection of a node on demand', async () => {
      await using world = await setUp();
      const { seen, stop } = follow(world.backend);
      await until(() => kinds(seen).includes('complete'), { what: 'complete' });
      world.backend.disconnect(world.node, 'its certificate was revoked');
      await until(() => kinds(seen).includes('disconnected'), { what: 'disconnected' });
      // It may be told as connected again by then.
      expect(seen.find(({ kind }) => kind === 'disconnected')).toMatchObject({ node: world.node });
      await stop();
    });
  });
}
