/** Images, snapshots, figures, consoles and moves, on a whole cluster. */
import { createHash, randomUUID, randomUUIDv7 } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { SnapshotId, VolumeId } from '#shared/model.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { placeFile } from '../../../test/fakes/proxmox/storage-paths.ts';
import {
  container,
  guestOf,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
  runGuest,
  storedTemplate,
} from '../../../test/proxmox-world.ts';
import { until } from '../../../test/until.ts';

const { signal } = new AbortController();
const writes = ({ server }: ProxmoxWorld): string[] =>
  server.requests.list().filter((each) => /^(POST|PUT|DELETE) /.test(each));

describe('images', () => {
  it('are found on storages, and no other', async () => {
    await using world = await openQuickWorld();
    const { backend } = world;
    const node = world.node('pve1');
    const digest = await backend.resolveImage(node, storedTemplate, '', signal);
    await until(
      async () =>
        (await Array.fromAsync(backend.listImages(node, signal))).some(
          (each) => each.digest === digest.digest,
        ),
      { what: 'it is listed' },
    );
    await expect(
      backend.resolveImage(node, 'proxmox:local:vztmpl/none.tar.gz', '', signal),
    ).rejects.toMatchObject({
      kind: 'not-found',
    });
    await expect(backend.resolveImage(node, 'docker.io/library/nginx:1', '', signal)).rejects.toMatchObject({
      kind: 'unimplemented',
    });
    await expect(backend.removeImage(node, digest.digest, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
    });
  });

  it('of the control plane’s own host are brought to a storage once, used, listed and removed', async () => {
    await using world = await openQuickWorld();
    const { backend } = world;
    const folder = await mkdtemp(path.join(tmpdir(), 'drover-image-'));
    try {
      const file = path.join(folder, 'rootfs.tar.xz');
      await writeFile(file, 'a root file system');
      const { digest } = await backend.resolveImage(world.node('pve1'), `tar:${file}`, '', signal);
      expect(digest).toBe(`sha256:${createHash('sha256').update('a root file system').digest('hex')}`);
      await until(() => backend.status('lab')?.connected, { what: 'storages' });
      const image = `tar:${file}@${digest}`;
      const orders = [world.order('pve1'), world.order('pve1'), world.order('pve2')];
      for (const order of orders) await backend.ensureInstance(order, { ...container, image }, signal);
      await until(() => orders.every(({ instanceId }) => phaseOf(world, instanceId) === 'running 1'), {
        what: 'all running',
        deadlineMs: 20_000,
      });
      expect(writes(world).filter((each) => each.endsWith('/upload'))).toHaveLength(1);
      const progress = await Array.fromAsync(
        backend.pullImage(world.node('pve1'), { reference: image, credential: '' }, signal),
      );
      expect(progress.at(-1)).toMatchObject({ done: true, digest });
      expect(await backend.removeImage(world.node('pve1'), digest, signal)).toBe(18);
      const left = await Array.fromAsync(backend.listImages(world.node('pve1'), signal));
      expect(left.some((each) => each.digest === digest)).toBe(false);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('that changed since they were resolved make no guest', async () => {
    await using world = await openQuickWorld();
    const order = world.order('pve1');
    const image = `${storedTemplate}@sha256:${'b'.repeat(64)}`;
    await world.backend.ensureInstance(order, { ...container, image }, signal);
    await until(() => phaseOf(world, order.instanceId) === 'failed 1', { what: 'a failure' });
    expect(world.state(order.instanceId)).toMatchObject({
      message: expect.stringMatching(/another one by now/) as string,
    });
    expect(world.server.world.guests.size).toBe(0);
  });
});

describe('snapshots of a container', () => {
  it.each([
    { because: 'snapshot feature is not available', left: ['first', 'second'], end: 'rejected' },
    { because: "can't rollback, more recent snapshots exist", left: ['first'], end: 'fulfilled' },
  ])('that are newer go only where a step back needs it: $because', async ({ because, left, end }) => {
    await using world = await openQuickWorld();
    const { backend } = world;
    const order = await runGuest(world, { ...container, rootPool: 'btr' });
    const [first, second] = [randomUUIDv7(), randomUUIDv7()].toSorted() as [SnapshotId, SnapshotId];
    await backend.createSnapshot(order, { id: first, name: 'first' }, signal);
    await backend.createSnapshot(order, { id: second, name: 'second' }, signal);
    const rollback = 'POST /nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback';
    world.server.faults.failNext(rollback, { status: 500, message: because });
    const [result] = await Promise.allSettled([backend.rollbackSnapshot(order, first, signal)]);
    expect(result.status).toBe(end);
    const there = await Array.fromAsync(backend.listSnapshots(order.node, order.instanceId, signal));
    expect(there.map(({ name }) => name)).toEqual(left);
  });

  it('go back to where it was, with its configuration as its spec says, and leave others’ alone', async () => {
    await using world = await openQuickWorld();
    const { backend } = world;
    const order = await runGuest(world, { ...container, rootPool: 'btr' });
    const guest = guestOf(world, order.instanceId);
    const first = { id: randomUUIDv7() as SnapshotId, name: 'first' };
    await backend.createSnapshot(order, first, signal);
    const theirs = guest.snapshots.get([...guest.snapshots.keys()][0] ?? '');
    if (theirs !== undefined)
      guest.snapshots.set('byhand', { ...theirs, name: 'byhand', description: 'mine' });
    const taken = { ...first, id: randomUUIDv7() as SnapshotId };
    await expect(backend.createSnapshot(order, taken, signal)).rejects.toMatchObject({
      kind: 'already-exists',
    });
    const resources = { ...container.resources, memoryMib: 128 };
    const next = { ...order, generation: 2, requestId: randomUUID() };
    await backend.ensureInstance(next, { ...container, rootPool: 'btr', resources }, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 2', { what: 'its second generation' });
    await backend.rollbackSnapshot(next, first.id, signal);
    await until(() => guest.config['memory'] === '128', { what: 'its memory of generation 2 again' });
    await until(() => phaseOf(world, order.instanceId) === 'running 2', { what: 'running again' });
    expect([...guest.snapshots.keys()]).toContain('byhand');
    const [listed] = await Array.fromAsync(backend.listSnapshots(order.node, order.instanceId, signal));
    expect(listed).toMatchObject({ ...first, generation: 1, kind: 'manual', crashInconsistent: false });
  });

  it('are refused by name where its storage can take none', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world);
    const wanted = { id: randomUUIDv7() as SnapshotId, name: 'first' };
    await expect(world.backend.createSnapshot(order, wanted, signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
    });
    expect(await Array.fromAsync(world.backend.listSnapshots(order.node, undefined, signal))).toEqual([]);
  });
});

describe('figures', () => {
  it('of all guests of a node come with one request', async () => {
    await using world = await openQuickWorld();
    const orders = [await runGuest(world), await runGuest(world)];
    world.server.requests.reset();
    const read = await Array.fromAsync(world.backend.stats(world.node('pve1'), undefined, 0, signal));
    expect(read.map(({ instanceId }) => instanceId).toSorted()).toEqual(
      orders.map(({ instanceId }) => instanceId).toSorted(),
    );
    const own = world.server.requests.list().filter((each) => each.startsWith('GET /nodes'));
    expect(own).toEqual([]);
  });

  it('of all nodes of a cluster come with one request', async () => {
    await using world = await openQuickWorld();
    await Promise.all(['pve1', 'pve2', 'pve3'].map((node) => runGuest(world, container, node)));
    const sent = (what: RegExp) => world.server.requests.list().filter((each) => what.test(each)).length;
    world.server.requests.reset();
    const nodes = Array.from({ length: 12 }, (_, place) => world.node(`pve${1 + (place % 3)}`));
    const read = await Promise.all(
      nodes.map((node) => Array.fromAsync(world.backend.stats(node, undefined, 0, signal))),
    );
    expect(read.map((each) => each.length)).toEqual(nodes.map(() => 1));
    // A poll asks for both, perhaps just now.
    expect(sent(/cluster\/resources/) - sent(/cluster\/status/)).toBeLessThanOrEqual(2);
  });
});

describe('a poll', () => {
  it('is two requests, whatever there is', async () => {
    await using world = await openQuickWorld();
    await Promise.all([1, 2, 3, 4].map((place) => runGuest(world, container, `pve${1 + (place % 3)}`)));
    const polls = () => world.server.requests.list().filter((each) => /cluster\/status/.test(each)).length;
    const quiet = () => writes(world).length;
    const before = quiet();
    world.server.requests.reset();
    await until(() => polls() >= 3, { what: 'three polls' });
    const requests = world.server.requests.list();
    expect(requests.filter((each) => !/cluster\/(status|resources)/.test(each))).toEqual([]);
    expect(before).toBeGreaterThan(0);
  });
});

describe('a console', () => {
  it.each([
    { spec: container, kind: 'terminal', proxy: 'termproxy' },
    { spec: machine, kind: 'vnc', proxy: 'vncproxy' },
  ])('is handed over as $kind, with the URL of the guest’s own node', async ({ spec, kind, proxy }) => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec, 'pve2');
    const ticket = await world.backend.consoleTicket(order, signal);
    expect(ticket.kind).toBe(kind);
    const page = new URL(ticket.url);
    expect(page.host).toBe(world.server.endpoints.get('pve2'));
    expect(Object.fromEntries(page.searchParams)).toEqual({
      console: spec === container ? 'lxc' : 'kvm',
      [spec === container ? 'xtermjs' : 'novnc']: '1',
      vmid: '100',
      vmname: 'web-x7k2p',
      node: 'pve2',
    });
    const url = new URL(ticket.websocketUrl);
    expect(url.host).toBe(world.server.endpoints.get('pve2'));
    expect(url.searchParams.get('vncticket')).toBe(ticket.ticket);
    expect(url.pathname).toMatch(/^\/api2\/json\/nodes\/pve2\/(lxc|qemu)\/\d+\/vncwebsocket$/);
    expect(writes(world).some((each) => each.endsWith(proxy))).toBe(true);
  });
});

