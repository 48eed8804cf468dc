import { describe, expect, it } from 'vitest';
import { startClusterWorld } from '../../../test/cluster-world.ts';
import { until } from '../../../test/until.ts';
import { DroverError } from '#shared/errors.ts';
import type { Instance, InstanceId, NodeName } from '#shared/model.ts';
import { fleetService } from '../fleet-service.ts';
import { drainNode } from './drain-node.ts';

type World = Awaited<ReturnType<typeof startClusterWorld>>;
const pve1 = 'lab-pve1' as NodeName;
const data = { name: 'data', mountPath: '/data', sizeMib: 64, pool: '', readOnly: false, keep: false };
const drain = (world: World, name: string, deadlineMs = 30_000, dryRun = false) =>
  Array.fromAsync(drainNode({ name, deadlineMs, dryRun }, world.context, world.deps));
const nodesOf = (copies: readonly Instance[]) => copies.map(({ node }) => `${node}`).toSorted();
const phaseOf = (instance: Instance | undefined) =>
  typeof instance?.observed === 'object' ? instance.observed.phase : undefined;
const guestOf = (world: World, instance: Instance | undefined) =>
  world.clusters.backend.guests('lab').find(({ instanceId }) => instanceId === instance?.metadata.id);

describe('draining a node of a cluster', () => {
  it('moves every instance to another node of its cluster, and cordons it', async () => {
    await using world = await startClusterWorld();
    const { control, store } = world;
    const before = await world.run('web', 4);
    expect(nodesOf(before)).toEqual(['lab-pve1', 'lab-pve1', 'lab-pve2', 'lab-pve2']);
    const progress = await drain(world, 'lab-pve1');
    const moving = before.filter(({ node }) => node === pve1).map(({ metadata }) => metadata.name);
    expect(progress.map(({ instance, state, target }) => [instance, state, target])).toEqual(
      moving.toSorted().flatMap((name) => [
        [name, 'moving', 'lab-pve2'],
        [name, 'moved', 'lab-pve2'],
      ]),
    );
    expect(store.snapshot().named('node', 'lab-pve1')?.cordoned).toBe(true);
    await world.settle();
    const after = control.instances('web');
    expect(nodesOf(after)).toEqual(['lab-pve2', 'lab-pve2', 'lab-pve2', 'lab-pve2']);
    // They are the same ones: nothing was made anew.
    expect(after.map(({ metadata }) => metadata.id)).toEqual(before.map(({ metadata }) => metadata.id));
    expect(
      store
        .snapshot()
        .list('event')
        .filter(({ type }) => type === 'instance.moved'),
    ).toHaveLength(2);
    expect(await drain(world, 'lab-pve1')).toEqual([]);
  });

  it.each([
    { how: 'live', runtime: 'proxmox-vm', runs: true, said: 'live' },
    { how: 'with a restart', runtime: 'proxmox-lxc', runs: true, said: 'stopped and started again' },
    { how: 'while stopped', runtime: 'proxmox-vm', runs: false, said: 'while stopped' },
  ])('says what moved $how', async ({ runtime, runs, said }) => {
    await using world = await startClusterWorld();
    const [one] = await world.run('one', 1, runtime);
    const node = one?.node ?? pve1;
    if (!runs) {
      world.clusters.fleet.nodes.get(node)?.endGuest(one?.metadata.id as InstanceId, 1);
      await until(() => phaseOf(world.control.instances('one')[0]) !== 'running', {
        what: 'its end is known',
      });
    }
    const progress = await drain(world, node);
    expect(progress.at(-1)).toMatchObject({ state: 'moved', message: `from ${node}, ${said}` });
    // Said before it is done as well.
    expect(progress[0]).toMatchObject({ state: 'moving', way: progress.at(-1)?.way });
  });

  it('takes data volumes along', async () => {
    await using world = await startClusterWorld();
    const { control, store } = world;
    await control.apply('db', { runtime: 'proxmox-lxc', volumes: [data], update: { readyAfterMs: 0 } });
    world.deps.wake();
    await until(() => typeof control.instances('db')[0]?.observed === 'object', { what: 'db is there' });
    const { node = '' } = control.instances('db')[0] ?? {};
    await drain(world, node);
    const [db] = control.instances('db');
    expect(db?.node).not.toBe(node);
    expect(store.snapshot().list('volume')).toMatchObject([{ node: db?.node, instanceId: db?.metadata.id }]);
  });

  it('goes on where one cannot move, and says why', async () => {
    await using world = await startClusterWorld();
    const copies = await world.run('web', 4);
    const here = copies
      .filter(({ node }) => node === pve1)
      .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    const guest = guestOf(world, here[0]);
    const stuck = world.clusters.guest('lab', guest?.vmid ?? 0);
    if (stuck !== undefined) stuck.stuckBecause = 'it has a local snapshot';
    const progress = await drain(world, 'lab-pve1');
    expect(progress.filter(({ state }) => state === 'stays')).toMatchObject([
      {
        instance: here[0]?.metadata.name,
        message: 'it has a local snapshot',
        errorKind: 'failed-precondition',
      },
    ]);
    expect(progress.filter(({ state }) => state === 'moved')).toHaveLength(1);
  });

  it('tries another node where the first one cannot take it', async () => {
    await using world = await startClusterWorld();
    await world.clusters.join('lab', 'pve3');
    await until(() => world.control.view.node('lab-pve3' as NodeName)?.listed === true, {
      what: 'pve3 is there',
    });
    const [web] = await world.run('web');
    world.clusters.failNext('migrate', new DroverError('failed-precondition', 'it has no room for its disk'));
    const progress = await drain(world, web?.node ?? '');
    expect(progress.map(({ state }) => state)).toEqual(['moving', 'moving', 'moved']);
    expect(new Set(progress.map(({ target }) => target)).size).toBe(2);
  });

  it('says why no other node takes it', async () => {
    await using world = await startClusterWorld();
    const [web] = await world.run('web');
    const other = web?.node === pve1 ? 'lab-pve2' : pve1;
    world.clusters.fleet.nodes.get(other)?.disconnect();
    await until(() => world.control.view.node(other as NodeName)?.connected === false, {
      what: 'it is away',
    });
    await expect(drain(world, web?.node ?? '')).resolves.toMatchObject([
      { state: 'stays', message: expect.stringMatching(/0 of 1/) as string },
    ]);
  });

  it('leaves what is on a node that does not answer', async () => {
    await using world = await startClusterWorld();
    const [web] = await world.run('web');
    const node = web?.node ?? pve1;
    world.clusters.fleet.nodes.get(node)?.disconnect();
    await until(() => world.control.view.node(node)?.connected === false, { what: 'it is away' });
    await expect(drain(world, node)).resolves.toMatchObject([
      { state: 'stays', errorKind: 'unavailable', message: expect.stringContaining('--lost') as string },
    ]);
  });

  it('says beforehand what would move where and how, and what would stay, and changes nothing', async () => {
    await using world = await startClusterWorld();
    const { control, store } = world;
    const copies = [...(await world.run('web', 4)), ...(await world.run('vm', 2, 'proxmox-vm'))];
    const here = copies
      .filter(({ node }) => node === pve1)
      .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    const guest = guestOf(world, here.at(-1));
    const stuck = world.clusters.guest('lab', guest?.vmid ?? 0);
    if (stuck !== undefined) stuck.stuckBecause = 'it has a local snapshot';
    const progress = await drain(world, 'lab-pve1', 0, true);
    expect(progress.map(({ instance, state, target, way }) => [instance, state, target, way])).toEqual(
      here.map(({ metadata, spec }, place) =>
        place === here.length - 1
          ? [metadata.name, 'stays', '', '']
          : [metadata.name, 'would-move', 'lab-pve2', spec.runtime === 'proxmox-vm' ? 'live' : 'restarted'],
      ),
    );
    expect(progress.at(-1)?.message).toBe('it has a local snapshot');
    expect(store.snapshot().named('node', 'lab-pve1')?.cordoned).toBe(false);
    await world.settle();
    expect([...control.instances('web'), ...control.instances('vm')].map(({ node }) => node)).toEqual(
      copies.map(({ node }) => node),
    );
  });

  it('says that there is no room for all, where each alone would find some', async () => {
    await using world = await startClusterWorld();
    const before = await world.run('web', 4);
    const large = world.clusters.fleet.nodes.get('lab-pve2');
    if (large === undefined) throw new Error('there is no pve2');
    const one = before[0]?.spec.resources.cpuMillicores ?? 0;
    large.facts = { ...large.facts, cpuCount: (3 * one) / 1000 };
    large.report();
    await until(() => world.control.view.node('lab-pve2' as NodeName)?.facts.cpuCount === (3 * one) / 1000, {
      what: 'it is small',
    });
    const progress = await drain(world, 'lab-pve1', 0, true);
    expect(progress.map(({ state }) => state)).toEqual(['would-move', 'stays']);
    expect(progress[1]?.message).toMatch(/lab-pve2: needs .* cpu/);
  });

  it('moves nothing on that its cluster moved along', async () => {
    await using world = await startClusterWorld();
    await world.clusters.join('lab', 'pve3');
    await until(() => world.control.view.node('lab-pve3' as NodeName)?.listed === true, {
      what: 'pve3 is there',
    });
    const copies = await world.run('web', 6);
    const here = copies
      .filter(({ node }) => node === pve1)
      .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
    expect(here).toHaveLength(2);
    const [first, second] = here.map(({ metadata }) => metadata);
    const id = second?.id as InstanceId;
    const because = `HA moves ${second?.name} along (rule "pair")`;
    const bondsOf = () => {
      const observed = world.store.snapshot().get('instance', first?.id ?? '')?.observed;
      return typeof observed === 'object' ? observed.bonds : undefined;
    };
    world.clusters.fleet.nodes
      .get(pve1)
      ?.note(first?.id as InstanceId, { bonds: [{ kind: 'along', nodes: [], because }] });
    await until(() => bondsOf() !== undefined, { what: 'the rule is known' });
    world.clusters.during('migrate', async () => {
      const order = { node: pve1, instanceId: id, generation: 1, requestId: 'ha' };
      await world.clusters.backend.migrate(order, 'lab-pve3' as NodeName, world.context.signal);
      await until(() => world.store.snapshot().get('instance', id)?.node !== pve1, {
        what: 'it is seen there',
      });
    });
    const progress = await drain(world, 'lab-pve1');
    expect(progress.map(({ instance, state }) => [instance, state])).toEqual([
      [first?.name, 'moving'],
      [first?.name, 'moved'],
      [second?.name, 'moved'],
    ]);
    expect(progress[0]?.message).toContain(because);
    expect(progress.at(-1)).toMatchObject({ target: 'lab-pve3', message: 'it was moved meanwhile' });
  });

  it('names the rule of its cluster that keeps one, and asks its cluster for nothing', async () => {
    await using world = await startClusterWorld();
    const [web] = await world.run('web');
    const node = web?.node ?? pve1;
    const other = node === pve1 ? 'lab-pve2' : pve1;
    const because = `HA keeps it to ${node} (rule "near")`;
    world.clusters.fleet.nodes
      .get(node)
      ?.note(web?.metadata.id as InstanceId, { bonds: [{ kind: 'only', nodes: [node], because }] });
    const bonds = () => {
      const observed = world.control.instances('web')[0]?.observed;
      return typeof observed === 'object' ? observed.bonds : undefined;
    };
    await until(() => bonds() !== undefined, { what: 'the rule is known' });
    const service = fleetService(world.deps);
    const explained = await service.explainInstance(
      { project: '', instance: web?.metadata.name ?? '' },
      world.context,
    );
    expect(explained.decision?.verdicts.find((each) => each.node === other)).toMatchObject({
      fits: false,
      rule: 'bonds-kept',
      reason: because,
    });
    expect(explained.instance?.observed?.bonds).toEqual([{ kind: 'only', nodes: [node], because }]);
    world.clusters.failNext('migrate', new DroverError('internal', 'it is asked'));
    for (const dryRun of [true, false])
      await expect(drain(world, node, 0, dryRun)).resolves.toMatchObject([
        {
          state: 'stays',
          errorKind: 'failed-precondition',
          message: `0 of 1 nodes fit. 1 forbidden by rules of its cluster. ${other}: ${because}`,
        },
      ]);
  });

  it('moves nothing to a plain host or to another cluster', async () => {
    await using world = await startClusterWorld();
    world.clusters.fleet.nodes.get('lab-pve2')?.disconnect();
    await until(() => world.control.view.node('lab-pve2' as NodeName)?.connected === false, {
      what: 'it is away',
    });
    const [web] = await world.run('web');
    expect(web?.node).toBe(pve1);
    await expect(drain(world, 'lab-pve1')).resolves.toMatchObject([{ state: 'stays' }]);
    expect(world.control.instances('web')).toMatchObject([{ node: pve1 }]);
  });
});

