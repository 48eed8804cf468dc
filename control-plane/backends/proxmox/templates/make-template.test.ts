/** Templates that Drover makes of guests, whatever answer is lost and whenever it is ended. */
import { randomUUIDv7 } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createLog } from '#shared/log.ts';
import type { ClusterTemplate, SnapshotId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { createQuickClock } from '../../../../test/fakes/quick-clock.ts';
import {
  container,
  machine,
  openQuickWorld,
  type ProxmoxWorld,
  quickPace,
  runGuest,
  specOf,
} from '../../../../test/proxmox-world.ts';
import { until } from '../../../../test/until.ts';
import { claimTemplate, noteTemplateBegun } from '../../../store/put-cluster-template.ts';
import { openClusterApi } from '../api/api.ts';
import type { ClusterApi } from '../cluster-api.ts';
import { type ClusterTools, emptyMemory } from '../cluster-memory.ts';
import { lxcKind } from '../guests/lxc.ts';
import { qemuKind } from '../guests/qemu.ts';
import { createLimits, type WorkPlace } from '../limits.ts';
import { proxmoxBackend } from '../index.ts';
import { createTemplates, type Templates } from './make-template.ts';
import { createTasks } from '../tasks/tasks.ts';
import { createTemplateFiles } from '../images/template-file.ts';

const clock = createQuickClock(20);
const kinds = [
  ['lxc', container],
  ['qemu', machine],
] as const;

/** Ends it before its `last` + 1st write, as the end of a process would. */
function endedAfter(api: ClusterApi, last: number, ending: AbortController): ClusterApi {
  let writes = 0;
  return {
    ...api,
    call: async (method, parameters, options) => {
      if (!method.startsWith('GET ')) writes += 1;
      if (writes > last) ending.abort(new Error('ended'));
      ending.signal.throwIfAborted();
      return api.call(method, parameters, options);
    },
  };
}

const { signal } = new AbortController();
const limits = createLimits({ perNode: 4, perStorage: 8, filesPerStorage: 3 });
/** What waited for room, and where. */
const weighed: WorkPlace[] = [];
const golden = (vmid: number) => ({ vmid, name: 'golden', snapshot: '' });

const make = (world: ProxmoxWorld, record: ClusterTemplate, last?: number): Promise<ClusterTemplate> =>
  withTemplates(world, ({ make: go }, ending) => go(record, ending, signal), last);

const remove = (world: ProxmoxWorld, record: ClusterTemplate): Promise<void> =>
  withTemplates(world, (templates, ending) => templates.remove(record, ending));

async function withTemplates<Result>(
  world: ProxmoxWorld,
  act: (templates: Templates, ending: AbortSignal) => Promise<Result>,
  last = 1000,
): Promise<Result> {
  const ending = new AbortController();
  const open = openClusterApi('lab', specOf(world.server), { clock, random: systemRandom });
  const api = endedAfter(open, last, ending);
  const tools: ClusterTools = {
    name: 'lab',
    fleetId: 'fleet-1',
    fleetEpoch: 1,
    store: world.store,
    clock,
    random: systemRandom,
    log: createLog({ level: 'silent' }),
    api,
    tasks: createTasks({ cluster: 'lab', api, clock }),
    limits: {
      run: (place, own, work) => {
        weighed.push(place);
        return limits.run(place, own, work);
      },
    },
    kinds: { lxc: lxcKind, qemu: qemuKind },
    memory: emptyMemory(),
    templateFiles: createTemplateFiles([]),
    relay: () => {},
    signal: ending.signal,
    put: () => {},
  };
  try {
    return await act(createTemplates(tools), ending.signal);
  } finally {
    await open.close();
  }
}

async function claim(world: ProxmoxWorld, kind: 'lxc' | 'qemu', vmid: number, number = 9000) {
  const source = { node: 'pve1', vmid, snapshot: '' };
  const wanted = { cluster: 'lab', name: 'golden', kind, source, chooseVmid: () => number };
  return (await world.store.transact((tx) => claimTemplate(tx, wanted, 1))).result;
}

const clones = ({ server }: ProxmoxWorld): number =>
  server.requests.list().filter((each) => /^POST .*\/clone$/.test(each)).length;

/** A guest of ours, still where it must be. */
async function sourceOf(
  world: ProxmoxWorld,
  kind: 'lxc' | 'qemu',
  spec = kind === 'lxc' ? container : machine,
) {
  const order = await runGuest(world, spec);
  const vmid = world.store.snapshot().get('cluster-guest', order.instanceId)?.vmid ?? 0;
  if (kind === 'lxc')
    await world.backend.stopInstance({ ...order, generation: 2 }, 0, new AbortController().signal);
  return vmid;
}

function checkMade(world: ProxmoxWorld, made: ClusterTemplate, source: number): void {
  expect(made).toMatchObject({ state: 'ready', message: '' });
  const { guests } = world.server.world;
  const { config } = guests.get(made.vmid) ?? {};
  expect(config).toMatchObject({ template: '1', tags: 'drover-template' });
  expect(config?.[made.kind === 'lxc' ? 'hostname' : 'name']).toBe('golden');
  expect(config?.['description']).not.toContain('drover:instance');
  expect(guests.get(source)?.config).toMatchObject({ tags: expect.stringMatching(/^drover-[0-9a-f]{12}$/) });
  expect(guests.get(source)?.config['template']).toBeUndefined();
}

describe.each(['8.4.21', '9.2.11'] as const)('on %s', (version) => {
  describe.each(kinds)('a template of %s', (kind) => {
    const at = `/nodes/{node}/${kind}/{vmid}`;

    it('is made once though each answer is lost', async () => {
      await using world = await openQuickWorld({ version, clock });
      const vmid = await sourceOf(world, kind);
      for (const method of [`POST ${at}/clone`, `PUT ${at}/config`, `POST ${at}/template`])
        world.server.faults.loseAnswer(method);
      const made = await world.backend.createTemplate('lab', golden(vmid), signal);
      checkMade(world, made, vmid);
      expect(clones(world)).toBe(1);
    });

    it('that was being made is made by the next control plane', async () => {
      await using world = await openQuickWorld({ version, clock });
      const vmid = await sourceOf(world, kind);
      await world.backend.close();
      const record = await claim(world, kind, vmid);
      await expect(make(world, record, 1)).rejects.toThrow('ended');
      const backend = proxmoxBackend({
        store: world.store,
        fleet: { fleetId: 'fleet-1', fleetEpoch: 1 },
        clock,
        random: systemRandom,
        log: createLog({ level: 'silent' }),
        pace: quickPace,
      });
      const now = () => world.store.snapshot().get('cluster-template', record.key);
      await until(() => now()?.state === 'ready', { what: 'the template is ready' });
      await backend.close();
      checkMade(world, now() ?? record, vmid);
      expect(clones(world)).toBe(1);
    });

    it('is gone on with where it was ended before any of its writes', async () => {
      await using world = await openQuickWorld({ version, clock });
      const vmid = await sourceOf(world, kind);
      await world.backend.close();
      const record = await claim(world, kind, vmid);
      for (let ended = 0; ended < 3; ended += 1)
        await expect(make(world, record, 0)).rejects.toThrow('ended');
      await expect(make(world, record, 1)).rejects.toThrow('ended');
      await expect(make(world, record, 1)).rejects.toThrow('ended');
      checkMade(world, await make(world, record, 1), vmid);
      expect(clones(world)).toBe(1);
    });

    it('is an image at once, and goes, with a lost answer, but not while a linked copy hangs on it', async () => {
      await using world = await openQuickWorld({ version, clock });
      const pool = { id: 'tank', type: 'zfspool', content: ['images', 'rootdir'] } as const;
      world.server.world.storages.add({ ...pool, content: [...pool.content] });
      const spec = kind === 'lxc' ? container : machine;
      const vmid = await sourceOf(world, kind, { ...spec, rootPool: 'tank' });
      const made = await world.backend.createTemplate('lab', golden(vmid), signal);
      const image = 'proxmox:template/golden';
      const linked = {
        ...spec,
        image,
        rootPool: '',
        cluster: { ...plainClusterOptions, clone: 'linked' as const },
      };
      const order = await runGuest(world, linked);
      await expect(world.backend.removeTemplate('lab', 'golden', signal)).rejects.toThrow(
        /linked clone|in use/,
      );
      expect(world.server.world.guests.get(made.vmid)?.config.template).toBe('1');
      expect(world.store.snapshot().get('cluster-template', made.key)).toBeDefined();
      await world.backend.removeInstance({ ...order, generation: 2 }, 0, signal);
      world.server.faults.loseAnswer(`DELETE ${at}`);
      await world.backend.removeTemplate('lab', `${made.vmid}`, signal);
      expect(world.server.world.guests.get(made.vmid)).toBeUndefined();
      // Whatever was listed last.
      expect(world.backend.guests('lab').filter(({ template }) => template)).toEqual([]);
      expect(world.store.snapshot().get('cluster-template', made.key)).toBeUndefined();
    });

    it('counts on the storage that its disks are copied to', async () => {
      await using world = await openQuickWorld({ version, clock });
      world.server.world.storages.add({ id: 'tank', type: 'zfspool', content: ['images', 'rootdir'] });
      const spec = kind === 'lxc' ? container : machine;
      const vmid = await sourceOf(world, kind, { ...spec, rootPool: 'tank' });
      await world.backend.close();
      weighed.splice(0);
      await make(world, await claim(world, kind, vmid));
      expect(weighed).toContainEqual({ node: 'pve1', storages: ['pve1/tank'] });
    });

    it("takes another number where somebody's guest has it, which stays", async () => {
      await using world = await openQuickWorld({ version, clock });
      const vmid = await sourceOf(world, kind);
      await world.backend.close();
      const before = { ...world.server.world.guests.get(vmid)?.config };
      const made = await make(world, await claim(world, kind, vmid, vmid));
      expect(made.vmid).not.toBe(vmid);
      expect(world.server.world.guests.get(vmid)?.config).toEqual(before);
      checkMade(world, made, vmid);
    });
  });

  it('leaves alone what another node has under its number', async () => {
    await using world = await openQuickWorld({ version, clock });
    const other = await runGuest(world, machine, 'pve2');
    const taken = world.store.snapshot().get('cluster-guest', other.instanceId)?.vmid ?? 0;
    const vmid = await sourceOf(world, 'lxc');
    await world.backend.close();
    const made = await make(world, await claim(world, 'lxc', vmid, taken));
    expect(made.vmid).not.toBe(taken);
    checkMade(world, made, vmid);
    expect(world.server.world.guests.get(taken)).toMatchObject({ node: 'pve2', status: 'running' });
  });

  it('of a container that runs is refused, with what to do, and nothing is made', async () => {
    await using world = await openQuickWorld({ version, clock });
    const order = await runGuest(world, container);
    const vmid = world.store.snapshot().get('cluster-guest', order.instanceId)?.vmid ?? 0;
    const made = world.backend.createTemplate('lab', golden(vmid), signal);
    await expect(made).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringContaining('it is copied from a snapshot, or stopped') as string,
    });
    expect(world.store.snapshot().list('cluster-template')).toEqual([]);
    expect(clones(world)).toBe(0);
  });

  it.each(kinds)('of %s is made of a snapshot of what runs on', async (kind, spec) => {
    await using world = await openQuickWorld({ version, clock });
    const { storages } = world.server.world;
    storages.add({ id: 'tank', type: 'zfspool', content: ['images', 'rootdir'] });
    storages.add({ id: 'thin', type: 'lvmthin', content: ['images', 'rootdir'] });
    const order = await runGuest(world, { ...spec, rootPool: kind === 'lxc' ? 'tank' : 'thin' });
    const vmid = world.store.snapshot().get('cluster-guest', order.instanceId)?.vmid ?? 0;
    const id = randomUUIDv7() as SnapshotId;
    await world.backend.createSnapshot(order, { id, name: 'before' }, signal);
    const misspelt = world.backend.createTemplate('lab', { ...golden(vmid), snapshot: 'befor' }, signal);
    await expect(misspelt).rejects.toMatchObject({
      kind: 'not-found',
      reason: 'snapshot',
      message: `guest ${vmid} of lab has no snapshot befor; there are before`,
    });
    expect(world.store.snapshot().list('cluster-template')).toEqual([]);
    expect(clones(world)).toBe(0);
    const made = await world.backend.createTemplate('lab', { ...golden(vmid), snapshot: 'before' }, signal);
    checkMade(world, made, vmid);
    expect(world.server.world.guests.get(vmid)).toMatchObject({ status: 'running' });
    expect(world.server.world.guests.get(made.vmid)?.snapshots.size).toBe(0);
    // Before a clone is planned as well.
    const [guest] = world.backend.guests('lab').filter((each) => each.vmid === vmid);
    if (guest === undefined) throw new Error('it is not listed');
    await world.backend.checkSnapshot(guest, 'before', signal);
    await expect(world.backend.checkSnapshot(guest, 'nope', signal)).rejects.toMatchObject({
      message: expect.stringContaining('there are before') as string,
    });
  });

  it.each([
    ['lxc', 'has a snapshot', /CT contains snapshots/],
    ['qemu', 'has a snapshot', /VM contains snapshots/],
    ['lxc', 'runs', /if the CT is running/],
    ['qemu', 'runs', /if VM is running/],
  ] as const)(
    'of %s whose copy %s by then is told as failed, and can be removed',
    async (kind, how, words) => {
      await using world = await openQuickWorld({ version, clock });
      const vmid = await sourceOf(world, kind);
      await world.backend.close();
      const record = await claim(world, kind, vmid);
      await expect(make(world, record, 2)).rejects.toThrow('ended');
      const copy = world.server.world.guests.get(record.vmid);
      if (copy === undefined) throw new Error('there is no copy');
      const { status } = copy;
      if (how === 'runs') Object.assign(copy, { status: 'running', qmpStatus: 'running' });
      else copy.snapshots.set('theirs', { config: { ...copy.config }, description: '', takenAt: 0 } as never);
      await expect(make(world, record)).rejects.toMatchObject({
        kind: 'failed-precondition',
        message: expect.stringMatching(words) as string,
      });
      expect(world.store.snapshot().get('cluster-template', record.key)).toMatchObject({
        state: 'failed',
        message: expect.stringMatching(words) as string,
      });
      expect(copy.config.template).toBeUndefined();
      if (how === 'runs') {
        await expect(remove(world, record)).rejects.toThrow(/running/);
        Object.assign(copy, { status, qmpStatus: 'stopped' });
      }
      await remove(world, record);
      expect([...world.server.world.guests.keys()]).toEqual([vmid]);
    },
  );

  it('of a container on a storage without templates is refused before anything is made', async () => {
    await using world = await openQuickWorld({ version, clock });
    world.server.world.storages.add({ id: 'thick', type: 'lvm', content: ['images', 'rootdir'] });
    const vmid = await sourceOf(world, 'lxc', { ...container, rootPool: 'thick' });
    await expect(world.backend.createTemplate('lab', golden(vmid), signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringContaining('is on thick, which is LVM without thin volumes') as string,
    });
    expect(clones(world)).toBe(0);
    expect(world.store.snapshot().list('cluster-template')).toEqual([]);
    // Where that was not seen beforehand its task fails.
    await world.backend.close();
    const record = await claim(world, 'lxc', vmid);
    await expect(make(world, record)).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringContaining('Template feature is not available') as string,
    });
    expect(world.server.world.guests.get(record.vmid)?.config.template).toBeUndefined();
  });

  it('of somebody else is not removed, and its name not taken', async () => {
    await using world = await openQuickWorld({ version, clock });
    const vmid = await sourceOf(world, 'lxc');
    const { newGuest, guests } = world.server.world;
    const config = { hostname: 'golden', template: '1' };
    guests.set(8000, newGuest({ vmid: 8000, kind: 'lxc', node: 'pve1', config }));
    await until(() => world.backend.guests('lab').some((each) => each.vmid === 8000 && each.template), {
      what: 'their template is listed',
    });
    for (const called of ['golden', '8000'])
      await expect(world.backend.removeTemplate('lab', called, signal)).rejects.toMatchObject({
        kind: 'failed-precondition',
        reason: 'not-ours',
      });
    await expect(world.backend.createTemplate('lab', golden(vmid), signal)).rejects.toMatchObject({
      kind: 'already-exists',
    });
    await expect(world.backend.removeTemplate('lab', 'none', signal)).rejects.toMatchObject({
      kind: 'not-found',
    });
    expect(guests.get(8000)).toBeDefined();
    expect(world.store.snapshot().list('cluster-template')).toEqual([]);
  });

  it('that was cut off half made says what to do, and is given up once that was done', async () => {
    await using world = await openQuickWorld({ version, clock });
    const vmid = await sourceOf(world, 'lxc');
    await world.backend.close();
    const { key } = await claim(world, 'lxc', vmid);
    const { result: record } = await world.store.transact((tx) => {
      noteTemplateBegun(tx, key, 9000, 2);
      return tx.get('cluster-template', key) as ClusterTemplate;
    });
    const { newGuest, guests } = world.server.world;
    guests.set(9000, newGuest({ vmid: 9000, kind: 'lxc', node: 'pve1', config: { lock: 'clone' } }));
    const halfMade = {
      reason: 'half-made',
      nextStep: 'on pve1, as root: pct unlock 9000 && pct destroy 9000',
    };
    await expect(make(world, record)).rejects.toMatchObject(halfMade);
    const kept = world.store.snapshot().get('cluster-template', record.key);
    expect(kept).toMatchObject({ state: 'failed', message: expect.stringContaining('pct unlock') as string });
    await expect(remove(world, record)).rejects.toMatchObject(halfMade);
    guests.delete(9000);
    await remove(world, record);
    expect(clones(world)).toBe(0);
  });

  it.each(['before', 'when'])(
    'leaves a number to somebody who makes a guest with it %s it is asked for',
    async (at) => {
      await using world = await openQuickWorld({ version, clock });
      const vmid = await sourceOf(world, 'lxc');
      await world.backend.close();
      const record = await claim(world, 'lxc', vmid);
      const { newGuest, guests } = world.server.world;
      const theirs = newGuest({ vmid: 9000, kind: 'lxc', node: 'pve1', config: { lock: 'create' } });
      const clone = `POST /nodes/pve1/lxc/${vmid}/clone`;
      if (at === 'before') guests.set(9000, theirs);
      else world.server.faults.delay('POST /nodes/{node}/lxc/{vmid}/clone', 1000);
      const making = make(world, record);
      making.catch(() => undefined);
      await until(() => world.server.requests.list().includes(clone), { what: 'a copy is asked for' });
      guests.set(9000, theirs);
      const made = await making;
      expect(made).toMatchObject({ vmid: 9001, begunVmid: 9001 });
      checkMade(world, made, vmid);
      expect(guests.get(9000)).toBe(theirs);
      expect(theirs.config).toEqual({ lock: 'create' });
    },
  );

  it('is found where its source is by now, and is not made of another', async () => {
    await using world = await openQuickWorld({ version, clock });
    const vmid = await sourceOf(world, 'lxc');
    const record = await claim(world, 'lxc', vmid);
    await world.store.transact((tx) =>
      tx.put('cluster-template', record.key, {
        ...record,
        state: 'failed',
        source: { ...record.source, node: 'pve3' },
      }),
    );
    const other = await sourceOf(world, 'qemu');
    await expect(world.backend.createTemplate('lab', golden(other), signal)).rejects.toMatchObject({
      kind: 'already-exists',
      nextStep: expect.stringContaining('drover template remove lab/golden') as string,
    });
    checkMade(world, await world.backend.createTemplate('lab', golden(vmid), signal), vmid);
  });

  it('is given up while it is made: nothing of it stays, and nothing makes it again', async () => {
    await using world = await openQuickWorld({ version, clock, pace: 40 });
    const vmid = await sourceOf(world, 'lxc');
    const made = world.backend.createTemplate('lab', golden(vmid), signal);
    made.catch(() => undefined);
    await until(() => clones(world) === 1, { what: 'its copy is asked for' });
    await world.backend.removeTemplate('lab', 'golden', signal);
    await expect(made).rejects.toMatchObject({
      kind: 'aborted',
      message: expect.stringContaining('was removed') as string,
    });
    await until(
      () => world.server.requests.list().filter((each) => each.endsWith('cluster/status')).length > 5,
      { what: 'some polls' },
    );
    expect(clones(world)).toBe(1);
    expect([...world.server.world.guests.keys()]).toEqual([vmid]);
    expect(world.store.snapshot().list('cluster-template')).toEqual([]);
    const told = world.store.snapshot().list('event');
    expect(told.filter(({ type }) => type === 'template.removed')).toHaveLength(1);
  });

  it('whose notes somebody wrote anew is ours by its tag; without both it is not forgotten', async () => {
    await using world = await openQuickWorld({ version, clock });
    const vmid = await sourceOf(world, 'lxc');
    const made = await world.backend.createTemplate('lab', golden(vmid), signal);
    const { config } = world.server.world.guests.get(made.vmid) ?? { config: {} as never };
    config['description'] = 'our golden image';
    config['tags'] = '';
    await expect(world.backend.removeTemplate('lab', 'golden', signal)).rejects.toMatchObject({
      kind: 'failed-precondition',
      reason: 'not-ours',
      nextStep: expect.stringContaining(`remove ${made.vmid} in the cluster itself`) as string,
    });
    const kept = world.store.snapshot().get('cluster-template', made.key);
    expect(kept).toMatchObject({ state: 'ready' });
    config['tags'] = 'drover-template';
    await world.backend.removeTemplate('lab', 'golden', signal);
    expect(world.server.world.guests.has(made.vmid)).toBe(false);
  });

  it('that somebody removed in the cluster is made again', async () => {
    await using world = await openQuickWorld({ version, clock });
    const vmid = await sourceOf(world, 'lxc');
    const first = await world.backend.createTemplate('lab', golden(vmid), signal);
    world.server.world.guests.delete(first.vmid);
    checkMade(world, await world.backend.createTemplate('lab', golden(vmid), signal), vmid);
    expect(clones(world)).toBe(2);
  });
});
