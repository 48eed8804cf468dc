/** Virtual machines from make to removal, on clusters of both versions. */
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type { InstanceSpec } from '#shared/model.ts';
import type { ExecStart } from '#shared/streams.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { bridged } from '../../../../test/fakes/cluster-networks.ts';
import { newSpec } from '../../../../test/conformance/backend.ts';
import { type ProxmoxServer, startProxmoxServer } from '../../../../test/fakes/proxmox-server.ts';
import { placeFile } from '../../../../test/fakes/proxmox/storage-paths.ts';
import { createSeededRandom } from '../../../../test/fakes/random.ts';
import { until } from '../../../../test/until.ts';
import { openClusterApi } from '../api/api.ts';
import type { ClusterApi } from '../cluster-api.ts';
import { createTasks } from '../tasks/tasks.ts';
import { agentExec } from '../inside/agent-exec.ts';
import type { Configuration, GuestCall, MakeContext } from './guest-kind.ts';
import { migrationObstacles } from './qemu-migrate.ts';
import { qemuKind } from './qemu.ts';

const { signal } = new AbortController();
const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo();
});

const place = { node: 'pve1', vmid: 7200 };
const mark = { tag: 'drover-0123456789ab', line: 'drover:instance=x' };
const image = { kind: 'import', volid: 'shared:import/noble.qcow2' } as const;
const key = `ssh-ed25519 ${'A'.repeat(68)} user+test@example.test`;
const eth0 = bridged({ addresses: ['10.99.86.120/24'], gateways: ['10.99.86.1'], vlan: 12 });
const claim = { name: 'data', mountPath: '/data', sizeMib: 1500, pool: '', readOnly: false, keep: false };
const spec: InstanceSpec = newSpec({
  runtime: 'proxmox-vm',
  displayName: 'web-x7k2p',
  command: [],
  resources: { cpuMillicores: 1500, memoryMib: 256, diskMib: 5000, pids: 4096 },
  network: 'bridged',
  dns: { servers: ['10.99.86.1'], search: ['example.test'], options: [] },
  startOrder: 3,
  volumes: [claim],
  vm: {
    ...plainVmOptions,
    bios: 'ovmf',
    machine: 'q35',
    serial: true,
    cloudInit: { user: 'admin', sshKeys: [key] },
    disk: { ...plainVmOptions.disk, discard: true, iothread: true },
  },
  cluster: { ...plainClusterOptions, tags: ['blue', 'web'] },
  assigned: { ...emptyAssignment, attachments: [eth0] },
});

async function open(
  version: '8.4.21' | '9.2.11',
  nodes?: readonly { readonly name: string; kvm: boolean }[],
) {
  const server = await startProxmoxServer({ pace: 0.01, version, ...(nodes && { nodes }) });
  cleanUp.push(() => server.close());
  const { tokenId, secret, authorityPem: pem } = server;
  const clusterSpec = {
    endpoints: [...server.endpoints.values()],
    trust: { kind: 'authority', pem },
    credential: { kind: 'token', tokenId, secret },
  } as const;
  const api = openClusterApi('rig', clusterSpec, { clock: systemClock, random: createSeededRandom(1) });
  cleanUp.push(() => api.close());
  const tasks = createTasks({ cluster: 'rig', api, clock: systemClock });
  const storage = server.world.storages.definitions.has('shared') ? 'shared' : 'local';
  const file = { content: 'import', name: 'noble.qcow2', sizeBytes: 2 * 1024 ** 3 };
  placeFile(server.world, [...server.world.nodes.keys()][0] ?? '', storage, file);
  const ask = async (call: GuestCall | undefined): Promise<unknown> => {
    const answer = await call?.send(api, { signal });
    if (typeof answer === 'string' && answer.startsWith('UPID:')) await tasks.wait(answer, { signal });
    return answer;
  };
  const context: MakeContext = {
    ...place,
    version: { major: Number(version[0]), minor: Number(version[2]) },
    storageOf: (pool) => pool || 'shared',
    diskFormat: () => 'qcow2',
    image,
    mark,
  };
  return { server, api, ask, context };
}

type World = Awaited<ReturnType<typeof open>>;
const calls = qemuKind.calls(place);
const configOf = async ({ ask }: World, vmid = place.vmid): Promise<Configuration> =>
  (await ask(qemuKind.calls({ ...place, vmid }).config())) as Configuration;

