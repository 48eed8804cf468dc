import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '#shared/clock.ts';
import type {
  Assignment,
  Instance,
  InstanceSpec,
  NetworkUse,
  NodeName,
  PublishedPort,
} from '#shared/model.ts';
import { networkDocument, subnet } from '../../test/fakes/networks.ts';
import { instanceRecord, workloadRecord } from '../../test/fakes/records.ts';
import { assignAddresses, freeAddresses, freeLeft, leavingOf } from './assign-addresses.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import { putNetwork } from './put-network.ts';
import { scratchTransaction } from './scratch.ts';
import type { Transaction } from './store.ts';

const node = 'h1' as NodeName;
const use = (network: string, ...addresses: string[]): NetworkUse => ({ network, addresses });
const port = (hostPort: number, changes: Partial<PublishedPort> = {}): PublishedPort => ({
  hostPort,
  guestPort: 80,
  protocol: 'tcp',
  hostAddress: '',
  ...changes,
});

/** A transaction with networks that is never committed. */
async function begin(...documents: ReturnType<typeof networkDocument>[]): Promise<Transaction> {
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  const tx = scratchTransaction(store.snapshot());
  for (const document of documents)
    putNetwork(tx, { document, networkId: `id-${document.name}`, caller: 'test' }, 1);
  return tx;
}

const web = workloadRecord();
const instanceWith = (place: number, spec: Partial<InstanceSpec>): Instance => {
  const record = instanceRecord(web, place, { node: undefined });
  return { ...record, spec: { ...record.spec, network: 'bridged', ...spec } };
};

/** What binding does with it. */
function bind(tx: Transaction, instance: Instance, on = node): Pick<Assignment, 'attachments' | 'ports'> {
  const assigned = assignAddresses(tx, instance, on);
  const spec = { ...instance.spec, assigned: { ...instance.spec.assigned, ...assigned } };
  const leaving = leavingOf(instance, assigned);
  tx.put('instance', instance.metadata.id, { ...instance, node: on, spec, leaving });
  return assigned;
}
const bindWith = (tx: Transaction, place: number, spec: Partial<InstanceSpec>, on = node) =>
  bind(tx, instanceWith(place, spec), on);
const addressesOf = ({ attachments }: Pick<Assignment, 'attachments'>): string[] =>
  attachments.flatMap(({ addresses }) => addresses);
const bound = (tx: Transaction, place: number): Instance =>
  tx.get('instance', instanceRecord(web, place).metadata.id) as Instance;

