import { readlink } from 'node:fs/promises';
import { DroverError } from '#shared/errors.ts';
import type { Attachment, InstanceId } from '#shared/model.ts';
import { defaultGateways, hostInterfaceName } from '../host/guest-interface.ts';
import { type IpBatch, isThere, readInterface } from './bridges.ts';
import { bridgeConfig, loopbackConfig } from './cni-config.ts';
import type { CallPlugin, PluginResult } from './cni-plugin.ts';
import type { NetworkRecord } from './network-records.ts';
import { readVanishing } from './vanishing-file.ts';

export interface GuestInterfaces {
  /**
   * Makes what is missing in the guest's namespace. `stands`: what is there was made whole, for this
   * record.
   */
  connect(record: NetworkRecord, stands: boolean, signal: AbortSignal): Promise<void>;
  /** Whether the namespace is still that of the record, and each of its interfaces there. */
  isConnected(record: NetworkRecord): Promise<boolean>;
  /** Also those that a driver made, and those whose namespace is gone or in other hands. */
  disconnect(record: NetworkRecord, signal: AbortSignal): Promise<void>;
}

/** Of the namespace, "net:[4026532001]"; undefined: the process is gone. */
export async function netnsOf(pid: number | 'self'): Promise<string | undefined> {
  try {
    return await readlink(`/proc/${pid}/ns/net`);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

/** The namespace of a guest. Never our own: a process in it is none that we may connect. */
export async function guestNetnsOf(pid: number, id: InstanceId): Promise<string> {
  const subject = { instance: id };
  const netns = await netnsOf(pid);
  if (netns === undefined)
    throw new DroverError('failed-precondition', `process ${pid} of the guest is gone`, { subject });
  if (netns === (await netnsOf('self')))
    throw new DroverError('failed-precondition', 'the guest has no network namespace of its own', {
      subject,
    });
  return netns;
}

export function createGuestInterfaces(options: {
  readonly ip: IpBatch;
  readonly call: CallPlugin;
  readonly name: string;
  readonly mark: string;
}): GuestInterfaces {
  const { ip, call, name, mark } = options;

  async function configOf(record: NetworkRecord, attachment: Attachment): Promise<object> {
    const mtu = attachment.mtu || Number((await readInterface(attachment.bridge, 'mtu')) ?? 0);
    const defaults = defaultGateways(record.attachments, attachment);
    return bridgeConfig(name, attachment, { mtu, hairpin: record.ports.length > 0, defaults });
  }

  async function plug(
    command: 'ADD' | 'DEL',
    record: NetworkRecord,
    at: Attachment,
    signal: AbortSignal,
  ): Promise<PluginResult> {
    const netns = `/proc/${record.guest?.pid}/ns/net`;
    const target = { id: record.id, netns, interface: at.interface };
    return call(command, 'bridge', await configOf(record, at), target, signal);
  }

  /** The plugin names the host's end by chance; by our name it is found again. */
  async function label(id: InstanceId, found: string, place: number, signal: AbortSignal): Promise<void> {
    const wanted = hostInterfaceName(id, place);
    const alias = `link set dev ${wanted} alias ${mark}:${id}`;
    const live = await ip([`link set dev ${found} name ${wanted}`, alias], signal);
    if (live === undefined) return;
    // Before Linux 6.2 an interface must be down to be renamed.
    const words = await ip(
      [
        `link set dev ${found} down`,
        `link set dev ${found} name ${wanted}`,
        `link set dev ${wanted} up`,
        alias,
      ],
      signal,
    );
    if (words !== undefined)
      throw new DroverError('internal', `${found} could not be called ${wanted}: ${words}`);
  }

  async function removeHostEnd(host: string, signal: AbortSignal): Promise<void> {
    if (!(await isThere(host))) return;
    const words = await ip([`link delete dev ${host}`], signal);
    // It goes by itself with its namespace.
    if (words !== undefined && (await isThere(host)))
      throw new DroverError('internal', `${host} could not be removed: ${words}`);
  }

  async function add(record: NetworkRecord, place: number, signal: AbortSignal): Promise<void> {
    const attachment = record.attachments[place];
    if (attachment === undefined) return;
    // Of a namespace that is on its way out, or of a guest that was here before.
    await removeHostEnd(hostInterfaceName(record.id, place), signal);
    const { interfaces = [] } = await plug('ADD', record, attachment, signal);
    const hostEnd = interfaces.find((one) => !one.sandbox && one.name !== attachment.bridge);
    if (hostEnd === undefined) throw new DroverError('internal', 'CNI bridge ADD named no interface');
    await label(record.id, hostEnd.name, place, signal);
  }

  async function raiseLoopback(record: NetworkRecord, signal: AbortSignal): Promise<void> {
    const pid = record.guest?.pid;
    if (((await readVanishing(`/proc/${pid}/net/fib_trie`)) ?? '').includes(' 127.0.0.1\n')) return;
    const target = { id: record.id, netns: `/proc/${pid}/ns/net`, interface: 'lo' };
    await call('ADD', 'loopback', loopbackConfig(name), target, signal);
  }

  return {
    async connect(record, stands, signal) {
      if (record.guest === undefined) return;
      const there = await interfacesOf(record.guest.pid);
      for (const [place, attachment] of record.attachments.entries()) {
        const isFound = there.has(attachment.interface);
        if (isFound && stands) continue;
        if (isFound) await plug('DEL', record, attachment, signal);
        await add(record, place, signal);
      }
      await raiseLoopback(record, signal);
    },
    async isConnected({ guest, attachments }) {
      if (guest === undefined) return true;
      if ((await netnsOf(guest.pid)) !== guest.netns) return false;
      const there = await interfacesOf(guest.pid);
      return attachments.every((one) => there.has(one.interface));
    },
    async disconnect(record, signal) {
      const { guest, attachments } = record;
      if (guest !== undefined && (await netnsOf(guest.pid)) === guest.netns) {
        const there = await interfacesOf(guest.pid);
        for (const attachment of attachments)
          if (there.has(attachment.interface)) await plug('DEL', record, attachment, signal);
      }
      for (const place of attachments.keys())
        await removeHostEnd(hostInterfaceName(record.id, place), signal);
    },
  };
}

/** Names, without a spawn: /proc shows the network of the process that is asked about. */
async function interfacesOf(pid: number): Promise<Set<string>> {
  const text = (await readVanishing(`/proc/${pid}/net/dev`)) ?? '';
  const lines = text.split('\n').filter((line) => line.includes(':'));
  return new Set(lines.map((line) => line.slice(0, line.indexOf(':')).trim()));
}
