/** What real clusters told of their virtual machines, and what their schemas take. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Attachment, InstanceSpec, VmOptions } from '#shared/model.ts';
import { plainClusterOptions } from '#shared/wire/cluster-options.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { plainVmOptions, vmChoices } from '#shared/wire/vm-options.ts';
import { bridged, bridgedNetwork } from '../../../../test/fakes/cluster-networks.ts';
import { newSpec } from '../../../../test/conformance/backend.ts';
import { checkParameters } from '../../../../test/fakes/proxmox/check-parameters.ts';
import { factsFor } from '../schema/facts.ts';
import type { Configuration, GuestCall, MakeContext, SpecContext } from './guest-kind.ts';
import { parseKeys } from './qemu-cloud-init.ts';
import { qemuKind } from './qemu.ts';

const versions = ['8.4.21', '9.2.11'] as const;
const golden = path.resolve(import.meta.dirname, '../../../../test/golden');

interface Exchange {
  readonly step: string;
  readonly request: { readonly method: string; readonly path: string; readonly params: unknown };
  readonly response: { readonly status: number; readonly body: { readonly data?: unknown } } | null;
}

const exchangesOf = (version: string, flow: string): readonly Exchange[] =>
  (
    JSON.parse(readFileSync(path.join(golden, `proxmox-${version}`, `${flow}.json`), 'utf8')) as {
      exchanges: Exchange[];
    }
  ).exchanges;

const configs = versions.flatMap((version) =>
  globSync('*.json', { cwd: path.join(golden, `proxmox-${version}`) })
    .toSorted()
    .map((file) => file.slice(0, -'.json'.length))
    .flatMap((flow) =>
      exchangesOf(version, flow)
        .filter(({ request }) => request.method === 'GET' && /\/qemu\/\d+\/config$/.test(request.path))
        .filter(({ response }) => response?.status === 200)
        .map(({ step, response }) => ({ version, flow, step, config: response?.body.data as Configuration })),
    ),
);

const context = (version: string): SpecContext => ({
  node: 'pve1',
  vmid: 7200,
  version: { major: Number(version.split('.')[0]), minor: Number(version.split('.')[1]) },
  storageOf: (pool) => pool || 'local',
  diskFormat: () => 'qcow2',
});

const gateway = '10.99.86.1';
const lan = bridgedNetwork([{ cidr: '10.99.86.0/24', gateway, first: '10.99.86.100', last: '10.99.86.200' }]);
const wild = bridgedNetwork([], { name: 'wild' });

const attachmentOf = (addresses: readonly string[], place: number): Attachment =>
  bridged({
    interface: `eth${place}`,
    mac: '02:00:00:00:00:01',
    addresses: addresses.map((address) => `${address}/24`),
    gateways: addresses.length === 0 ? [] : [gateway],
  });

describe('recorded virtual machines', () => {
  it('are many', () => {
    expect(configs.length).toBeGreaterThan(30);
  });

  it.each(configs)('$version $flow, $step: become instances without a change', ({ version, config }) => {
    const found = qemuKind.spec(config, { ...context(version), networks: [lan, wild] });
    const isTemplate = config['template'] === 1;
    const isLocked = config['lock'] !== undefined;
    expect(found.obstacles).toEqual(isTemplate || isLocked ? [expect.any(String)] : []);
    const { replicas: _, placement: __, update: ___, ...alike } = found.spec;
    const attachments = found.spec.networks.map(({ addresses }, place) => attachmentOf(addresses, place));
    const instance: InstanceSpec = {
      ...alike,
      displayName: 'x',
      workload: 'web',
      assigned: { ...emptyAssignment, attachments },
    };
    expect(qemuKind.cannot(instance, context(version).version)).toEqual([]);
    expect(qemuKind.changes(instance, config, context(version))).toEqual({
      set: {},
      unset: [],
      grow: [],
      refused: [],
    });
    expect(qemuKind.limits(config).limits).toMatchObject({ cpuMillicores: 1000 });
    expect(qemuKind.limits(config).limits.memoryMib).toBeGreaterThanOrEqual(128);
  });

  it.each(versions)('keys for cloud-init are read as %s tells them', (version) => {
    const two = exchangesOf(version, 'cloud-init').find(({ step }) => step === 'config with two keys');
    const keys = parseKeys((two?.response?.body.data as Configuration | undefined)?.['sshkeys']);
    expect(keys.map((key) => key.split(' ').at(-1))).toEqual([
      'user+test@example.test',
      'second@example.test',
    ]);
  });
});

const full: InstanceSpec = newSpec({
  runtime: 'proxmox-vm',
  displayName: 'web-x7k2p',
  command: [],
  resources: { cpuMillicores: 3500, memoryMib: 1024, diskMib: 5000, pids: 4096 },
  network: 'bridged',
  dns: { servers: ['10.99.86.1', 'fd00::1'], search: ['example.test', 'b.test'], options: [] },
  startOrder: 3,
  volumes: [{ name: 'data', mountPath: '/d', sizeMib: 1500, pool: 'btr', readOnly: true, keep: false }],
  vm: {
    ...plainVmOptions,
    cpuType: 'x86-64-v2-AES',
    sockets: 2,
    balloonMib: 256,
    numa: true,
    kvm: false,
    bios: 'ovmf',
    machine: 'pc-q35-9.0',
    tpm: true,
    serial: true,
    display: 'virtio-gl',
    cloudInit: { user: 'admin', sshKeys: [`ssh-rsa ${'A'.repeat(300)}== user+x@example.test`] },
    disk: { bus: 'scsi', cache: 'none', discard: true, ssd: true, iothread: true },
  },
  cluster: { ...plainClusterOptions, pool: 'team', tags: ['blue', 'web'], protection: true },
  assigned: {
    ...emptyAssignment,
    attachments: [
      {
        ...attachmentOf(['10.99.86.120'], 0),
        addresses: ['10.99.86.120/24', 'fd00::5/64'],
        gateways: [gateway, 'fd00::1'],
        vlan: 12,
        mtu: 1400,
      },
      attachmentOf([], 1),
    ],
  },
});
const mark = { tag: 'drover-0123456789ab', line: 'drover:instance=x fleet=y' };
const images: readonly MakeContext['image'][] = [
  { kind: 'import', volid: 'local:import/noble.qcow2' },
  { kind: 'iso', volid: 'local:iso/alpine.iso' },
  { kind: 'guest', node: 'pve2', vmid: 9000, isAlone: false, storages: [] },
];

/** As the transport writes it. */
const written = (parameters: GuestCall['parameters']): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(parameters)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, typeof value === 'boolean' ? Number(value) : value]),
  );

