import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import type { Attachment, InstanceSpec } from '#shared/model.ts';
import { createAgentWorld, forever, reach, runInstance } from '../../test/fakes/agent-world.ts';
import { until } from '../../test/until.ts';

const { signal } = new AbortController();

const attachment: Attachment = {
  network: 'lab',
  bridge: 'drv-lab',
  managedBridge: true,
  interface: 'eth0',
  mac: '02:00:00:00:00:01',
  addresses: ['10.20.0.5/24', 'fd00::5/64'],
  gateways: ['10.20.0.1'],
  mtu: 0,
  vlan: 0,
  masquerade: true,
  nodePrivateSubnet: '',
  routes: [],
};
const port = { hostPort: 8080, guestPort: 80, protocol: 'tcp', hostAddress: '' } as const;

const bridged = (one: Attachment, more: Partial<InstanceSpec> = {}): Partial<InstanceSpec> => ({
  network: 'bridged',
  networks: [{ network: one.network, addresses: [] }],
  assigned: { attachments: [one], volumes: [], ports: [port] },
  ...more,
});

const drawn: Attachment = {
  ...attachment,
  addresses: [],
  gateways: ['10.99.0.1'],
  nodePrivateSubnet: '10.99.0.0/24',
};

describe('the network of a guest', () => {
  it('is made in its namespace before it starts', async () => {
    await using world = await createAgentWorld();
    const moments: string[] = [];
    const instances = await world.open((moment) => void moments.push(moment));
    const id = await runInstance(world, instances, bridged(attachment));
    const order = moments.filter((one) => /^before (guest|network)/.test(one));
    expect(order).toEqual(['before guest.create', 'before network.attach', 'before guest.start']);
    const { state } = await instances.inspect(id);
    expect(world.attachedPids).toEqual([state.pid]);
    expect(world.networks.host.guests.get(id)).toMatchObject({ made: true, ports: [port] });
    expect(state.addresses).toEqual(['10.20.0.5', 'fd00::5']);
  });

  it('is prepared for a driver that makes interfaces itself, with every address', async () => {
    await using world = await createAgentWorld({ driver: { network: 'native' } });
    const moments: string[] = [];
    const instances = await world.open((moment) => void moments.push(moment));
    const id = await runInstance(world, instances, bridged(drawn));
    const order = moments.filter((one) => /^before (guest|network)/.test(one));
    const made = ['network.prepare', 'guest.create', 'network.attach', 'guest.start'];
    expect(order).toEqual(made.map((step) => `before ${step}`));
    const guest = world.host.guests.get(id)?.guest;
    expect(guest?.spec.assigned.attachments[0]?.addresses).toEqual(['10.99.0.2/24']);
    expect(world.networks.host.guests.get(id)?.made).toBe(true);
    expect(world.attachedPids).toEqual([]);
    expect((await instances.inspect(id)).state.addresses).toEqual(['10.99.0.2']);
  });

  it('tells addresses after a restart of the agent, and none while nothing runs', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, bridged(drawn));
    await instances.close();
    const next = await world.open();
    expect((await next.inspect(id)).state.addresses).toEqual(['10.99.0.2']);
    const stopped = await next.stop(world.order(id, 1), undefined, signal);
    expect(stopped.addresses).toEqual([]);
  });

  it('is taken away with the guest, and made anew for the next', async () => {
    await using world = await createAgentWorld();
    const moments: string[] = [];
    const instances = await world.open((moment) => void moments.push(moment));
    const id = await runInstance(world, instances, bridged(attachment));
    world.host.end(id, 1);
    await until(() => world.attachedPids.length === 2, { what: 'another namespace' });
    await reach(instances, id, 'running');
    const again = moments.slice(moments.lastIndexOf('before guest.remove'));
    expect(again.filter((one) => one === 'before network.detach')).toHaveLength(1);
    await instances.remove(world.order(id, 1), undefined, signal);
    expect(world.networks.host.guests.size).toBe(0);
  });

  it('goes also when the spec asks for none any more', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, bridged(attachment));
    await instances.ensure(world.order(id, 2), world.spec(forever));
    await until(() => world.networks.host.guests.size === 0, { what: 'no network' });
    await reach(instances, id, 'running');
    expect((await instances.inspect(id)).state.addresses).toEqual([]);
  });

  it('that cannot be made is a failure, and leaves nothing behind', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    world.networks.failWith('attach', new DroverError('failed-precondition', 'port 8080 is taken'));
    const id = world.newId();
    await instances.ensure(world.order(id, 1), world.spec(forever, bridged(attachment)));
    await reach(instances, id, 'failed');
    expect((await instances.inspect(id)).state.message).toBe('port 8080 is taken');
    world.networks.failWith('attach', undefined);
    await reach(instances, id, 'running');
    expect(world.host.calls.get('start')).toBe(1);
    await instances.remove(world.order(id, 1), undefined, signal);
    expect([world.networks.host.guests.size, world.host.guests.size]).toEqual([0, 0]);
  });

  it('of nobody is swept away by the next life, and a sweep that fails keeps nobody waiting', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, bridged(attachment));
    const stranger = world.newId();
    await world.networks.attach({ id: stranger, attachments: [drawn], ports: [] }, undefined, signal);
    await instances.close();
    const next = await world.open();
    expect([...world.networks.host.guests.keys()]).toEqual([id]);
    await next.close();
    world.networks.failWith('sweep', new DroverError('unavailable', 'no tool'));
    const last = await world.open();
    expect((await last.inspect(id)).state.phase).toBe('running');
  });

  it.each<[string, Partial<InstanceSpec>, string | undefined | RegExp]>([
    [
      'says what the spec says',
      { dns: { servers: ['10.0.0.2'], search: ['a.test'], options: [] } },
      /^search a/,
    ],
    ['says nothing for a guest without interfaces', {}, undefined],
  ])('%s of name servers', async (_name, more, wanted) => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, more);
    const text = world.host.guests.get(id)?.guest.resolvConf;
    if (wanted === undefined) expect(text).toBeUndefined();
    else expect(text).toBe('search a.test\nnameserver 10.0.0.2\n');
  });
});
