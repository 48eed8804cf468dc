/** What is under way and not wanted any more: tasks are aborted, and nothing is left of them. */
import { createHash } from 'node:crypto';
import { mkdtempDisposable, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { InstanceSpec } from '#shared/model.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
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
const sent = ({ server }: ProxmoxWorld, what: RegExp): string[] =>
  server.requests.list().filter((each) => what.test(each));
const tasksOf = ({ server }: ProxmoxWorld, type: RegExp) =>
  ['pve1', 'pve2', 'pve3'].flatMap((name) =>
    server.world.tasks.list(name).filter((task) => type.test(task.type)),
  );
const running = (world: ProxmoxWorld, type: RegExp): boolean =>
  tasksOf(world, type).some(({ exitStatus }) => exitStatus === undefined);
const url = 'https://images.example.test/noble.qcow2';
const content = new Uint8Array(4096).fill(7);
const image = `${url}@sha256:${createHash('sha256').update(content).digest('hex')}`;
const fromNet: InstanceSpec = { ...machine, image };

describe.each([
  { kind: 'lxc', spec: container, type: /^vzcreate$/ },
  { kind: 'qemu', spec: machine, type: /^qmcreate$/ },
])('a guest that is to go while it is made, $kind', ({ spec, type }) => {
  it('is not made to its end: its task is aborted, and nothing is left', async () => {
    await using world = await openQuickWorld({ pace: 40 });
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, spec, signal);
    await until(() => running(world, type), { what: 'the create' });
    await world.backend.removeInstance({ ...order, generation: 2 }, 0, signal);
    expect(tasksOf(world, type).map(({ exitStatus }) => exitStatus)).toEqual([
      expect.stringMatching(/received interrupt/),
    ]);
    expect(world.state(order.instanceId)).toBe('absent');
    expect([...world.server.world.guests]).toEqual([]);
    expect(sent(world, /status\/start$/)).toEqual([]);
  });
});

describe('a copy that is to go while it is made', () => {
  it('is not made to its end, and its template stays', async () => {
    await using world = await openQuickWorld({ pace: 40 });
    const config = { name: 'base', template: '1', scsi0: 'local:900/base-900-disk-0.qcow2,size=3G' };
    const about = { vmid: 900, kind: 'qemu', node: 'pve1', config } as const;
    world.server.world.guests.set(900, world.server.world.newGuest(about));
    const volid = 'local:900/base-900-disk-0.qcow2';
    const sizeBytes = 3 * 1024 ** 3;
    world.server.world.storages.volumes('local', 'pve1').set(volid, {
      volid,
      content: 'images',
      format: 'qcow2',
      sizeBytes,
      usedBytes: sizeBytes,
      createdAt: 0,
      vmid: 900,
    });
    const spec: InstanceSpec = {
      ...machine,
      image: 'proxmox:template/900',
      vm: { ...plainVmOptions, clone: 'full' },
    };
    await until(() => world.backend.guests('lab').some(({ vmid }) => vmid === 900), { what: 'it is listed' });
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, spec, signal);
    await until(() => running(world, /^qmclone$/), { what: 'the copy' });
    await world.backend.removeInstance({ ...order, generation: 2 }, 0, signal);
    expect(tasksOf(world, /^qmclone$/).map(({ exitStatus }) => exitStatus)).toEqual([
      expect.stringMatching(/interrupt/),
    ]);
    expect([...world.server.world.guests.keys()]).toEqual([900]);
  });
});

describe('an image that is fetched', () => {
  it('for a guest that is to go is fetched no more, where nobody else waits for it', async () => {
    await using world = await openQuickWorld({ pace: 40 });
    world.server.world.internet.files.set(url, content);
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, fromNet, signal);
    await until(() => running(world, /^download$/), { what: 'the download' });
    await world.backend.removeInstance({ ...order, generation: 2 }, 0, signal);
    expect(world.state(order.instanceId)).toBe('absent');
    await until(() => !running(world, /^download$/), { what: 'its end' });
    expect(tasksOf(world, /^download$/)).toMatchObject([
      { exitStatus: expect.stringMatching(/interrupt/) as string },
    ]);
    expect(sent(world, /^POST .*\/qemu$/)).toEqual([]);
  });

  it('for two guests of which one is to go is fetched on, once', async () => {
    await using world = await openQuickWorld({ pace: 20 });
    world.server.world.internet.files.set(url, content);
    const [stays, goes] = [world.order('pve1'), world.order('pve1')];
    await world.backend.ensureInstance(stays, fromNet, signal);
    await until(() => running(world, /^download$/), { what: 'the download' });
    world.server.requests.reset();
    await world.backend.ensureInstance(goes, fromNet, signal);
    await until(() => sent(world, /content$/).length >= 2, { what: 'a look whether it is there' });
    const polls = sent(world, /cluster\/status/).length;
    await until(() => sent(world, /cluster\/status/).length > polls, { what: 'a while' });
    await world.backend.removeInstance({ ...goes, generation: 2 }, 0, signal);
    expect(world.state(goes.instanceId)).toBe('absent');
    await until(() => phaseOf(world, stays.instanceId) === 'running 1', {
      what: 'running',
      deadlineMs: 40_000,
    });
    expect(tasksOf(world, /^download$/).map(({ exitStatus }) => exitStatus)).toEqual(['OK']);
    expect(world.server.world.guests.size).toBe(1);
  });
});

