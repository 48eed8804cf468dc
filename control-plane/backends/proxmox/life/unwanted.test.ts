/** What is under way and not wanted any more: tasks are aborted, and nothing is left of them. */
import { createHash } from 'node:crypto';
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
