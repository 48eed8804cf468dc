import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '#shared/log.ts';
import type { Attachment, InstanceId } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { createGate } from '../host/gate.ts';
import { createBridges, createIpBatch, readInterface, sysNet } from './bridges.ts';
import { firewallConfig, portmapConfig } from './cni-config.ts';
import { createPlugins } from './cni-plugin.ts';
import { ensureForwarding } from './forwarding.ts';
import { createGuestInterfaces, guestNetnsOf } from './guest-interfaces.ts';
import type { ConfiguredInterface, GuestNetwork, GuestNetworks } from './guest-network.ts';
import { createHostRules } from './host-rules.ts';
import { createNetworkFacts } from './network-facts.ts';
import { checkInstanceId } from './network-id.ts';
import { createNetworkRecords, type NetworkRecord } from './network-records.ts';
import { decideAddresses } from './node-private.ts';
import { checkPortsFree } from './taken-ports.ts';

export interface GuestNetworksOptions {
  /** Absolute; all that is written is below `network`. */
  readonly stateDir: string;
  /** Of the agent: its first eight characters mark what is ours on the host. */
  readonly incarnation: string;
  readonly run: HostCommands['run'];
  readonly log: Log;
  /** Where the CNI plugins are; "/usr/lib/cni" where it is left out. */
  readonly pluginDir?: string;
  /** Whether guests are let through a host whose own rules forward nothing. */
  readonly firewall?: boolean;
}

const vethAlias = /^drover:[0-9a-f-]+:([0-9a-f-]{36})$/;

/**
 * Networks of guests through the plugins of the Container Network Interface: `bridge` for interfaces,
 * `portmap` for ports, `firewall` where it is asked for. Managed bridges and masquerading are our own,
 * because guests of drivers that make their interfaces themselves need them as well. What is to be made is
 * written down before.
 */