describe.each(['8.4.21', '9.2.11'] as const)('a guest that is moved, on %s', (version) => {
  const told = ({ seen }: ProxmoxWorld): string[] =>
    seen.flatMap((each) => (each.kind === 'progress' ? each.lines : []));

  it.each([
    { kind: 'lxc', spec: container, how: 'removed' },
    { kind: 'qemu', spec: machine, how: 'removed' },
    { kind: 'lxc', spec: container, how: 'stopped' },
    { kind: 'qemu', spec: machine, how: 'stopped' },
  ])('and is to be $how meanwhile, $kind, says that it waits for the move, and then is', async (one) => {
    await using world = await openQuickWorld({ version, pace: 4 });
    const order = await runGuest(world, { ...one.spec, rootPool: 'shared' });
    const moving = world.backend.migrate(order, world.node('pve2'), signal);
    const migration = one.kind === 'lxc' ? /^vzmigrate$/ : /^qmigrate$/;
    await until(() => running(world, migration), { what: 'the move' });
    const next = { ...order, generation: 2 };
    const ending =
      one.how === 'removed'
        ? world.backend.removeInstance(next, 0, signal)
        : world.backend.stopInstance(next, 0, signal);
    const words = /^waits until it has moved to lab-pve2/;
    await until(() => told(world).some((line) => words.test(line)), { what: 'its operation says so' });
    expect(world.state(order.instanceId)).toMatchObject({
      phase: 'stopping',
      message: expect.stringMatching(words) as string,
    });
    expect(await moving).toBe(one.kind === 'lxc' ? 'restarted' : 'live');
    await ending;
    expect(tasksOf(world, migration).map(({ exitStatus }) => exitStatus)).toEqual(['OK']);
    const [guest, ...others] = world.server.world.guests.values();
    expect(others).toEqual([]);
    if (one.how === 'removed') expect(guest).toBeUndefined();
    else expect(guest).toMatchObject({ node: 'pve2', status: 'stopped' });
    if (one.how === 'stopped')
      expect(world.state(order.instanceId)).toMatchObject({ phase: 'stopped', message: '' });
  });

  it('is not moved any more where it is to go while it waits for its turn', async () => {
    await using world = await openQuickWorld({ version, pace: 4 });
    const spec = { ...machine, rootPool: 'shared', resources: { ...machine.resources, memoryMib: 16 } };
    const orders = await Promise.all(Array.from({ length: 5 }, () => runGuest(world, spec)));
    const moves = orders.map((order) =>
      world.backend.migrate(order, world.node('pve2'), signal).then(
        () => 'moved',
        (error: unknown) => String(error),
      ),
    );
    await until(() => tasksOf(world, /^qmigrate$/).length === 4, { what: 'as many as move at once' });
    const moved = new Set(tasksOf(world, /^qmigrate$/).map(({ id }) => id));
    const vmidOf = (id: string): string => `${world.store.snapshot().get('cluster-guest', id)?.vmid}`;
    const [last] = orders.filter(({ instanceId }) => !moved.has(vmidOf(instanceId)));
    if (last === undefined) throw new Error('none waits');
    await world.backend.removeInstance({ ...last, generation: 2 }, 0, signal);
    expect(world.state(last.instanceId)).toBe('absent');
    expect((await Promise.all(moves)).toSorted()).toEqual([
      expect.stringMatching(/is to go|is being removed/),
      'moved',
      'moved',
      'moved',
      'moved',
    ]);
    expect(tasksOf(world, /^qmigrate$/)).toHaveLength(4);
  });
});

describe.each(['8.4.21', '9.2.11'] as const)('an image that is uploaded, on %s', (version) => {
  it('for a guest that is to go is uploaded no more, and nothing stays of it', async () => {
    await using world = await openQuickWorld({ version, pace: 40 });
    await using directory = await mkdtempDisposable(path.join(tmpdir(), 'drover-unwanted-'));
    const file = path.join(directory.path, 'noble.qcow2');
    await writeFile(file, content);
    const order = world.order('pve1');
    await world.backend.ensureInstance(order, { ...machine, image: `tar:${file}` }, signal);
    await until(() => running(world, /^imgcopy$/), { what: 'the upload' });
    await until(() => sent(world, /imgcopy.*\/status$/).length > 0, { what: 'its task is known' });
    await world.backend.removeInstance({ ...order, generation: 2 }, 0, signal);
    expect(world.state(order.instanceId)).toBe('absent');
    await until(() => !running(world, /^imgcopy$/), { what: 'its end' });
    expect(tasksOf(world, /^imgcopy$/)).toMatchObject([
      { exitStatus: expect.stringMatching(/interrupt/) as string },
    ]);
    const there = world.server.world.storages.volumes('local', 'pve1').keys();
    expect([...there].filter((volid) => volid.includes('drover-sha256'))).toEqual([]);
    expect(sent(world, /^POST .*\/qemu$/)).toEqual([]);
  });
});

