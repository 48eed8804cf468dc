import { describe, expect, it } from 'vitest';
import { DroverError } from '#shared/errors.ts';
import type { InstanceSpec, Security } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import {
  type AgentWorld,
  type AgentWorldOptions,
  createAgentWorld,
  forever,
  reach,
  runInstance,
} from '../../test/fakes/agent-world.ts';
import type { Instances } from '../instances.ts';

const { signal } = new AbortController();
const node = 1_000_000;
const own = node + 65_536;
const security = (more: Partial<Security>): Partial<InstanceSpec> => ({
  security: { ...plainGuestConfig.security, ...more },
});
const shifting: AgentWorldOptions = { pools: { local: ['idmap'] } };
const plain: AgentWorldOptions = { pools: { local: [] } };
const privileged: AgentWorldOptions = { allowsPrivileged: true, driver: { allowsPrivileged: true } };

describe('the host ids of an instance', () => {
  it.each<[string, AgentWorldOptions, Partial<InstanceSpec>, number, number]>([
    ['its own where the pool shifts by the mount', shifting, {}, own, 0],
    ["the node's where it does not", plain, {}, node, node],
    [
      'its own where the spec says so, at the price of a copy',
      plain,
      security({ ownIdRange: true }),
      own,
      node,
    ],
    ["the node's where there are no others", { ...shifting, rangeCount: 0 }, {}, node, node],
    ["the host's for a privileged guest", privileged, security({ privileged: true }), 0, 0],
  ])('are %s', async (_name, options, more, base, imageBase) => {
    await using world = await createAgentWorld(options);
    const instances = await world.open();
    const id = await runInstance(world, instances, more);
    expect(world.host.guests.get(id)?.guest.range).toEqual({ base, size: 65_536 });
    const reference = world.spec([]).image;
    expect(await world.images.find(reference, { base: imageBase, size: 65_536 })).toBeDefined();
    await instances.close();
    const next = await world.open();
    world.host.end(id, 1);
    await reach(next, id, 'running');
    expect(world.host.guests.get(id)?.guest.range.base).toBe(base);
  });

  const refused = (world: AgentWorld, instances: Instances, more: Partial<InstanceSpec>) =>
    instances.ensure(world.order(world.newId(), 1), world.spec(forever, more));

  it.each<[string, AgentWorldOptions, Partial<InstanceSpec>, string]>([
    [
      'a privileged guest that the node does not allow',
      {},
      security({ privileged: true }),
      'permission-denied',
    ],
    [
      'a privileged guest that the runtime does not know',
      { allowsPrivileged: true, driver: { capabilities: ['network-none'] } },
      security({ privileged: true }),
      'unimplemented',
    ],
    [
      'ids of its own where there are none',
      { rangeCount: 0 },
      security({ ownIdRange: true }),
      'failed-precondition',
    ],
    ['a pool that is not here', {}, { rootPool: 'nowhere' }, 'failed-precondition'],
    ['a runtime that is not here', {}, { runtime: 'lxc' }, 'failed-precondition'],
  ])('refuses %s', async (_name, options, more, kind) => {
    await using world = await createAgentWorld(options);
    const instances = await world.open();
    await expect(refused(world, instances, more)).rejects.toMatchObject({ kind });
    expect(instances.list()).toEqual([]);
  });
});

describe('the pool of a root', () => {
  it('is kept for life, and cleared at the end', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, { rootPool: 'other' });
    expect((await instances.inspect(id)).state.rootPool).toBe('other');
    expect(await world.volumes.list(signal)).toEqual([]);
    const elsewhere = instances.ensure(world.order(id, 2), world.spec(forever, { rootPool: 'local' }));
    await expect(elsewhere).rejects.toMatchObject({ kind: 'failed-precondition' });
    await instances.close();
    const next = await world.open();
    // The node's default is no wish of the spec's.
    await next.ensure(world.order(id, 2), world.spec(forever, { env: { A: '1' } }));
    await reach(next, id, 'running');
    expect((await world.otherVolumes.list(signal)).map((volume) => volume.id)).toEqual([id]);
    await next.remove(world.order(id, 2), undefined, signal);
    expect(await world.otherVolumes.list(signal)).toEqual([]);
  });

  it('is found for an instance whose record is lost', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances, { rootPool: 'other' });
    await instances.close();
    await world.loseRecord(id);
    const next = await world.open();
    await next.ensure(world.order(id, 1), world.spec(forever));
    await next.remove(world.order(id, 1), undefined, signal);
    expect(await world.otherVolumes.list(signal)).toEqual([]);
  });

  it('that does not answer keeps nobody from changing what has its place', async () => {
    await using world = await createAgentWorld({ pools: { local: ['idmap'] } });
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.close();
    world.volumes.failWith('list', new DroverError('unavailable', 'its daemon is away'));
    const next = await world.open();
    const resources = { cpuMillicores: 0, memoryMib: 32, diskMib: 0, pids: 64 };
    const answer = await next.ensure(world.order(id, 2), world.spec(forever, { resources }));
    expect(answer).toMatchObject({ generation: 2, phase: 'running' });
  });

  it('that does not answer keeps the instances of others running', async () => {
    await using world = await createAgentWorld();
    const instances = await world.open();
    const id = await runInstance(world, instances);
    await instances.close();
    world.otherVolumes.failWith('list', new DroverError('unavailable', 'its daemon is away'));
    const next = await world.open();
    expect((await next.inspect(id)).state.phase).toBe('running');
  });
});

describe('what a root was made for', () => {
  it.each<[string, Partial<InstanceSpec>]>([
    ['privileges', security({ privileged: true })],
    ['ids of its own', security({ ownIdRange: true })],
  ])('cannot become other %s', async (_name, more) => {
    await using world = await createAgentWorld({ ...privileged, ...plain });
    const instances = await world.open();
    const id = await runInstance(world, instances);
    const order = instances.ensure(world.order(id, 2), world.spec(forever, more));
    await expect(order).rejects.toMatchObject({ kind: 'failed-precondition' });
    expect((await instances.inspect(id)).state).toMatchObject({ generation: 1, phase: 'running' });
  });
});