describe('what an instance gets', () => {
  it('is a whole interface for each network', async () => {
    const dns = { servers: ['10.20.0.1'], search: ['lan.example'], options: [] };
    const routes = [{ destination: '192.168.0.0/16', via: '10.30.0.9' }];
    const outside = { bridge: 'vmbr0', vlan: 7, mtu: 9000, masquerade: false, nodePrivate: false };
    const tx = await begin(
      networkDocument('lan', { subnets: [subnet('10.20.0.0/24'), subnet('fd00:20::/64')], dns }),
      networkDocument('storage', { ...outside, subnets: [subnet('10.30.0.0/16')], routes }),
      networkDocument('wire', { bridge: 'vmbr1', subnets: [] }),
      networkDocument('own', { nodePrivate: true, subnets: [subnet('10.88.0.0/16')] }),
    );
    const { attachments } = bindWith(tx, 1, {
      networks: ['lan', 'storage', 'wire', 'own'].map((each) => use(each)),
    });
    const plain = { mtu: 0, vlan: 0, masquerade: false, nodePrivateSubnet: '', routes: [], gateways: [] };
    const mac = expect.stringMatching(/^02(:[0-9a-f]{2}){5}$/) as string;
    expect(attachments).toEqual([
      {
        ...plain,
        network: 'lan',
        bridge: 'drv-lan',
        managedBridge: true,
        interface: 'eth0',
        mac,
        addresses: ['10.20.0.2/24', 'fd00:20::2/64'],
        gateways: ['10.20.0.1', 'fd00:20::1'],
        dns,
      },
      {
        ...plain,
        network: 'storage',
        bridge: 'vmbr0',
        managedBridge: false,
        interface: 'eth1',
        mac,
        addresses: ['10.30.0.1/16'],
        mtu: 9000,
        vlan: 7,
        routes,
      },
      {
        ...plain,
        network: 'wire',
        bridge: 'vmbr1',
        managedBridge: false,
        interface: 'eth2',
        mac,
        addresses: [],
      },
      {
        ...plain,
        network: 'own',
        bridge: 'drv-own',
        managedBridge: true,
        interface: 'eth3',
        mac,
        addresses: [],
        gateways: ['10.88.0.1'],
        masquerade: true,
        nodePrivateSubnet: '10.88.0.0/16',
      },
    ]);
    expect(new Set(attachments.map((each) => each.mac)).size).toBe(4);
  });

  it('is the lowest that is free, and again once it was given back', async () => {
    const tx = await begin(networkDocument());
    const networks = [use('lan')];
    expect([1, 2, 3].flatMap((place) => addressesOf(bindWith(tx, place, { networks })))).toEqual([
      '10.20.0.2/24',
      '10.20.0.3/24',
      '10.20.0.4/24',
    ]);
    freeAddresses(tx, bound(tx, 2));
    freeAddresses(tx, bound(tx, 2));
    expect(addressesOf(bindWith(tx, 4, { networks }))).toEqual(['10.20.0.3/24']);
  });

  it('is the first of those that it names, also outside what is given out', async () => {
    const tx = await begin(
      networkDocument('lan', { subnets: [subnet('10.20.0.0/24', { first: '10.20.0.100' })] }),
    );
    const networks = [use('lan', '10.20.0.9', '10.20.0.7')];
    expect([1, 2].flatMap((place) => addressesOf(bindWith(tx, place, { networks })))).toEqual([
      '10.20.0.9/24',
      '10.20.0.7/24',
    ]);
    expect(() => bindWith(tx, 3, { networks })).toThrow(
      /every address that it names in network lan is held: 10\.20\.0\.9 is web-00001's, 10\.20\.0\.7 is web-00002's/,
    );
  });

  it.each<[string, NetworkUse, RegExp, string]>([
    [
      'a network that there is not',
      use('lna'),
      /is to be in network lna, which there is not/,
      'failed-precondition',
    ],
    ['an address outside', use('lan', '10.21.0.5'), /10\.21\.0\.5 lies in no subnet/, 'failed-precondition'],
    ['the gateway', use('lan', '10.20.0.1'), /10\.20\.0\.1 is the gateway/, 'failed-precondition'],
    ['the broadcast address', use('lan', '10.20.0.255'), /is the broadcast address/, 'failed-precondition'],
    ['a choice where nodes choose', use('own', '10.88.0.5'), /every node gives out/, 'failed-precondition'],
    [
      'one that is full',
      use('tiny'),
      /network tiny is full: 1 of 1 addresses are held, 10\.9\.0\.2/,
      'resource-exhausted',
    ],
  ])('is refused, and nothing written: %s', async (_title, wanted, message, kind) => {
    const tx = await begin(
      networkDocument(),
      networkDocument('own', { nodePrivate: true, subnets: [subnet('10.88.0.0/16')] }),
      networkDocument('tiny', { subnets: [subnet('10.9.0.0/30')] }),
    );
    bindWith(tx, 1, { networks: [use('tiny')] });
    const before = tx.list('address');
    const refused = (): unknown =>
      bindWith(tx, 2, { networks: [use('lan'), wanted].slice(wanted.network === 'lan' ? 1 : 0) });
    expect(refused).toThrow(message);
    expect(refused).toThrow(expect.objectContaining({ kind }) as Error);
    expect(tx.list('address')).toEqual(before);
  });

  it('has its hardware address from its id, and another where that is taken', async () => {
    const [one, other] = [await begin(networkDocument()), await begin(networkDocument())];
    const macOf = (tx: Transaction): string | undefined =>
      bindWith(tx, 1, { networks: [use('lan')] }).attachments[0]?.mac;
    const first = macOf(one) ?? '';
    const key = `mac/${first.replaceAll(':', '')}`;
    const taken = {
      key,
      network: 'lan',
      address: first,
      instanceId: bound(one, 1).metadata.id,
      instance: 'x',
    };
    other.put('address', key, { ...taken, instanceId: 'else' } as never);
    expect(macOf(other)).not.toBe(first);
  });
});