describe('an image of a registry', () => {
  const references = ['a', 'b', 'c', 'd'].map((name) => `registry.example/team/${name}:1`);
  const pull = async ({ backend, node }: ProxmoxWorld, reference: string, own: AbortSignal) => {
    for await (const step of backend.pullImage(node('pve1'), { reference, credential: '' }, own)) void step;
  };

  async function open(): Promise<ProxmoxWorld> {
    const world = await openQuickWorld({ version: '9.2.11', pace: 40 });
    const { backend, node } = world;
    await until(async () => (await Array.fromAsync(backend.listImages(node('pve1'), signal))).length > 1, {
      what: 'its storages',
    });
    return world;
  }

  it('that nobody wants any more is pulled to its end where that has begun, and not begun', async () => {
    await using world = await open();
    const image = { bytes: 41_000_000, command: ['/bin/true'], env: [] };
    for (const reference of references) world.server.world.internet.images.set(reference, image);
    const leaving = new AbortController();
    const waiting = references.map((reference) => pull(world, reference, leaving.signal));
    const pulls = () => tasksOf(world, /^ociregistrypull$/);
    await until(() => pulls().length === 3, { what: 'as many as go on at once' });
    leaving.abort(new Error('enough'));
    for (const end of await Promise.allSettled(waiting)) expect(end.status).toBe('rejected');
    await until(() => !running(world, /^ociregistrypull$/), { what: 'their ends' });
    expect(pulls().map(({ exitStatus }) => exitStatus)).toEqual(['OK', 'OK', 'OK']);
    // Wanted anew, what is there is there, and the fourth is pulled.
    for (const reference of references) await pull(world, reference, signal);
    expect(pulls()).toHaveLength(4);
  });

  it('that is wanted anew while it is pulled is pulled once', async () => {
    await using world = await open();
    const [reference = ''] = references;
    world.server.world.internet.images.set(reference, { bytes: 41_000_000, command: [], env: [] });
    const leaving = new AbortController();
    const first = pull(world, reference, leaving.signal);
    await until(() => running(world, /^ociregistrypull$/), { what: 'the pull' });
    leaving.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    await pull(world, reference, signal);
    expect(tasksOf(world, /^ociregistrypull$/).map(({ exitStatus }) => exitStatus)).toEqual(['OK']);
  });
});

describe.each([
  { kind: 'lxc', spec: container },
  { kind: 'qemu', spec: machine },
])('a guest that is asked to stop and does not, $kind', ({ spec }) => {
  it('is ended at once by KILL, whoever waits for it', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const [guest] = world.server.world.guests.values();
    if (guest === undefined) throw new Error('there is no guest');
    guest.inside.shutdownMs = Number.POSITIVE_INFINITY;
    const stopping = world.backend.stopInstance({ ...order, generation: 2 }, 600_000, signal);
    await until(() => running(world, /^(vz|qm)shutdown$/), { what: 'the shutdown' });
    const startMs = world.server.world.clock.monotonicMs();
    await world.backend.signalInstance({ ...order, generation: 0 }, 9, signal);
    expect(guest.status).toBe('stopped');
    expect(world.server.world.clock.monotonicMs() - startMs).toBeLessThan(60_000);
    expect(await stopping).toMatchObject({ phase: 'stopped' });
    expect(running(world, /^(vz|qm)shutdown$/)).toBe(false);
    expect(sent(world, /status\/stop$/)).toHaveLength(1);
  });

  it('is ended when a later order gives it less time', async () => {
    await using world = await openQuickWorld();
    const order = await runGuest(world, spec);
    const [guest] = world.server.world.guests.values();
    if (guest === undefined) throw new Error('there is no guest');
    guest.inside.shutdownMs = Number.POSITIVE_INFINITY;
    const stopping = world.backend.stopInstance({ ...order, generation: 2 }, 600_000, signal);
    await until(() => running(world, /^(vz|qm)shutdown$/), { what: 'the shutdown' });
    await world.backend.removeInstance({ ...order, generation: 3 }, 1000, signal);
    expect(world.state(order.instanceId)).toBe('absent');
    await stopping.catch(() => undefined);
    expect(world.server.world.guests.size).toBe(0);
  });
});