describe('draining a node with an agent', () => {
  const twoHosts = async (): Promise<World> => {
    const world = await startClusterWorld();
    await world.control.enroll('h2');
    world.clusters.fleet.addNode('h2');
    await until(() => world.control.view.node('h2' as NodeName)?.listed === true, { what: 'h2 is there' });
    return world;
  };

  it('replaces its copies elsewhere, one at a time', async () => {
    await using world = await twoHosts();
    const { control } = world;
    const before = await world.run('plain', 4, 'crun');
    const here = before.filter(({ node }) => node === 'h1').map(({ metadata }) => metadata.id);
    expect(here).toHaveLength(2);
    const progress = await drain(world, 'h1');
    expect(progress.map(({ state, target }) => [state, target])).toEqual([
      ['moving', ''],
      ['moved', 'h2'],
      ['moving', ''],
      ['moved', 'h2'],
    ]);
    const after = control.instances('plain');
    expect(nodesOf(after)).toEqual(['h2', 'h2', 'h2', 'h2']);
    expect(after.filter(({ metadata }) => here.includes(metadata.id))).toEqual([]);
    await world.settle();
    expect(control.instances('plain')).toHaveLength(4);
  });

  it('says beforehand what would be replaced, and what has its data there', async () => {
    await using world = await twoHosts();
    const before = await world.run('plain', 4, 'crun');
    const progress = await drain(world, 'h1', 0, true);
    expect(progress.map(({ state, target, way }) => [state, target, way])).toEqual([
      ['would-move', 'h2', 'replaced'],
      ['would-move', 'h2', 'replaced'],
    ]);
    await world.settle();
    expect(nodesOf(world.control.instances('plain'))).toEqual(nodesOf(before));
  });

  it('leaves what no other node has room for, and takes its word back', async () => {
    await using world = await startClusterWorld();
    const { control } = world;
    const before = await world.run('plain', 1, 'crun');
    const progress = await drain(world, 'h1');
    expect(progress.at(-1)).toMatchObject({ state: 'stays', errorKind: 'resource-exhausted' });
    expect(progress.at(-1)?.message).toMatch(/nodes fit/);
    await until(() => control.instances('plain').length === 1, { what: 'the copy more is gone' });
    expect(control.instances('plain')[0]?.metadata.id).toBe(before[0]?.metadata.id);
    expect(control.instances('plain')[0]).not.toHaveProperty('evicting');
    await world.settle();
    expect(control.instances('plain')).toMatchObject([{ intent: 'run', observed: { phase: 'running' } }]);
  }, 20_000);

  it('leaves what has its data there, and says so', async () => {
    await using world = await twoHosts();
    const { control } = world;
    const facts = {
      runtimes: [{ name: 'crun', version: '1', healthy: true, detail: '', capabilities: ['mounts'] }],
    };
    for (const name of ['h1', 'h2']) {
      const node = world.clusters.fleet.nodes.get(name);
      if (node === undefined) continue;
      node.facts = { ...node.facts, ...facts };
      node.report();
    }
    await control.apply('db', { runtime: 'crun', volumes: [data], update: { readyAfterMs: 0 } });
    world.deps.wake();
    await until(() => typeof control.instances('db')[0]?.observed === 'object', { what: 'db is there' });
    const { node = '' } = control.instances('db')[0] ?? {};
    await expect(drain(world, node)).resolves.toMatchObject([
      {
        state: 'stays',
        errorKind: 'failed-precondition',
        message: expect.stringContaining('data volumes') as string,
      },
    ]);
  });

  it('gives up at its deadline', async () => {
    await using world = await twoHosts();
    const [plain] = await world.run('plain', 1, 'crun');
    const other = plain?.node === 'h1' ? 'h2' : 'h1';
    world.clusters.fleet.nodes.get(other)?.failNext('ensure', new DroverError('internal', 'it fails'));
    await world.control.apply('plain', { runtime: 'crun', update: { readyAfterMs: 600_000 } });
    const progress = await drain(world, plain?.node ?? '', 300);
    expect(progress.at(-1)).toMatchObject({ state: 'stays', errorKind: 'deadline-exceeded' });
    expect(world.control.instances('plain').some((each) => each.evicting)).toBe(false);
  });
});

it.each([
  ['a node that is not there', 'h9', 0, 'not-found'],
  ['what is no name', '../x', 0, 'invalid-argument'],
  ['too long a time', 'h1', 86_400_001, 'invalid-argument'],
])('refuses %s', async (_title, name, deadlineMs, kind) => {
  await using world = await startClusterWorld();
  await expect(drain(world, name, deadlineMs)).rejects.toMatchObject({ kind });
});
