import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { NodeName } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { wireMinor } from '#shared/version.ts';
import { backendConformance, newSpec } from '../../test/conformance/backend.ts';
import { type FakeAgentOptions, serveFakeNode, socketPair } from '../../test/fakes/agent.ts';
import { createFakeNode, fakeFacts, type FakeNode } from '../../test/fakes/node.ts';
import { startControlPlane } from '../../test/simulation/control-plane.ts';
import { until } from '../../test/until.ts';
import { createMemoryJournal } from '../store/memory.ts';
import { openStore } from '../store/open-store.ts';
import { type AgentBackend, agentBackend } from './agent.ts';
import type { InstanceId } from '#shared/model.ts';
import { randomUUIDv7 } from 'node:crypto';

const never = new AbortController().signal;
const h1 = 'h1' as NodeName;

async function setUp(joinedIncarnation = 'h1-state-1') {
  const relayDir = await mkdtemp(path.join(os.tmpdir(), 'drover-sessions-'));
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  await store.transact((tx) =>
    tx.put('node', 'node-1', {
      metadata: {
        project: 'default',
        name: 'h1',
        id: 'node-1',
        labels: {},
        annotations: {},
        revision: 0,
        generation: 1,
        createdAtMs: 0,
      },
      cordoned: false,
      facts: undefined,
      incarnation: joinedIncarnation,
      bootId: '',
      certificateSerial: '',
    }),
  );
  const fleet = { fleetId: '0192aaaa-0000-7000-8000-000000000001', fleetEpoch: 1 };
  const backend = agentBackend({ store, fleet, clock: systemClock, log: silentLog, relayDir });
  const node = createFakeNode({ name: 'h1', clock: systemClock });
  const sockets: Socket[] = [];
  return {
    backend,
    store,
    node,
    relayDir,
    async dial(more: FakeAgentOptions & { readonly as?: FakeNode } = {}) {
      const [ours, theirs] = await socketPair();
      sockets.push(theirs);
      theirs.on('error', () => {});
      serveFakeNode(more.as ?? node, theirs, more);
      const ended = backend.accept(ours, h1);
      return { socket: theirs, ended };
    },
    events: () => store.snapshot().list('event'),
    async [Symbol.asyncDispose]() {
      await backend.close();
      for (const socket of sockets) socket.destroy();
      await until(async () => (await readdir(relayDir)).length === 0, { what: 'no relay is left' });
      await store.close();
      await rm(relayDir, { recursive: true });
    },
  };
}

const answers = (backend: AgentBackend): Promise<boolean> =>
  backend.resolveImage(h1, 'a:1', '', never).then(
    () => true,
    () => false,
  );

