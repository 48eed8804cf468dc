/** What is peculiar to virtual machines, through the whole backend. */
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { InstanceId, InstanceSpec } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type { ExecStart } from '#shared/streams.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { bridged } from '../../../test/fakes/cluster-networks.ts';
import { newSpec } from '../../../test/conformance/backend.ts';
import { newCloudInit } from '../../../test/fakes/proxmox/qemu-disks.ts';
import { placeFile } from '../../../test/fakes/proxmox/storage-paths.ts';
import type { Guest } from '../../../test/fakes/proxmox/world.ts';
import {
  guestOf,
  openProxmoxWorld,
  openQuickWorld,
  type ProxmoxWorld,
  specOf,
} from '../../../test/proxmox-world.ts';
import { until } from '../../../test/until.ts';
import { openClusterApi } from './api/api.ts';
import { parseProperties } from './guests/properties.ts';
import { createTasks } from './tasks/tasks.ts';

const never = new AbortController().signal;
const versions = ['8.4.21', '9.2.11'] as const;
const eth0 = bridged();
const specWith = (patch: Partial<InstanceSpec> = {}): InstanceSpec =>
  newSpec({
    runtime: 'proxmox-vm',
    image: 'proxmox:shared:import/noble.qcow2',
    displayName: 'web-x7k2p',
    command: [],
    rootPool: 'shared',
    resources: { cpuMillicores: 1500, memoryMib: 256, diskMib: 0, pids: 4096 },
    ...patch,
  });

const noble = { content: 'import', name: 'noble.qcow2', sizeBytes: 2 * 1024 ** 3 };

async function open(version: (typeof versions)[number]): Promise<ProxmoxWorld> {
  const world = await openProxmoxWorld({ version });
  for (const storage of ['shared', 'local']) placeFile(world.server.world, 'pve1', storage, noble);
  return world;
}

async function runningAt({ state }: ProxmoxWorld, id: InstanceId, generation: number): Promise<void> {
  await until(
    () => {
      const found = state(id);
      if (found === undefined || found === 'absent') return false;
      if (found.phase === 'failed') throw new Error(found.message);
      return found.phase === 'running' && found.generation === generation;
    },
    { what: `generation ${generation} running` },
  );
}

async function make(world: ProxmoxWorld, patch: Partial<InstanceSpec> = {}, node = 'pve1') {
  const order = world.order(node);
  await world.backend.ensureInstance(order, specWith(patch), never);
  await runningAt(world, order.instanceId, 1);
  const change = async (generation: number, next: Partial<InstanceSpec>): Promise<void> => {
    const again = world.order(node, { instanceId: order.instanceId, generation });
    await world.backend.ensureInstance(again, specWith({ ...patch, ...next }), never);
  };
  return { order, id: order.instanceId, guest: guestOf(world, order.instanceId), change };
}

/** Made by somebody else: "debian-12", number 9000. */
async function makeTemplate(world: ProxmoxWorld): Promise<void> {
  const api = openClusterApi('lab', specOf(world.server), { clock: systemClock, random: systemRandom });
  try {
    const tasks = createTasks({ cluster: 'lab', api, clock: systemClock });
    const place = { node: 'pve1', vmid: 9000 };
    const scsi0 = 'shared:0,import-from=shared:import/noble.qcow2,format=qcow2';
    const described = { name: 'debian-12', memory: 2048, scsi0, net0: 'virtio,bridge=vmbr0' };
    const signal = never;
    const made = await api.call('POST /nodes/{node}/qemu', { ...place, ...described }, { signal });
    await tasks.wait(String(made), { signal });
    await tasks.wait(String(await api.call('POST /nodes/{node}/qemu/{vmid}/template', place, { signal })), {
      signal,
    });
  } finally {
    await api.close();
  }
  world.server.world.broadcasts.tell();
  await until(() => world.backend.guests('lab').some((each) => each.template), { what: 'a template' });
}

const start: ExecStart = {
  instance: '',
  command: ['hostname'],
  stdin: false,
  tty: false,
  size: { columns: 80, rows: 24 },
  env: {},
  user: '',
  workingDir: '',
  project: 'default',
};
const admin = { role: 'admin', name: 'root' } as const;