it('keeps the hardware address that its guest has already, unless another has it, or it is none', async () => {
  const tx = await begin(networkDocument(), networkDocument('back', { subnets: [subnet('10.30.0.0/24')] }));
  const macs = ['bc:24:11:00:00:01', 'no address'];
  const networks = [use('lan'), use('back')];
  const drawn = expect.stringMatching(/^02:/) as string;
  for (const [place, expected] of [
    [1, [macs[0], drawn]],
    [2, [drawn, drawn]],
  ] as const) {
    const { attachments } = assignAddresses(tx, instanceWith(place, { networks }), node, macs);
    expect(attachments.map(({ mac }) => mac)).toEqual(expected);
  }
});

describe('another spec for the same instance', () => {
  it('keeps what it still asks for, and gives back the rest once its guest of before is gone', async () => {
    const tx = await begin(networkDocument(), networkDocument('back', { subnets: [subnet('10.30.0.0/24')] }));
    const first = bindWith(tx, 1, { networks: [use('lan')], ports: [port(0), port(443)] });
    bindWith(tx, 2, { networks: [use('lan')], ports: [] });
    const record = bound(tx, 1);
    const changed = { ...record.spec, networks: [use('back'), use('lan')], ports: [port(0)] };
    const second = bind(tx, { ...record, spec: changed });
    expect(second.attachments.map((each) => [each.interface, each.network, each.addresses])).toEqual([
      ['eth0', 'back', ['10.30.0.2/24']],
      ['eth1', 'lan', ['10.20.0.2/24']],
    ]);
    expect(second.attachments[1]?.mac).toBe(first.attachments[0]?.mac);
    expect(second.ports).toEqual([port(30_000)]);
    bind(tx, { ...bound(tx, 1), spec: { ...bound(tx, 1).spec, networks: [use('back')] } });
    expect(tx.heldAddresses('lan', 4).map(({ instance }) => instance)).toEqual(['web-00001', 'web-00002']);
    for (const _ of [1, 2]) freeLeft(tx, bound(tx, 1));
    expect(tx.heldAddresses('lan', 4).map(({ instance }) => instance)).toEqual(['web-00002']);
    expect(tx.list('address')).toHaveLength(4);
  });

  it('moves to an address that it names', async () => {
    const tx = await begin(networkDocument());
    bindWith(tx, 1, { networks: [use('lan')] });
    const record = bound(tx, 1);
    const moved = bind(tx, { ...record, spec: { ...record.spec, networks: [use('lan', '10.20.0.77')] } });
    expect(addressesOf(moved)).toEqual(['10.20.0.77/24']);
    expect(addressesOf(bindWith(tx, 2, { networks: [use('lan')] }))).toEqual(['10.20.0.3/24']);
    freeAddresses(tx, bound(tx, 2));
    freeLeft(tx, bound(tx, 1));
    expect(tx.heldAddresses('lan', 4).map(({ address }) => address)).toEqual(['10.20.0.77']);
  });
});

describe('host ports', () => {
  it('are the lowest that are open on the node, beside those that are named', async () => {
    const tx = await begin(networkDocument());
    const networks = [use('lan')];
    expect(
      bindWith(tx, 1, { networks, ports: [port(0), port(30_000), port(0, { protocol: 'udp' })] }).ports,
    ).toEqual([port(30_001), port(30_000), port(30_000, { protocol: 'udp' })]);
    expect(bindWith(tx, 2, { networks, ports: [port(0)] }).ports).toEqual([port(30_002)]);
    expect(bindWith(tx, 3, { networks, ports: [port(0)] }, 'h2' as NodeName).ports).toEqual([port(30_000)]);
    expect(() => bindWith(tx, 4, { networks, ports: [port(30_000)] })).toThrow(
      "host port 30000/tcp of h1 is web-00001's",
    );
  });

  it('run out', async () => {
    const tx = await begin(networkDocument('lan', { subnets: [subnet('10.20.0.0/16')] }));
    const networks = [use('lan')];
    const all = Array.from({ length: 2768 }, (_, place) => port(30_000 + place));
    const record = instanceRecord(web, 1);
    const spec = { ...record.spec, assigned: { attachments: [], volumes: [], ports: all } };
    tx.put('instance', record.metadata.id, { ...record, node, spec });
    expect(() => bindWith(tx, 2, { networks, ports: [port(0)] })).toThrow(
      /no host port from 30000 to 32767 is left/,
    );
  });
});