describe('a move', () => {
  it('goes nowhere where the target lacks what the guest needs, and says so', async () => {
    await using world = await openQuickWorld();
    const { storages } = world.server.world;
    storages.add({ id: 'only1', type: 'dir', content: ['rootdir', 'images'], nodes: new Set(['pve1']) });
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, { ...container, rootPool: 'only1' }, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 1', {
      what: 'running',
      deadlineMs: 20_000,
    });
    world.server.requests.reset();
    await expect(world.backend.migrate(order, world.node('pve2'), signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringMatching(/pve2 has no storage only1/) as string,
    });
    guestOf(world, order.instanceId).config['lock'] = 'backup';
    await expect(world.backend.migrate(order, world.node('pve3'), signal)).rejects.toMatchObject({
      message: expect.stringMatching(/locked \(backup\)/) as string,
    });
    expect(writes(world)).toEqual([]);
  });

  it.each([
    { name: 'a running container, stopped and started again', spec: container, how: 'restarted' },
    { name: 'a running machine, live', spec: machine, how: 'live' },
  ])('is made for $name', async ({ spec, how }) => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, { ...spec, rootPool: 'shared' });
    expect(await world.backend.migrate(order, world.node('pve3'), signal)).toBe(how);
    expect(guestOf(world, order.instanceId)).toMatchObject({ node: 'pve3', status: 'running' });
    // There already: nothing is done.
    world.server.requests.reset();
    expect(await world.backend.migrate(order, world.node('pve3'), signal)).toBe('none');
    expect(writes(world)).toEqual([]);
    await expect(world.backend.migrate(order, world.node('nowhere'), signal)).rejects.toMatchObject({
      kind: 'unavailable',
    });
    await world.backend.stopInstance(order, 0, signal);
    expect(await world.backend.migrate(order, world.node('pve2'), signal)).toBe('stopped');
  });
});

