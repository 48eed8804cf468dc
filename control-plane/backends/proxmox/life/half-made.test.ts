/** Guests whose node died while they were made: told, made no second time, and forgotten once they are gone. */
import { describe, expect, it } from 'vitest';
import {
  container,
  machine,
  openQuickWorld,
  phaseOf,
  type ProxmoxWorld,
} from '../../../../test/proxmox-world.ts';
import { placeGuest } from '../../../../test/fakes/proxmox/place-guest.ts';
import { until } from '../../../../test/until.ts';
import type { OrderHead } from '../../backend.ts';

const { signal } = new AbortController();
const versions = ['8.4.21', '9.2.11'] as const;
const kinds = [
  { kind: 'lxc', spec: container, type: 'vzcreate', tool: 'pct' },
  { kind: 'qemu', spec: machine, type: 'qmcreate', tool: 'qm' },
] as const;

const creates = ({ server }: ProxmoxWorld): number =>
  server.requests.list().filter((each) => /^POST \/nodes\/pve\d\/(lxc|qemu)$/.test(each)).length;
const record = ({ store }: ProxmoxWorld, { instanceId }: OrderHead) =>
  store.snapshot().get('cluster-guest', instanceId);
const listed = (world: ProxmoxWorld, vmid: number) =>
  world.backend.guests('lab').find((each) => each.vmid === vmid)?.message;
const condition = ({ seen }: ProxmoxWorld) =>
  seen
    .flatMap((each) => (each.kind === 'feeling' && each.node === 'lab-pve1' ? each.conditions : []))
    .findLast(({ type }) => type === 'HalfMadeGuest');

/** Its node dies while it is made, and comes back; or what makes it there is killed. */
async function cutOff(
  version: (typeof versions)[number],
  { spec, type }: (typeof kinds)[number],
  what: 'node' | 'worker' = 'node',
) {
  const world = await openQuickWorld({ version, pace: 40 });
  const { server, backend } = world;
  const order = world.order('pve1');
  await backend.ensureInstance(order, spec, signal);
  const making = () =>
    server.world.tasks.list('pve1').find((task) => task.type === type && task.exitStatus === undefined);
  await until(() => making(), { what: 'it is being made' });
  if (what === 'worker') server.faults.killTaskWorker(making()?.upid ?? '');
  else {
    await server.faults.killNode('pve1');
    await until(() => backend.status('lab')?.connected, { what: 'another node answers' });
    await server.faults.reviveNode('pve1');
  }
  const vmid = record(world, order)?.vmid ?? 0;
  expect(server.world.guests.get(vmid)?.config).toEqual({ lock: 'create' });
  return { world, order, vmid };
}

const halfMade = (vmid: number, { tool }: (typeof kinds)[number]): RegExp =>
  new RegExp(
    `guest ${vmid} on pve1 is half made and locked \\(create\\).*` +
      `on pve1, as root: ${tool} unlock ${vmid} && ${tool} destroy ${vmid}`,
  );

/** Where people look, and until a person has taken it away. */
async function expectTold(world: ProxmoxWorld, order: OrderHead, vmid: number, words: RegExp) {
  await until(() => listed(world, vmid), { what: 'the list tells it', deadlineMs: 20_000 });
  expect(listed(world, vmid)).toMatch(words);
  await until(() => condition(world)?.holds, { what: 'its node tells it' });
  expect(condition(world)).toMatchObject({
    reason: `${vmid}`,
    message: expect.stringMatching(words) as string,
  });
  expect(record(world, order)?.leftVmids).toEqual([vmid]);
  const events = world.store.snapshot().list('event');
  expect(events.filter(({ type }) => type === 'guest.half-made')).toMatchObject([
    { severity: 'warning', message: expect.stringMatching(words) as string },
  ]);
  // As a person does it.
  world.server.world.guests.delete(vmid);
  await until(() => condition(world)?.holds === false, { what: 'its node is well again' });
  expect(record(world, order)?.leftVmids).toBeUndefined();
  expect(listed(world, vmid)).toBeUndefined();
}