backendConformance('agent', async () => {
  const world = await setUp();
  let session = await world.dial();
  await until(() => answers(world.backend), { what: 'a session' });
  return {
    backend: world.backend,
    node: h1,
    // Freezing needs an agent inside of a machine.
    capabilities: new Set(['pause', 'exec', 'console', 'logs', 'volumes-keep']),
    cut: async () => void session.socket.destroy(),
    async restore() {
      await session.ended;
      session = await world.dial();
    },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
});

describe('sessions', () => {
  it('refuses a second one while the first answers, and says so once', async () => {
    await using world = await setUp();
    await world.dial();
    await until(() => answers(world.backend), { what: 'a session' });
    for (const _ of [1, 2]) {
      const second = await world.dial();
      await second.ended;
      await until(() => second.socket.destroyed, { what: 'the second connection is closed' });
    }
    expect(await answers(world.backend)).toBe(true);
    expect(world.events().map(({ type }) => type)).toEqual(['session.refused']);
  });

  it('refuses an agent of another state directory than the one that joined', async () => {
    await using world = await setUp('another-state');
    const { ended } = await world.dial();
    await ended;
    expect(await answers(world.backend)).toBe(false);
    expect(world.events()[0]).toMatchObject({ type: 'session.refused', subject: { node: 'h1' } });
    expect(world.events()[0]?.message).toMatch(/h1-state-1 uses the certificate of another-state/);
  });

  it.each([wireMinor + 1, wireMinor + 2])('refuses an agent of minor version %d', async (minor) => {
    await using world = await setUp();
    const { ended } = await world.dial({ hello: { wireMinor: minor } });
    await ended;
    expect(world.events()[0]?.message).toMatch(/has minor version/);
  });

  it('tells the reader that comes later what the sessions know', async () => {
    await using world = await setUp();
    await world.dial();
    await until(() => answers(world.backend), { what: 'a session' });
    const instanceId = randomUUIDv7() as InstanceId;
    const order = { node: h1, instanceId, generation: 1, requestId: randomUUIDv7() };
    await world.backend.ensureInstance(order, newSpec(), never);
    for (const _ of ['first reader', 'second reader']) {
      const end = new AbortController();
      const kinds: string[] = [];
      for await (const { kind } of world.backend.watch(end.signal)) {
        kinds.push(kind);
        if (kind === 'complete') end.abort();
      }
      expect(kinds[0]).toBe('connected');
      expect(kinds).toContain('instance');
    }
  });
});

describe('a command whose session is cut', () => {
  it('is unavailable, once, and runs no second time over the next session', async () => {
    await using world = await setUp();
    const { node, backend } = world;
    const { socket, ended } = await world.dial();
    await until(() => answers(backend), { what: 'a session' });
    const instanceId = randomUUIDv7() as InstanceId;
    const order = { node: h1, instanceId, generation: 1, requestId: randomUUIDv7() };
    await backend.ensureInstance(order, newSpec(), never);
    await until(() => node.instances.get(instanceId)?.state.phase === 'running', { what: 'it runs' });
    let begun = 0;
    const { exec } = node;
    node.exec = (start) => {
      begun += 1;
      return exec(start);
    };
    const start = { instance: instanceId, command: ['cat'], stdin: true, tty: false, env: {}, user: '' };
    const more = { size: { columns: 80, rows: 24 }, workingDir: '', project: '' };
    const channel = await backend.exec(h1, { ...start, ...more }, { role: 'admin', name: 'root' }, never);
    const outputs = channel.output[Symbol.asyncIterator]();
    expect((await outputs.next()).value).toMatchObject({ kind: 'started' });
    socket.destroy();
    await expect(outputs.next()).rejects.toMatchObject({ kind: 'unavailable' });
    expect(await outputs.next()).toMatchObject({ done: true });
    await ended;
    await world.dial();
    await until(() => answers(backend), { what: 'the next session' });
    expect(begun).toBe(1);
    channel.close();
  });
});

describe('an agent that is newer, or of another time', () => {
  /** A whole control plane that hears of the node over its session. */
  async function observe(world: Awaited<ReturnType<typeof setUp>>, more: FakeAgentOptions) {
    const { backend } = world;
    const journal = createMemoryJournal();
    const control = await startControlPlane({ clock: systemClock, random: systemRandom, backend, journal });
    await control.enroll('h1');
    await world.dial(more);
    await until(() => control.view.node(h1)?.listed, { what: 'the node is known' });
    return control;
  }

  it('may have capabilities and facts that nobody here knows', async () => {
    await using world = await setUp();
    world.node.facts = fakeFacts('h1', { extra: { quantum: 'yes' } });
    const capabilities = ['exec', 'time-travel', '\u0000', 'x'.repeat(5000)];
    const control = await observe(world, { hello: { capabilities } });
    expect(await answers(world.backend)).toBe(true);
    expect(control.view.node(h1)?.facts?.extra).toEqual({ quantum: 'yes' });
    await control.close();
  });

  it.each([
    [29_000, []],
    [-29_000, []],
    [300_000, ["its clock is 300 s ahead of the control plane's"]],
    [-300_000, ["its clock is 300 s behind the control plane's"]],
  ])('with a clock that is %i ms off has the conditions %j', async (clockSkewMs, expected) => {
    await using world = await setUp();
    const control = await observe(world, { clockSkewMs });
    const skews = () => control.view.node(h1)?.conditions.filter(({ type }) => type === 'ClockSkew') ?? [];
    expect(skews().map(({ message }) => message)).toEqual(expected);
    await control.close();
  });

  it('has instances of an unknown phase, which are neither absent nor replaced', async () => {
    await using world = await setUp();
    const control = await observe(world, { phase: 99 as never });
    await control.apply('web');
    control.reconciler.wake();
    const observed = () => control.instances('web').map(({ observed: seen }) => seen);
    await until(() => observed().some((seen) => typeof seen === 'object'), { what: 'it is seen' });
    const [before] = control.instances('web');
    world.node.report();
    control.reconciler.wake();
    await until(() => world.node.starts.size === 1, { what: 'it was started' });
    expect(observed()).toMatchObject([{ phase: 'unknown' }]);
    expect(control.instances('web').map(({ metadata }) => metadata.id)).toEqual([before?.metadata.id]);
    await control.close();
  });
});