describe('data volumes', () => {
  it('come with their guest, grow with its spec, and go with it', async () => {
    await using world = await openQuickWorld();
    const { backend } = world;
    const volumeId = randomUUIDv7() as VolumeId;
    const claim = {
      name: 'data',
      mountPath: '/data',
      sizeMib: 1024,
      pool: 'btr',
      readOnly: false,
      keep: false,
    };
    const assigned = { ...emptyAssignment, volumes: [{ name: 'data', volumeId }] };
    const spec = { ...container, volumes: [claim], assigned };
    const order = await runGuest(world, spec);
    expect(guestOf(world, order.instanceId).config['mp0']).toMatch(/mp=\/data/);
    expect(await Array.fromAsync(backend.listVolumes(order.node, signal))).toEqual([
      { id: volumeId, pool: 'btr', sizeMib: 1024, usedBytes: 0, instanceId: order.instanceId },
    ]);
    const grown = { ...spec, volumes: [{ ...claim, sizeMib: 2048 }] };
    await backend.ensureInstance({ ...order, generation: 2 }, grown, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 2', { what: 'grown' });
    expect(guestOf(world, order.instanceId).config['mp0']).toMatch(/size=2G/);
    // What is mounted is mounted otherwise once it starts again.
    const fixed = { ...grown, volumes: [{ ...claim, sizeMib: 2048, readOnly: true }] };
    await backend.ensureInstance({ ...order, generation: 3 }, fixed, signal);
    await until(() => phaseOf(world, order.instanceId) === 'running 3', { what: 'read-only' });
    expect(guestOf(world, order.instanceId)).toMatchObject({ status: 'running', pending: new Map() });
    expect(guestOf(world, order.instanceId).config['mp0']).toMatch(/^btr:.*ro=1/);
    expect(Object.keys(guestOf(world, order.instanceId).config)).not.toContain('unused0');
    await backend.removeInstance({ ...order, generation: 3 }, 0, signal);
    for (const node of ['pve1', 'pve2', 'pve3'])
      expect([...world.server.world.storages.volumes('btr', node).values()]).toEqual([]);
    expect(await Array.fromAsync(backend.listVolumes(order.node, signal))).toEqual([]);
  });
});

describe('a container whose init is systemd', () => {
  it('is made and runs, and its cluster’s advice is told where it has no nesting', async () => {
    await using world = await openQuickWorld();
    const file = { content: 'vztmpl', name: 'debian-12-standard_12.7-1_amd64.tar.zst', sizeBytes: 1e8 };
    placeFile(world.server.world, 'pve1', 'local', file);
    const image = `proxmox:local:vztmpl/${file.name}`;
    const advice = () =>
      world.seen.some(
        (one) => one.kind === 'progress' && one.lines.some((line) => /may need to enable nesting/.test(line)),
      );
    await runGuest(world, { ...container, image, security: { ...container.security, nesting: true } });
    expect(advice()).toBe(false);
    await runGuest(world, { ...container, image });
    await until(advice, { what: 'the advice' });
  });
});

describe('what no call can express', () => {
  it('is refused by name before anything is made', async () => {
    await using world = await openQuickWorld();
    const refused = { kind: 'unimplemented' };
    for (const patch of [
      { network: 'host' },
      { command: ['/bin/sh'] },
      { runtime: 'crun' },
      { user: 'www' },
    ] as const)
      await expect(
        world.backend.ensureInstance(world.order('pve1'), { ...container, ...patch }, signal),
      ).rejects.toMatchObject(refused);
    const order = await runGuest(world);
    await expect(world.backend.signalInstance(order, 10, signal)).rejects.toMatchObject(refused);
    expect(world.server.world.guests.size).toBe(1);
  });
});

describe('the fleet', () => {
  it('keeps working on what was begun when it starts anew', async () => {
    await using world = await openQuickWorld();
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, container, signal);
    await until(() => writes(world).length > 0, { what: 'the create' });
    await world.backend.close();
    const { proxmoxBackend } = await import('./index.ts');
    const { createLog } = await import('#shared/log.ts');
    const { createQuickClock } = await import('../../../test/fakes/quick-clock.ts');
    const { createSeededRandom } = await import('../../../test/fakes/random.ts');
    const second = proxmoxBackend({
      store: world.store,
      fleet: { fleetId: 'fleet-1', fleetEpoch: 1 },
      clock: createQuickClock(20),
      random: createSeededRandom(9),
      log: createLog({ level: 'silent' }),
    });
    const end = new AbortController();
    const phases: string[] = [];
    const reading = (async () => {
      for await (const one of second.watch(end.signal))
        if (one.kind === 'instance' && one.state.instanceId === order.instanceId)
          phases.push(one.state.phase);
    })();
    await until(() => phases.at(-1) === 'running', { what: 'running', deadlineMs: 20_000 });
    expect(world.server.world.guests.size).toBe(1);
    end.abort();
    await second.close();
    await reading;
  });
});