describe.each(versions)('the schema of %s', (version) => {
  const facts = factsFor(version);
  const faultsOf = ({ method, parameters }: GuestCall): unknown => {
    const [verb = '', path_ = ''] = method.split(' ');
    return checkParameters(facts, verb, path_, written(parameters));
  };

  it.each(images)('takes what a virtual machine is made with: $kind', (image) => {
    const linked = { ...full, rootPool: 'btr', vm: { ...plainVmOptions, clone: 'linked' as const } };
    for (const spec of [full, linked, { ...full, rootPool: 'btr' }])
      expect(faultsOf(qemuKind.create(spec, { ...context(version), image, mark }))).toBeUndefined();
  });

  it('takes every change of it', () => {
    const config = { scsi0: 'local:7200/a.qcow2,size=2G', net0: 'virtio=02:00:00:00:00:01,bridge=vmbr9' };
    const changes = qemuKind.changes(full, config, context(version));
    const calls = qemuKind.calls({ node: 'pve1', vmid: 7200 });
    expect(faultsOf(calls.configure(changes, 'd'.repeat(40)))).toBeUndefined();
    for (const { disk, sizeGib } of changes.grow) expect(faultsOf(calls.grow(disk, sizeGib))).toBeUndefined();
    const bare = qemuKind.changes(
      { ...full, vm: plainVmOptions },
      { ...config, cpulimit: 1 },
      context(version),
    );
    expect(faultsOf(calls.configure(bare, ''))).toBeUndefined();
  });

  it.each<[string, readonly VmOptions[]]>([
    ['a display', vmChoices.display.map((display) => ({ ...plainVmOptions, display }))],
    ['a system', vmChoices.osType.map((osType) => ({ ...plainVmOptions, osType }))],
    ['firmware', vmChoices.bios.map((bios) => ({ ...plainVmOptions, bios }))],
    [
      'a disk',
      vmChoices.bus.flatMap((bus) =>
        vmChoices.cache.map((cache) => ({
          ...plainVmOptions,
          disk: { ...plainVmOptions.disk, bus, cache, discard: true },
        })),
      ),
    ],
  ])('takes %s of every kind that a spec can name', (_name, all) => {
    const [image = { kind: 'iso', volid: 'local:iso/a.iso' }] = images;
    for (const vm of all)
      expect(
        faultsOf(qemuKind.create({ ...full, vm }, { ...context(version), image, mark })),
      ).toBeUndefined();
  });

  it('takes every call about it', () => {
    const calls = qemuKind.calls({ node: 'pve1', vmid: 7200 });
    const all = [
      calls.status(),
      calls.config(),
      calls.pending(),
      calls.start(),
      calls.shutdown(30, true),
      calls.stop(false),
      calls.pause(),
      calls.resume(),
      calls.destroy(),
      calls.snapshots(),
      calls.addresses(),
      calls.takeSnapshot('first', 'x'),
      calls.rollback('first', true),
      calls.removeSnapshot('first'),
      calls.migrate('pve2', true),
      calls.migrate('pve2', false),
      calls.migratePreconditions('pve2'),
    ];
    for (const call of all) expect(call === undefined ? undefined : faultsOf(call)).toBeUndefined();
    expect(calls.grow('scsi0', 4).parameters).toMatchObject({ disk: 'scsi0', size: '4G' });
  });
});