describe.each(versions)('a guest whose node died while it was made, on %s', (version) => {
  it.each(kinds)(
    '$kind is made once more under another number, and what is left is told until it is gone',
    async (one) => {
      const { world, order, vmid } = await cutOff(version, one);
      await using _ = world;
      await until(() => phaseOf(world, order.instanceId) === 'running 1', {
        what: 'it runs',
        deadlineMs: 40_000,
      });
      expect(record(world, order)?.vmid).not.toBe(vmid);
      expect(creates(world)).toBe(2);
      const marked = [...world.server.world.guests.values()].filter(({ config }) => 'tags' in config);
      expect(marked.map((each) => each.vmid)).toEqual([record(world, order)?.vmid]);
      await expectTold(world, order, vmid, halfMade(vmid, one));
      expect(phaseOf(world, order.instanceId)).toBe('running 1');
    },
    60_000,
  );

  it.each(kinds)(
    '$kind is told, too, where only what made it was killed',
    async (one) => {
      const { world, order, vmid } = await cutOff(version, one, 'worker');
      await using _ = world;
      await until(() => phaseOf(world, order.instanceId) === 'running 1', {
        what: 'it runs',
        deadlineMs: 40_000,
      });
      expect(record(world, order)?.vmid).not.toBe(vmid);
      await expectTold(world, order, vmid, halfMade(vmid, one));
    },
    60_000,
  );

  it.each(kinds)(
    '$kind is not forgotten where its instance is removed, until it is gone',
    async (one) => {
      const { world, order, vmid } = await cutOff(version, one);
      await using _ = world;
      const removal = { ...order, generation: 2 };
      const remove = (): Promise<boolean> =>
        world.backend.removeInstance(removal, 0, signal).then(
          () => true,
          () => false,
        );
      await until(() => remove(), { what: 'removed', deadlineMs: 20_000 });
      expect(record(world, order)?.intent).toBe('removed');
      expect([...world.server.world.guests.keys()]).toEqual([vmid]);
      await expectTold(world, order, vmid, halfMade(vmid, one));
      expect(creates(world)).toBe(1);
    },
    60_000,
  );
});

it.each([
  { what: 'a guest', call: 'POST /nodes/{node}/lxc' },
  { what: 'a copy', call: 'POST /nodes/{node}/lxc/{vmid}/clone' },
] as const)(
  '$what takes another number where somebody was quicker, and is not done yet',
  async ({ what, call }) => {
    await using world = await openQuickWorld();
    const { server, backend } = world;
    const config = {
      ostype: 'alpine',
      unprivileged: '1',
      rootfs: 'local:300/vm-300-disk-0.raw,size=1G',
      memory: '128',
    };
    placeGuest(server.world, { vmid: 300, kind: 'lxc', node: 'pve1', config });
    await until(() => backend.guests('lab').some((each) => each.vmid === 300), { what: 'it is listed' });
    const spec = what === 'a copy' ? { ...container, rootPool: '', image: 'proxmox:guest/300' } : container;
    const order = world.order('pve1');
    const vmid = 100;
    const theirs = server.world.newGuest({ vmid, kind: 'lxc', node: 'pve1', config: { lock: 'create' } });
    // Not told yet by the list, nor by the next free number.
    const free = server.world.guests;
    server.faults.delay(call, 1000);
    await backend.ensureInstance(order, spec, signal);
    expect(record(world, order)).toMatchObject({ vmid });
    free.set(vmid, theirs);
    await until(() => phaseOf(world, order.instanceId) === 'running 1', {
      what: 'it runs',
      deadlineMs: 20_000,
    });
    expect(record(world, order)?.vmid).not.toBe(vmid);
    expect(free.get(vmid)).toBe(theirs);
    expect(listed(world, vmid)).toBe('');
  },
  30_000,
);
