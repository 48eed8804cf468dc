/** After a lost answer: a look at what is there, and nothing is done twice. */
import { describe, expect, it } from 'vitest';
import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { constants, tmpdir } from 'node:os';
import path from 'node:path';
import type { SnapshotId } from '#shared/model.ts';
import {
  container,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';

const { signal } = new AbortController();
const open = (version: '8.4.21' | '9.2.11' = '8.4.21'): Promise<ProxmoxWorld> => openQuickWorld({ version });

const guestsOf = ({ server }: ProxmoxWorld) => [...server.world.guests.values()];
const sent = ({ server }: ProxmoxWorld, what: RegExp): number =>
  server.requests.list().filter((each) => what.test(each)).length;

const kinds = [
  { kind: 'lxc', spec: container, create: 'POST /nodes/{node}/lxc' },
  { kind: 'qemu', spec: machine, create: 'POST /nodes/{node}/qemu' },
] as const;
const cases = (['8.4.21', '9.2.11'] as const).flatMap((version) =>
  kinds.map((each) => ({ version, ...each })),
);

for (const { version, kind, spec, create } of cases) {
  const at = `/nodes/{node}/${kind}/{vmid}`;

  describe(`a lost answer on ${version}, for ${kind}`, () => {
    it.each([
      { name: 'the create is done', fault: 'lose' },
      { name: 'the create was never begun', fault: 'cut' },
    ])('makes one guest alone when $name', async ({ fault }) => {
      await using world = await open(version);
      if (fault === 'lose') world.server.faults.loseAnswer(create);
      else world.server.faults.cut(create);
      await runGuest(world, spec);
      expect(guestsOf(world)).toHaveLength(1);
      expect(sent(world, new RegExp(`^POST /nodes/pve1/${kind}$`))).toBe(fault === 'lose' ? 1 : 2);
    });

    it('starts once', async () => {
      await using world = await open(version);
      world.server.faults.loseAnswer(`POST ${at}/status/start`);
      await runGuest(world, spec);
      expect(sent(world, /status\/start$/)).toBe(1);
    });

    it('changes a configuration, and a size, to what was asked', async () => {
      await using world = await open(version);
      const order = await runGuest(world, spec);
      const [put, resize] = [`${kind === 'lxc' ? 'PUT' : 'POST'} ${at}/config`, `PUT ${at}/resize`] as const;
      for (const method of [put, resize]) world.server.faults.loseAnswer(method);
      const next = { ...spec.resources, memoryMib: 96, diskMib: 5120 };
      await world.backend.ensureInstance({ ...order, generation: 2 }, { ...spec, resources: next }, signal);
      await until(() => phaseOf(world, order.instanceId) === 'running 2', {
        what: 'running as of generation 2',
      });
      expect(world.state(order.instanceId)).toMatchObject({ limits: { memoryMib: 96, diskMib: 5120 } });
    });

    it('takes one snapshot, goes back to it, and removes it', async () => {
      await using world = await open(version);
      // A storage of files takes no snapshots of containers.
      const order = await runGuest(world, kind === 'lxc' ? { ...spec, rootPool: 'btr' } : spec);
      const snapshot = { id: randomUUID() as SnapshotId, name: 'before' };
      const { backend, server } = world;
      const names = async () =>
        (await Array.fromAsync(backend.listSnapshots(order.node, order.instanceId, signal))).map(
          ({ name }) => name,
        );
      server.faults.loseAnswer(`POST ${at}/snapshot`);
      expect(await backend.createSnapshot(order, snapshot, signal)).toMatchObject(snapshot);
      expect(await names()).toEqual(['before']);
      server.faults.loseAnswer(`POST ${at}/snapshot/{snapname}/rollback`);
      await backend.rollbackSnapshot(order, snapshot.id, signal);
      await until(() => phaseOf(world, order.instanceId) === 'running 1', { what: 'running again' });
      server.faults.loseAnswer(`DELETE ${at}/snapshot/{snapname}`);
      await backend.removeSnapshot(order, snapshot.id, signal);
      expect(await names()).toEqual([]);
    });

    it('makes one guest alone when the answer comes later than it is waited for', async () => {
      await using world = await open(version);
      // The work goes on meanwhile; the connection is given up after a minute.
      world.server.faults.delay(create, 400_000);
      const order = world.order('pve1');
      await world.backend.ensureInstance(order, spec, signal);
      await until(() => phaseOf(world, order.instanceId) === 'running 1', {
        what: 'running',
        deadlineMs: 30_000,
      });
      expect(guestsOf(world)).toHaveLength(1);
    });

    it('is released, with its mark gone and nothing else', async () => {
      await using world = await open(version);
      const order = await runGuest(world, spec);
      const [guest] = guestsOf(world);
      world.server.faults.loseAnswer(`PUT ${at}/config`);
      await world.backend.release(order, signal);
      expect(guest?.status).toBe('running');
      expect(guest?.config['tags'] ?? '').toBe('');
      expect(guest?.config['description'] ?? '').toBe('');
    });

    it('stops it', async () => {
      await using world = await open(version);
      const order = await runGuest(world, spec);
      world.server.faults.loseAnswer(`POST ${at}/status/shutdown`);
      const state = await world.backend.stopInstance(order, 60_000, signal);
      expect(state.phase).toBe('stopped');
      expect(sent(world, /status\/shutdown$/)).toBe(1);
      expect(sent(world, /status\/stop$/)).toBe(0);
    });

    it('asks it to stop once more where it was never asked, and does not end it', async () => {
      await using world = await open(version);
      const order = await runGuest(world, spec);
      world.server.faults.cut(`POST ${at}/status/shutdown`, 2);
      const state = await world.backend.stopInstance(order, 60_000, signal);
      expect(state.phase).toBe('stopped');
      expect(sent(world, /status\/shutdown$/)).toBe(3);
      expect(sent(world, /status\/stop$/)).toBe(0);
    });

    it.each([
      { name: 'INT', number: constants.signals.SIGINT, verb: 'reboot' },
      { name: 'KILL', number: constants.signals.SIGKILL, verb: 'stop' },
      ...(kind === 'qemu' ? [{ name: 'HUP', number: constants.signals.SIGHUP, verb: 'reset' }] : []),
    ])(
      'does once what $name means, whether the answer was lost before or after',
      async ({ number, verb }) => {
        await using world = await open(version);
        const order = await runGuest(world, { ...spec, restart: { policy: 'never', maxAttempts: 0 } });
        const begun = () => {
          const all = [...world.server.world.nodes.keys()].flatMap((node) =>
            world.server.world.tasks.list(node),
          );
          return all.filter(({ type }) => type === `${kind === 'lxc' ? 'vz' : 'qm'}${verb}`).length;
        };
        const before = begun();
        world.server.faults.loseAnswer(`POST ${at}/status/${verb}`);
        await world.backend.signalInstance(order, number, signal);
        expect([begun() - before, sent(world, new RegExp(`status/${verb}$`))]).toEqual([1, 1]);
        if (verb === 'stop') return;
        world.server.faults.cut(`POST ${at}/status/${verb}`);
        await world.backend.signalInstance(order, number, signal);
        expect([begun() - before, sent(world, new RegExp(`status/${verb}$`))]).toEqual([2, 3]);
      },
    );

    it('leaves TERM unsaid, and says that it is not known', async () => {
      await using world = await open(version);
      const order = await runGuest(world, spec);
      world.server.faults.loseAnswer(`POST ${at}/status/shutdown`);
      const { SIGTERM } = constants.signals;
      await expect(world.backend.signalInstance(order, SIGTERM, signal)).rejects.toMatchObject({
        kind: 'unavailable',
      });
      expect(sent(world, /status\/shutdown$/)).toBe(1);
    });

    it.each(['lose', 'cut'])(
      'opens no console, and another one when that is asked for: %s',
      async (fault) => {
        await using world = await open(version);
        const order = await runGuest(world, spec);
        const method = `POST ${at}/${kind === 'lxc' ? 'termproxy' : 'vncproxy'}` as const;
        if (fault === 'lose') world.server.faults.loseAnswer(method);
        else world.server.faults.cut(method);
        await expect(world.backend.consoleTicket(order, signal)).rejects.toMatchObject({
          kind: 'unavailable',
        });
        expect(sent(world, /(?:term|vnc)proxy$/)).toBe(1);
        expect((await world.backend.consoleTicket(order, signal)).ticket).not.toBe('');
      },
    );

    it('removes it, and nothing is left', async () => {
      await using world = await open(version);
      const order = await runGuest(world, spec);
      world.server.faults.loseAnswer(`POST ${at}/status/stop`);
      world.server.faults.loseAnswer(`DELETE ${at}`);
      await world.backend.removeInstance(order, 0, signal);
      expect(guestsOf(world)).toEqual([]);
      expect(sent(world, /^DELETE /)).toBe(1);
      await until(() => world.state(order.instanceId) === 'absent', { what: 'told absent' });
    });

    it('moves it', async () => {
      await using world = await open(version);
      const shared = { ...spec, rootPool: 'shared' };
      const order = await runGuest(world, shared);
      world.server.faults.loseAnswer(`POST ${at}/migrate`);
      await world.backend.migrate(order, world.node('pve2'), signal);
      expect(guestsOf(world)).toMatchObject([{ node: 'pve2' }]);
      expect(sent(world, /migrate$/)).toBe(kind === 'lxc' ? 1 : 2);
      const last = () =>
        world.seen.findLast((one) => one.kind === 'instance' && one.state.instanceId === order.instanceId);
      await until(() => last()?.node === world.node('pve2'), { what: 'told on its new node' });
    });
  });
}

describe('a lost answer, for a machine', () => {
  it('stands still once, and goes on once', async () => {
    await using world = await open();
    const order = await runGuest(world, machine);
    const at = 'POST /nodes/{node}/qemu/{vmid}/status';
    world.server.faults.loseAnswer(`${at}/suspend`);
    expect(await world.backend.pauseInstance(order, signal)).toMatchObject({ phase: 'paused' });
    world.server.faults.loseAnswer(`${at}/resume`);
    expect(await world.backend.resumeInstance(order, signal)).toMatchObject({ phase: 'running' });
    expect([sent(world, /suspend$/), sent(world, /resume$/)]).toEqual([1, 1]);
  });
});

describe('a lost answer, for an image', () => {
  const text = 'a root file system';
  const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`;

  it.each(['upload', 'download-url'] as const)('leaves none or one: %s', async (way) => {
    await using world = await open();
    const { server, backend } = world;
    const node = world.node('pve1');
    const images = () => Array.fromAsync(backend.listImages(node, signal));
    const url = 'https://images.example/rootfs.tar.xz';
    server.world.internet.files.set(url, Buffer.from(text));
    const folder = await mkdtemp(path.join(tmpdir(), 'drover-lost-'));
    try {
      const file = path.join(folder, 'rootfs.tar.xz');
      await writeFile(file, text);
      const reference = `${way === 'upload' ? `tar:${file}` : url}@${digest}`;
      const pull = () => Array.fromAsync(backend.pullImage(node, { reference, credential: '' }, signal));
      await until(async () => (await images()).length > 0, { what: 'its storages are known' });
      server.faults.cut(`POST /nodes/{node}/storage/{storage}/${way}`);
      await expect(pull()).rejects.toMatchObject({ kind: 'unavailable' });
      server.faults.loseAnswer(`POST /nodes/{node}/storage/{storage}/${way}`);
      // What was begun may not have ended yet: then it is there the next time.
      await until(
        () =>
          pull().then(
            (all) => all.at(-1)?.done === true,
            () => false,
          ),
        { what: 'it is there' },
      );
      expect(sent(world, new RegExp(`/${way}$`))).toBe(2);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