/** As the backend does it: what the call could not say, until nothing is left to say. */
async function settle(world: World, wanted: InstanceSpec, vmid = place.vmid): Promise<Configuration> {
  const context = { ...world.context, vmid };
  const its = qemuKind.calls({ ...place, vmid });
  for (const _ of [1, 2, 3]) {
    const config = await configOf(world, vmid);
    const { set, unset, grow, refused } = qemuKind.changes(wanted, config, context);
    expect(refused).toEqual([]);
    if (Object.keys(set).length + unset.length + grow.length === 0) return config;
    if (Object.keys(set).length + unset.length > 0)
      await world.ask(its.configure({ set, unset }, String(config['digest'])));
    for (const { disk, sizeGib } of grow) await world.ask(its.grow(disk, sizeGib));
  }
  throw new Error('there is no end of changes');
}

const start: ExecStart = {
  instance: 'web-x7k2p',
  command: ['hostname'],
  stdin: false,
  tty: false,
  size: { columns: 80, rows: 24 },
  env: {},
  user: '',
  workingDir: '',
  project: 'default',
};

async function run(
  api: Pick<ClusterApi, 'call'>,
  parts: Partial<ExecStart>,
  input?: string,
): Promise<string> {
  const tools = { api, clock: systemClock, place: () => place, execId: 'x1' };
  const channel = await agentExec(tools, { ...start, ...parts, stdin: input !== undefined }, signal);
  if (input !== undefined) {
    await channel.send({ kind: 'stdin', data: Buffer.from(input) });
    await channel.send({ kind: 'stdin-end' });
  }
  const seen: string[] = [];
  for await (const each of channel.output) {
    if (each.kind === 'stdout' || each.kind === 'stderr') seen.push(Buffer.from(each.data).toString());
    if (each.kind === 'exit') seen.push(`exit ${each.exit.code}`);
  }
  return seen.join('|');
}

const guestIn = (server: ProxmoxServer) => server.world.guests.get(place.vmid);