export function createGuestNetworks(options: GuestNetworksOptions): GuestNetworks {
  const { stateDir, incarnation, run, log, pluginDir = '/usr/lib/cni', firewall = false } = options;
  const tail = incarnation.slice(0, 8);
  const [name, mark] = [`drover-${tail}`, `drover:${tail}`];
  const ip = createIpBatch(run);
  const call = createPlugins({ run, pluginDir });
  const records = createNetworkRecords(path.join(stateDir, 'network'));
  const bridges = createBridges({ ip, mark, staged: `drvt${tail}` });
  const rules = createHostRules({ run, name });
  const interfaces = createGuestInterfaces({ ip, call, name, mark });
  /** What is decided between guests, and what guests share on the host. */
  const lane = createGate(1);
  const ruleLane = createGate(1);
  /** Ids in a call: a sweep whose list is older leaves them. */
  const busy = new Set<InstanceId>();
  let looked = false;

  const othersThan = async (id: InstanceId): Promise<NetworkRecord[]> =>
    (await records.all()).filter((one) => one.id !== id);

  async function exclusively<T>(id: InstanceId, work: () => Promise<T>): Promise<T> {
    checkInstanceId(id);
    busy.add(id);
    try {
      return await work();
    } finally {
      busy.delete(id);
    }
  }

  /** Decides, writes down, and makes the bridges: none goes as idle between its decision and its record. */
  const reserve = (network: GuestNetwork, guest: NetworkRecord['guest'], signal: AbortSignal) =>
    lane.pass(async () => {
      const { id, ports } = network;
      const [before, others] = [await records.get(id), await othersThan(id)];
      await checkPortsFree(ports, id, others);
      const taken = others.flatMap(({ attachments }) => attachments);
      const attachments = decideAddresses(network.attachments, before?.attachments ?? [], taken);
      const passing = firewall ? { firewall } : {};
      const wanted: NetworkRecord = { id, attachments, ports, guest, made: true, ...passing };
      const stands = isDeepStrictEqual(before, wanted) && (await interfaces.isConnected(wanted));
      if (!stands) {
        // What an earlier spec published would stay beside what this one does.
        if (before !== undefined && !isSameHostPart(before, wanted)) await unpublish(before, signal);
        await records.put({ ...wanted, made: false });
      }
      await bridges.ensure(attachments, signal);
      return { record: wanted, stands };
    });

  async function makeHostPart(record: NetworkRecord, signal: AbortSignal): Promise<void> {
    const { id, attachments, ports } = record;
    await ensureForwarding(familiesToForward(record));
    await ruleLane.pass(async () => {
      await rules.masquerade(
        (await records.all()).flatMap((one) => one.attachments),
        signal,
      );
      const target = targetOf(record);
      if (ports.length > 0) await call('ADD', 'portmap', portsOf(record), target, signal);
      if (!firewall) return;
      const config = firewallConfig(name, configured(attachments), target.netns);
      await call('ADD', 'firewall', config, target, signal);
      if (ports.length > 0) await rules.admit(id, attachments[0]?.addresses ?? [], signal);
    });
  }

  const portsOf = (record: NetworkRecord): object =>
    portmapConfig(name, configured(record.attachments), {
      ports: record.ports,
      netns: targetOf(record).netns,
    });

  const unpublish = (record: NetworkRecord, signal: AbortSignal): Promise<void> =>
    ruleLane.pass(async () => {
      const target = { ...targetOf(record), netns: '' };
      if (record.ports.length > 0) await call('DEL', 'portmap', portsOf(record), target, signal);
      if (!firewall && record.firewall !== true) return;
      if (record.ports.length > 0) await rules.admit(record.id, [], signal);
      await call('DEL', 'firewall', firewallConfig(name, configured(record.attachments), ''), target, signal);
    });

  /** Each step finds what the one before a crash left; the record goes last. */
  async function takeAway(record: NetworkRecord, signal: AbortSignal): Promise<void> {
    await unpublish(record, signal);
    await interfaces.disconnect(record, signal);
    await ruleLane.pass(async () => {
      const others = await othersThan(record.id);
      await rules.masquerade(
        others.flatMap((one) => one.attachments),
        signal,
      );
      if (record.ports.length > 0 && others.every(({ ports }) => ports.length === 0))
        await rules.removeIdleChains('portmap', signal);
      const isLast = others.every((one) => one.firewall !== true);
      if ((firewall || record.firewall === true) && isLast) await rules.removeIdleChains('firewall', signal);
    });
    await lane.pass(async () => {
      const others = await othersThan(record.id);
      const own = record.attachments.filter((one) => one.managedBridge).map((one) => one.bridge);
      await bridges.removeIdle(unusedOf(own, others), signal);
      await records.remove(record.id);
    });
  }

  /** Left by a life whose records are lost: found by the marks on the host itself. */
  async function sweepHost(wanted: ReadonlySet<InstanceId>, signal: AbortSignal): Promise<void> {
    const held = new Set((await records.all()).map(({ id }) => id));
    const isOrphan = (id: InstanceId): boolean => !wanted.has(id) && !held.has(id) && !busy.has(id);
    for (const host of await readdir(sysNet)) {
      const alias = (await readInterface(host, 'ifalias')) ?? '';
      const id = alias.startsWith(`${mark}:`) ? vethAlias.exec(alias)?.[1] : undefined;
      if (id !== undefined && isOrphan(id as InstanceId)) await ip([`link delete dev ${host}`], signal);
    }
    if (!looked) {
      const orphans = (await rules.listPublished(signal)).filter(isOrphan);
      for (const id of orphans) {
        log.warn({ event: 'network.orphan-removed', instanceId: id });
        const port = { hostPort: 1, guestPort: 1, protocol: 'tcp', hostAddress: '' } as const;
        await unpublish({ id, attachments: [], ports: [port], guest: undefined, made: false }, signal);
      }
      if (orphans.length > 0) await ruleLane.pass(() => rules.removeIdleChains('portmap', signal));
      looked = true;
    }
    await ruleLane.pass(async () =>
      rules.masquerade(
        (await records.all()).flatMap((one) => one.attachments),
        signal,
      ),
    );
    await lane.pass(async () =>
      bridges.removeIdle(unusedOf(await bridges.listOwn(), await records.all()), signal),
    );
  }

  return {
    fingerprint: createNetworkFacts({ run, ip, pluginDir, probe: `drvp${tail}` }),
    prepare: (network, signal) =>
      exclusively(network.id, async () => {
        const guest = (await records.get(network.id))?.guest;
        return (await reserve(network, guest, signal)).record.attachments;
      }),
    attach: (network, pid, signal) =>
      exclusively(network.id, async () => {
        const guest = pid === undefined ? undefined : { pid, netns: await guestNetnsOf(pid, network.id) };
        const { record, stands } = await reserve(network, guest, signal);
        await interfaces.connect(record, stands, signal);
        await makeHostPart(record, signal);
        if (!stands) await records.put(record);
        return configured(record.attachments);
      }),
    detach: (id, signal) =>
      exclusively(id, async () => {
        const record = await records.get(id);
        if (record !== undefined) await takeAway(record, signal);
      }),
    async addressesOf(id) {
      const record = await records.get(id);
      return record?.made === true ? configured(record.attachments) : [];
    },
    async sweep(wanted, signal) {
      for (const record of await records.all()) {
        if (wanted.has(record.id) || busy.has(record.id)) continue;
        log.info({ event: 'network.swept', instanceId: record.id });
        await exclusively(record.id, () => takeAway(record, signal));
      }
      await sweepHost(wanted, signal);
    },
  };
}

const configured = (attachments: readonly Attachment[]): ConfiguredInterface[] =>
  attachments.map((one) => ({ interface: one.interface, addresses: [...one.addresses] }));

const isSameHostPart = (one: NetworkRecord, other: NetworkRecord): boolean =>
  isDeepStrictEqual([one.ports, one.firewall], [other.ports, other.firewall]) &&
  isDeepStrictEqual(configured(one.attachments), configured(other.attachments));

const targetOf = ({ id, guest, attachments }: NetworkRecord) => ({
  id,
  // The plugins of the host's part want a path, and open none of it.
  netns: `/proc/${guest?.pid ?? 'self'}/ns/net`,
  interface: attachments[0]?.interface ?? 'eth0',
});

function unusedOf(bridges: readonly string[], records: readonly NetworkRecord[]): string[] {
  const used = new Set(records.flatMap(({ attachments }) => attachments.map(({ bridge }) => bridge)));
  return [...new Set(bridges)].filter((bridge) => !used.has(bridge));
}

/** Between the guest and what is beyond its subnet; a bridge with neither gateway nor ports needs none. */
function familiesToForward({ attachments, ports }: NetworkRecord): (4 | 6)[] {
  const passing = attachments.filter(
    (one, place) =>
      one.masquerade || (one.managedBridge && one.gateways.length > 0) || (place === 0 && ports.length > 0),
  );
  const addresses = passing.flatMap((one) => one.addresses);
  return ([4, 6] as const).filter((family) =>
    addresses.some((address) => address.includes(':') === (family === 6)),
  );
}