/** One random thing after another; what holds then. */
describe('whatever is bound, changed and forgotten', () => {
  interface Step {
    readonly kind: 'bind' | 'update' | 'let-go' | 'forget';
    readonly place: number;
    readonly networks: readonly NetworkUse[];
    readonly ports: readonly PublishedPort[];
  }
  const fixed = fc.subarray(['10.20.0.2', '10.20.0.3', '10.20.0.5', 'fd00:20::7', 'fd00:20::2']);
  const networks = fc
    .tuple(fc.option(fixed), fc.boolean(), fc.boolean())
    .map(([lan, tiny, own]) => [
      ...(lan === null ? [] : [use('lan', ...lan)]),
      ...(tiny ? [use('tiny')] : []),
      ...(own ? [use('own')] : []),
    ]);
  const ports = fc.subarray([0, 30_000, 30_001, 8080]).map((list) => list.map((hostPort) => port(hostPort)));
  const step: fc.Arbitrary<Step> = fc.record({
    kind: fc.constantFrom('bind', 'bind', 'update', 'let-go', 'forget'),
    place: fc.integer({ min: 1, max: 12 }),
    networks,
    ports,
  });

  function run(tx: Transaction, { kind, place, ...asked }: Step): void {
    const there = tx.get('instance', instanceRecord(web, place).metadata.id);
    if (kind === 'forget' && there !== undefined) {
      freeAddresses(tx, there);
      tx.delete('instance', there.metadata.id);
    }
    if (kind === 'bind' && there === undefined) bind(tx, instanceWith(place, asked));
    if (kind === 'update' && there !== undefined) bind(tx, { ...there, spec: { ...there.spec, ...asked } });
    if (kind === 'let-go' && there !== undefined) freeLeft(tx, there);
  }

  it('nothing is held twice, and the records are what the instances have', async () => {
    const documents = [
      networkDocument('lan', { subnets: [subnet('10.20.0.0/29'), subnet('fd00:20::/64')] }),
      networkDocument('tiny', { subnets: [subnet('10.9.0.0/30')] }),
      networkDocument('own', { nodePrivate: true, subnets: [subnet('10.88.0.0/16')] }),
    ];
    const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const tx = await begin(...documents);
      for (const each of steps) {
        const before = tx.list('address');
        try {
          run(tx, each);
        } catch (error) {
          expect(error).toMatchObject({
            kind: expect.stringMatching(/resource-exhausted|failed-precondition/),
          });
          expect(tx.list('address')).toEqual(before);
        }
        const instances = tx.list('instance');
        const had = new Set(
          instances.flatMap(({ metadata, spec, leaving = [] }) =>
            [...spec.assigned.attachments, ...leaving].flatMap(({ network, mac, addresses }) =>
              [mac, ...addresses.map((text) => text.split('/')[0])].map(
                (one) => `${network} ${one} ${metadata.id}`,
              ),
            ),
          ),
        );
        const held = tx
          .list('address')
          .map(({ network, address, instanceId }) => `${network} ${address} ${instanceId}`);
        expect(held.toSorted()).toEqual([...had].toSorted());
        expect(new Set(held.map((one) => one.split(' ')[1])).size).toBe(held.length);
        const numbers = instances.flatMap(({ spec }) => spec.assigned.ports.map(({ hostPort }) => hostPort));
        expect(new Set(numbers).size).toBe(numbers.length);
        expect(numbers).not.toContain(0);
      }
    });
    await fc.assert(property, { numRuns: 60 });
  });
});

describe('two that are bound at once', () => {
  it('have addresses of their own, also through two stores on one journal', async () => {
    const journal = { ...createMemoryJournal(), isExclusive: false };
    const first = await openStore({ journal, clock: systemClock });
    const put = { document: networkDocument(), networkId: 'id-lan', caller: 'test' };
    await first.transact((tx) => putNetwork(tx, put, 1));
    const stores = [first, await openStore({ journal, clock: systemClock })];
    const places = Array.from({ length: 8 }, (_, place) => place);
    const got = await Promise.all(
      places.map(async (place) => {
        const bound = await stores[place % 2]?.transact((tx) =>
          bindWith(tx, place, { networks: [use('lan')] }, `h${place}` as NodeName),
        );
        return bound === undefined ? [] : addressesOf(bound.result);
      }),
    );
    expect(got.flat().toSorted()).toEqual(places.map((place) => `10.20.0.${place + 2}/24`));
  });
});