describe.each(versions)('virtual machines on %s', (version) => {
  it('change while they run where that can be, and are started anew where it cannot', async () => {
    await using world = await open(version);
    const { id, guest, change } = await make(world);
    const { pid } = guest;
    await change(2, { resources: { cpuMillicores: 1100, memoryMib: 256, diskMib: 4096, pids: 4096 } });
    await runningAt(world, id, 2);
    expect(guest.config['cpulimit']).toBe('1.1');
    expect(parseProperties(guest.config['scsi0'], 'file').get('size')).toBe('4G');
    expect(guest.pid).toBe(pid);
    await change(3, { resources: { cpuMillicores: 1100, memoryMib: 512, diskMib: 4096, pids: 4096 } });
    await runningAt(world, id, 3);
    await until(() => guest.pid !== pid && guest.status === 'running', { what: 'another start' });
    expect(guest.config['memory']).toBe('512');
    expect(guest.pending.size).toBe(0);
    const state = world.state(id);
    expect(state).toMatchObject({ limits: { memoryMib: 512, cpuMillicores: 1100, diskMib: 4096 } });
  });

  it('are started anew for what waits, though that failed at first', async () => {
    await using world = await openQuickWorld({ version });
    placeFile(world.server.world, 'pve1', 'shared', noble);
    const { id, guest, change } = await make(world);
    const { pid } = guest;
    for (const what of ['shutdown', 'stop'])
      world.server.faults.failNext(`POST /nodes/{node}/qemu/{vmid}/status/${what}`, {
        status: 500,
        message: 'it is not to be',
      });
    await change(2, { resources: { cpuMillicores: 1100, memoryMib: 512, diskMib: 0, pids: 4096 } });
    const isTold = () => {
      const now = world.state(id);
      return typeof now === 'object' && now.message === 'it is not to be';
    };
    await until(isTold, { what: 'a failure' });
    const isApplied = () => world.store.snapshot().get('cluster-guest', id)?.appliedGeneration === 2;
    await until(isApplied, { what: 'generation 2', deadlineMs: 20_000 });
    expect(guest.pid).not.toBe(pid);
    expect(guest.pending.size).toBe(0);
  });

  it('are told by cloud-init at their next start, and given other disk options by one', async () => {
    await using world = await open(version);
    const vm = { ...plainVmOptions, cloudInit: { user: 'admin', sshKeys: [] } };
    const { id, guest, change } = await make(world, { vm });
    const { pid } = guest;
    await change(2, { vm: { ...vm, cloudInit: { user: 'operator', sshKeys: [] } } });
    await runningAt(world, id, 2);
    expect(guest).toMatchObject({ pid, config: { ciuser: 'operator' } });
    expect(guest.pending.size).toBe(0);
    await change(3, { vm: { ...vm, disk: { ...vm.disk, discard: true } } });
    await runningAt(world, id, 3);
    await until(() => guest.pid !== pid && guest.status === 'running', { what: 'another start' });
    expect(guest.config['scsi0']).toContain('discard=on');
    expect(guest.pending.size).toBe(0);
  });

  it('are started anew where the system inside lets go of no device', async () => {
    await using world = await open(version);
    const assigned = { ...emptyAssignment, attachments: [eth0, { ...eth0, interface: 'eth1' }] };
    const { id, guest, change } = await make(world, { network: 'bridged', assigned });
    guest.inside.shutdownMs = Number.POSITIVE_INFINITY;
    await change(2, {
      network: 'bridged',
      stopGraceMs: 1000,
      assigned: { ...emptyAssignment, attachments: [eth0] },
    });
    await runningAt(world, id, 2);
    await until(() => guest.config['net1'] === undefined && guest.status === 'running', {
      what: 'the interface gone',
    });
    expect(guest.pending.size).toBe(0);
  });

  it('stand still where their disks fail them, with a word about it, until they are resumed', async () => {
    await using world = await openQuickWorld({ version });
    placeFile(world.server.world, 'pve1', 'shared', noble);
    const { order, id, guest } = await make(world);
    const told = () => {
      const now = world.state(id);
      return typeof now === 'object' ? `${now.phase}: ${now.message}` : '';
    };
    guest.qmpStatus = 'io-error';
    await until(() => told() === 'paused: it stands still: io-error', { what: told(), deadlineMs: 20_000 });
    await world.backend.resumeInstance({ ...order, generation: 0 }, never);
    expect(guest.qmpStatus).toBe('running');
    await until(() => told() === 'running: ', { what: 'running again' });
    // The list says so as well, though it is old.
    await world.backend.pauseInstance({ ...order, generation: 0 }, never);
    world.server.world.broadcasts.tell();
    expect(world.server.world.broadcasts.guest(guest.vmid)?.listed).toBe('paused');
  });

  it('are left alone by a stop while they are backed up, for which they have a process', async () => {
    await using world = await openQuickWorld({ version });
    placeFile(world.server.world, 'pve1', 'shared', noble);
    const { order, id, guest } = await make(world);
    await world.backend.stopInstance({ ...order, generation: 2 }, 0, never);
    guest.config.lock = 'backup';
    Object.assign(guest, { status: 'running', qmpStatus: 'prelaunch' });
    world.server.requests.reset();
    world.server.world.broadcasts.tell();
    // Our own sight of it is newer than a list, for a while.
    const { clock } = world.server.world;
    const endMs = clock.monotonicMs() + 40_000;
    await until(() => clock.monotonicMs() > endMs, { what: 'lists that are newer', deadlineMs: 20_000 });
    expect(world.state(id)).toMatchObject({ phase: 'stopped' });
    expect(world.server.requests.list().filter((each) => each.startsWith('POST'))).toEqual([]);
  });

  it('tell the addresses that they get from elsewhere, once their systems are up', async () => {
    await using world = await openQuickWorld({ version });
    placeFile(world.server.world, 'pve1', 'shared', noble);
    const assigned = { ...emptyAssignment, attachments: [eth0] };
    const { id, guest } = await make(world, { network: 'bridged', assigned });
    const addresses = () => {
      const now = world.state(id);
      return typeof now === 'object' ? now.addresses.join(' ') : '';
    };
    guest.inside.addresses.splice(0, Infinity, '10.99.86.120');
    await until(() => addresses() === '10.99.86.120', { what: 'an address', deadlineMs: 20_000 });
  });

  it('cannot become what no disk can, and run on', async () => {
    await using world = await open(version);
    const { id, guest, change } = await make(world);
    await change(2, { vm: { ...plainVmOptions, disk: { ...plainVmOptions.disk, bus: 'virtio' } } });
    await until(
      () => {
        const found = world.state(id);
        return found !== undefined && found !== 'absent' && /stays there/.test(found.message);
      },
      { what: 'a refusal' },
    );
    expect(guest.status).toBe('running');
  });

  it('are copies of a template, by its name, linked or in full', async () => {
    await using world = await open(version);
    await makeTemplate(world);
    for (const clone of ['linked', 'full'] as const) {
      const image = 'proxmox:template/debian-12';
      const vm = { ...plainVmOptions, clone, cloudInit: { user: 'admin', sshKeys: [] } };
      const { guest } = await make(world, { image, vm, rootPool: '', displayName: `copy-${clone}` });
      expect(guest.config).toMatchObject({ ciuser: 'admin', memory: '256', name: `copy-${clone}` });
      expect(guest.config['net0']).toBeUndefined();
      expect((guest.config['scsi0'] ?? '').includes('base-9000')).toBe(clone === 'linked');
      expect(guest.config['tags']).toContain('drover-');
    }
  });

  it('are copies of a protected template, without what they are not to have', async () => {
    await using world = await open(version);
    await makeTemplate(world);
    const template = world.server.world.guests.get(9000);
    const drive = newCloudInit(world.server.world, template as Guest, 'shared');
    Object.assign(template?.config ?? {}, { protection: '1', ide2: `${drive.volid},media=cdrom` });
    const { guest } = await make(world, { image: 'proxmox:template/debian-12', rootPool: '' });
    expect(guest.config).not.toHaveProperty('protection');
    expect(guest.config).not.toHaveProperty('ide2');
  });

  it('are copied once, also where the answer to it is lost while the copy is under way', async () => {
    await using world = await openQuickWorld({ version, pace: 6 });
    placeFile(world.server.world, 'pve1', 'shared', noble);
    await makeTemplate(world);
    world.server.faults.loseAnswer('POST /nodes/{node}/qemu/{vmid}/clone');
    const { order } = await make(world, { image: 'proxmox:template/debian-12', rootPool: '' });
    const copies = world.server.requests.list().filter((each) => /^POST .*\/clone$/.test(each));
    expect(copies).toHaveLength(1);
    expect(world.server.world.guests.size).toBe(2);
    await world.backend.removeInstance(order, 0, never);
  });

  it('move live, and are told what keeps them', async () => {
    await using world = await open(version);
    const { order, id, guest } = await make(world);
    const { startedAtMs } = guest;
    await world.backend.migrate({ ...order, generation: 0 }, world.node('pve2'), never);
    expect(guest).toMatchObject({ node: 'pve2', status: 'running', startedAtMs });
    await until(() => world.seen.some((one) => one.kind === 'instance' && one.node === world.node('pve2')), {
      what: 'told from its new node',
    });
    await runningAt(world, id, 1);
    guest.config['hostpci0'] = '0000:01:00.0';
    const back = world.order('pve2', { instanceId: id, generation: 0 });
    const stuck = world.backend.migrate(back, world.node('pve1'), never);
    await expect(stuck).rejects.toMatchObject({
      kind: 'failed-precondition',
      message: expect.stringContaining('hostpci0') as string,
    });
  });

  it('run no command where nobody answers inside, nor what their agent cannot', async () => {
    await using world = await open(version);
    const { id } = await make(world, { vm: { ...plainVmOptions, agent: false } });
    const node = world.node('pve1');
    const asked = (parts: Partial<ExecStart>) =>
      world.backend.exec(node, { ...start, instance: id, ...parts }, admin, never);
    await expect(asked({})).rejects.toMatchObject({ kind: 'failed-precondition', reason: 'guest-agent' });
    await expect(asked({ tty: true })).rejects.toMatchObject({ kind: 'unimplemented' });
    await expect(asked({ user: 'root' })).rejects.toMatchObject({
      kind: 'unimplemented',
      message: expect.stringContaining('user') as string,
    });
  });

  it('are reset, asked to end and ended by signals, and their policy has the last word', async () => {
    await using world = await open(version);
    const { order, id, guest } = await make(world, { restart: { policy: 'never', maxAttempts: 0 } });
    const send = (number: number) => world.backend.signalInstance({ ...order, generation: 0 }, number, never);
    const { pid } = guest;
    await send(1);
    expect(guest).toMatchObject({ pid, status: 'running' });
    expect(world.server.requests.list().filter((each) => each.endsWith('/status/reset'))).toHaveLength(1);
    await expect(send(10)).rejects.toMatchObject({ kind: 'unimplemented' });
    await send(9);
    expect(guest.status).toBe('stopped');
    await expect(send(15)).rejects.toMatchObject({ kind: 'failed-precondition' });
    await until(
      () => {
        const found = world.state(id);
        return found !== undefined && found !== 'absent' && found.phase === 'exited';
      },
      { what: 'an end that is final' },
    );
  });

  it('are refused by name what machines have not', async () => {
    await using world = await open(version);
    const order = world.order('pve1');
    for (const [patch, words] of [
      [{ command: ['sh'] }, /command/],
      [{ env: { A: 'b' } }, /env/],
      [{ security: { ...specWith().security, nesting: true } }, /nesting/],
    ] as const)
      await expect(world.backend.ensureInstance(order, specWith(patch), never)).rejects.toMatchObject({
        kind: 'unimplemented',
        message: expect.stringMatching(words) as string,
      });
    expect(world.server.world.guests.size).toBe(0);
  });
});