describe.each(['8.4.21', '9.2.11'] as const)('a virtual machine on %s', (version) => {
  it('is made of a cloud image as its spec says, and needs no change when it is made again', async () => {
    const world = await open(version);
    await world.ask(qemuKind.create(spec, world.context));
    const config = await settle(world, spec);
    expect(config).toMatchObject({
      name: 'web-x7k2p',
      scsi0: expect.stringMatching(/^shared:7200\/vm-7200-disk-0\.qcow2,.*size=5G/) as string,
      scsi1: expect.stringMatching(/serial=data.*size=2G|size=2G.*serial=data/) as string,
      net0: expect.stringContaining('virtio=02:A1:B2:C3:D4:E5') as string,
      ciuser: 'admin',
      tags: expect.stringMatching(/blue;drover-0123456789ab;web|blue;web;drover-0123456789ab/) as string,
    });
    expect(qemuKind.changes(spec, await configOf(world), world.context)).toEqual({
      set: {},
      unset: [],
      grow: [],
      refused: [],
    });
  });

  it('runs, runs commands, stands still, goes on and ends', async () => {
    const world = await open(version);
    await world.ask(qemuKind.create(spec, world.context));
    await settle(world, spec);
    await expect(run(world.api, {})).rejects.toMatchObject({ kind: 'failed-precondition' });
    await world.ask(calls.start());
    await until(
      () =>
        run(world.api, {}).then(
          () => true,
          () => false,
        ),
      { what: 'the guest agent' },
    );
    expect(await run(world.api, { command: ['cat'] }, 'größe\n')).toBe('größe\n|exit 0');
    expect(await run(world.api, { command: ['sh', '-c', 'echo a; echo b 1>&2; exit 7'] })).toBe(
      'a\n|b\n|exit 7',
    );
    guestIn(world.server)?.inside.addresses.push('10.99.86.120');
    expect(qemuKind.seenAddresses(await world.ask(calls.addresses()))).toContain('10.99.86.120');
    await world.ask(calls.pause());
    expect(await world.ask(calls.status())).toMatchObject({ qmpstatus: 'paused' });
    await world.ask(calls.resume());
    expect(await world.ask(calls.status())).toMatchObject({ qmpstatus: 'running' });
    await world.ask(calls.shutdown(30, true));
    expect(await world.ask(calls.status())).toMatchObject({ status: 'stopped' });
    await world.ask(calls.destroy());
    await expect(configOf(world)).rejects.toMatchObject({ kind: 'not-found' });
  });

  it('tells a person how to get an answer from inside', async () => {
    const world = await open(version);
    const silent = { ...spec, vm: { ...plainVmOptions, agent: false } };
    await world.ask(qemuKind.create(silent, world.context));
    await world.ask(calls.start());
    await expect(run(world.api, {})).rejects.toMatchObject({
      kind: 'failed-precondition',
      nextStep: expect.stringContaining('agent: false') as string,
    });
  });

  it('takes changes while it runs, at once or at its next start', async () => {
    const world = await open(version);
    await world.ask(qemuKind.create(spec, world.context));
    await settle(world, spec);
    await world.ask(calls.start());
    const wanted: InstanceSpec = {
      ...spec,
      resources: { ...spec.resources, cpuMillicores: 1200, memoryMib: 512, diskMib: 6000 },
      volumes: [
        { ...claim, sizeMib: 3000 },
        { ...claim, name: 'logs', mountPath: '/logs' },
      ],
      cluster: plainClusterOptions,
    };
    const config = await settle(world, wanted);
    expect(config).toMatchObject({ cpulimit: expect.anything() as unknown, memory: '512' });
    const pending = (await world.ask(calls.pending())) as readonly Record<string, unknown>[];
    const waiting = pending
      .filter((each) => 'pending' in each || 'delete' in each)
      .map((each) => each['key']);
    expect(waiting).toContain('memory');
    expect(waiting).not.toContain('cpulimit');
    expect(qemuKind.limits(config).limits).toMatchObject({ memoryMib: 512, diskMib: 6144 });
  });

  it('is a copy of a template, linked or in full, and becomes what its spec says', async () => {
    const world = await open(version);
    const template = { ...spec, volumes: [], vm: plainVmOptions, cluster: plainClusterOptions };
    const assigned = { ...emptyAssignment, attachments: [] };
    await world.ask(qemuKind.create({ ...template, network: 'none', assigned }, world.context));
    await world.api.call('POST /nodes/{node}/qemu/{vmid}/template', place, { signal });
    await until(async () => (await configOf(world))['template'] === 1, { what: 'a template' });
    const source = { kind: 'guest', ...place, isAlone: false, storages: [] } as const;
    for (const [clone, vmid] of [
      ['linked', 7201],
      ['full', 7202],
    ] as const) {
      const wanted = { ...spec, vm: { ...plainVmOptions, ...spec.vm, clone } };
      await world.ask(qemuKind.create(wanted, { ...world.context, vmid, image: source }));
      const config = await settle(world, wanted, vmid);
      const base = expect.stringContaining('base-7200') as string;
      if (clone === 'linked') expect(config['scsi0']).toEqual(base);
      else expect(config['scsi0']).not.toEqual(base);
      expect(config).toMatchObject({ name: 'web-x7k2p', ciuser: 'admin' });
      expect(String(config['description'])).toContain(mark.line);
    }
  });

  it('takes snapshots and goes back to them', async () => {
    const world = await open(version);
    await world.ask(qemuKind.create(spec, world.context));
    await settle(world, spec);
    await world.ask(calls.takeSnapshot('first', 'before'));
    await settle(world, { ...spec, resources: { ...spec.resources, memoryMib: 512 } });
    await world.ask(calls.rollback('first', true));
    expect(await configOf(world)).toMatchObject({ memory: '256' });
    expect(await world.ask(calls.snapshots())).toContainEqual(
      expect.objectContaining({ name: 'first', description: expect.stringMatching(/^before/) as string }),
    );
    await until(async () => ((await world.ask(calls.status())) as Configuration)['status'] === 'running', {
      what: 'running again',
    });
  });

  it('is told to be emulated where there is no virtualisation', async () => {
    const world = await open(version, [
      { name: 'pve1', kvm: false },
      { name: 'pve2', kvm: false },
    ]);
    await world.ask(qemuKind.create(spec, world.context));
    await expect(world.ask(calls.start())).rejects.toMatchObject({
      kind: 'failed-precondition',
      nextStep: expect.stringContaining('kvm: false') as string,
    });
    await settle(world, { ...spec, vm: { ...plainVmOptions, ...spec.vm, kvm: false } });
    await world.ask(calls.start());
    expect(await world.ask(calls.status())).toMatchObject({ status: 'running' });
  });

  it.each([true, false])('moves to another node, running: %s, where nothing keeps it', async (isRunning) => {
    const world = await open(version);
    await world.ask(qemuKind.create(spec, world.context));
    await settle(world, spec);
    if (isRunning) await world.ask(calls.start());
    const answer = await world.ask(calls.migratePreconditions('pve2'));
    expect(migrationObstacles(answer, 'pve2')).toEqual([]);
    await world.ask(calls.migrate('pve2', isRunning));
    const there = qemuKind.calls({ ...place, node: 'pve2' });
    expect(await world.ask(there.status())).toMatchObject({ status: isRunning ? 'running' : 'stopped' });
    await expect(configOf(world)).rejects.toMatchObject({ kind: 'not-found' });
  });
});
