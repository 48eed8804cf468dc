import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { DroverError } from '#shared/errors.ts';
import type { Attachment } from '#shared/model.ts';
import type { HostCommands } from '../host/command.ts';
import { bridgeAddresses } from './cni-config.ts';
import { checkInterfaceName } from './network-id.ts';
import { readVanishing } from './vanishing-file.ts';

export const sysNet = '/sys/class/net';

/** The content of one of an interface's files; undefined without such an interface, or such a file. */
export const readInterface = async (name: string, file: string): Promise<string | undefined> =>
  (await readVanishing(`${sysNet}/${name}/${file}`))?.trim();

/** Runs lines of ip(8) in order until one fails; its words then. */
export type IpBatch = (lines: readonly string[], signal: AbortSignal) => Promise<string | undefined>;

export function createIpBatch(run: HostCommands['run']): IpBatch {
  return async (lines, signal) => {
    if (lines.length === 0) return undefined;
    const input = `${lines.join('\n')}\n`;
    const { exitCode, stderr } = await run('ip', ['-batch', '-'], { input, signal, timeoutMs: 30_000 });
    return exitCode === 0 ? undefined : stderr.trim().slice(0, 500) || `exit ${exitCode}`;
  };
}

export interface Bridges {
  /** Every bridge of the attachments, with what the gateway and the tags of managed ones need. */
  ensure(attachments: readonly Attachment[], signal: AbortSignal): Promise<void>;
  /** Those of ours that nothing is attached to. */
  removeIdle(names: readonly string[], signal: AbortSignal): Promise<void>;
  /** Ours, and what a crash left of one that was about to be made. */
  listOwn(): Promise<string[]>;
}

/**
 * Calls must not overlap. `mark` is the alias that says a bridge is ours; `staged` a name for one in the
 * making.
 */
export function createBridges(options: {
  readonly ip: IpBatch;
  readonly mark: string;
  readonly staged: string;
}): Bridges {
  const { ip, mark, staged } = options;
  /** "ifindex address": what stands on a bridge is asked of the kernel by no file, so it is remembered. */
  const configured = new Set<string>();

  async function apply(lines: readonly string[], bridge: string, signal: AbortSignal): Promise<void> {
    const words = await ip(lines, signal);
    if (words !== undefined) throw bridgeError('internal', bridge, `could not be made: ${words}`);
  }

  /** Under another name until it carries our mark, so that no bridge of ours is ever without. */
  async function make(attachment: Attachment, signal: AbortSignal): Promise<void> {
    const { bridge, mtu, vlan } = attachment;
    const stale = (await isThere(staged)) ? [`link delete dev ${staged}`] : [];
    const tags = vlan === 0 ? '' : ' vlan_filtering 1';
    await apply(
      [
        ...stale,
        `link add name ${staged} address ${stableMac(mark, bridge)} type bridge${tags}`,
        `link set dev ${staged} alias ${mark}`,
        ...(mtu === 0 ? [] : [`link set dev ${staged} mtu ${mtu}`]),
        `link set dev ${staged} name ${bridge}`,
        `link set dev ${bridge} up`,
      ],
      bridge,
      signal,
    );
  }

  async function complete(attachment: Attachment, signal: AbortSignal): Promise<void> {
    const { bridge, mtu } = attachment;
    const index = await readInterface(bridge, 'ifindex');
    const isUp = (Number(await readInterface(bridge, 'flags')) & 1) === 1;
    // A tagged network's gateway is beyond the bridge: its own address would be one without a tag.
    const addresses = attachment.vlan === 0 ? bridgeAddresses(attachment) : [];
    const missing = addresses.filter((address) => !configured.has(`${index} ${address}`));
    const lines = [
      ...(mtu === 0 || Number(await readInterface(bridge, 'mtu')) === mtu
        ? []
        : [`link set dev ${bridge} mtu ${mtu}`]),
      ...(isUp ? [] : [`link set dev ${bridge} up`]),
      ...missing.map(
        (address) => `address replace ${address} dev ${bridge}${address.includes(':') ? ' nodad' : ''}`,
      ),
    ];
    await apply(lines, bridge, signal);
    for (const address of missing) configured.add(`${index} ${address}`);
  }

  async function ensureTags({ bridge, managedBridge }: Attachment, signal: AbortSignal): Promise<void> {
    const filtering = await readInterface(bridge, 'bridge/vlan_filtering');
    if (filtering === undefined) throw noVlans(bridge);
    if (filtering === '1') return;
    if (!managedBridge)
      throw bridgeError('failed-precondition', bridge, 'does not tell VLANs apart', {
        nextStep: `ip link set ${bridge} type bridge vlan_filtering 1`,
      });
    await apply([`link set dev ${bridge} type bridge vlan_filtering 1`], bridge, signal);
  }

  async function ensureOne(attachment: Attachment, signal: AbortSignal): Promise<void> {
    const { bridge, managedBridge } = attachment;
    checkInterfaceName(bridge);
    const found = await isThere(bridge);
    if (found && !(await isThere(`${bridge}/bridge`)))
      throw bridgeError('failed-precondition', bridge, 'is an interface of the host, and no bridge', {
        nextStep: 'give the network another name, or another bridge',
      });
    if (managedBridge) {
      if (!found) await makeOrExplain(attachment, signal);
      else if ((await readInterface(bridge, 'ifalias')) !== mark) throw notOurs(bridge);
      await complete(attachment, signal);
    } else if (!found) {
      throw bridgeError('failed-precondition', bridge, 'is missing on this node', {
        nextStep: `ip link add ${bridge} type bridge, or let the network manage its bridge`,
      });
    }
    if (attachment.vlan > 0) await ensureTags(attachment, signal);
  }

  async function makeOrExplain(attachment: Attachment, signal: AbortSignal): Promise<void> {
    try {
      await make(attachment, signal);
    } catch (error) {
      const words = error instanceof DroverError ? error.message : '';
      if (attachment.vlan > 0 && /not supported/i.test(words)) throw noVlans(attachment.bridge);
      throw error;
    }
  }

  return {
    async ensure(attachments, signal) {
      for (const attachment of attachments) await ensureOne(attachment, signal);
    },
    async removeIdle(names, signal) {
      for (const name of names) {
        checkInterfaceName(name);
        if (name !== staged && (await readInterface(name, 'ifalias')) !== mark) continue;
        const ports = await readdir(`${sysNet}/${name}/brif`).catch(() => undefined);
        if (ports?.length !== 0) continue;
        const words = await ip([`link delete dev ${name}`], signal);
        if (words !== undefined && (await isThere(name)))
          throw bridgeError('internal', name, `could not be removed: ${words}`);
      }
    },
    async listOwn() {
      const own: string[] = [];
      for (const name of await readdir(sysNet)) {
        if (!(await isThere(`${name}/bridge`))) continue;
        if (name === staged || (await readInterface(name, 'ifalias')) === mark) own.push(name);
      }
      return own;
    },
  };
}

export const isThere = async (name: string): Promise<boolean> =>
  (await stat(`${sysNet}/${name}`).catch(() => undefined)) !== undefined;

/**
 * Locally administered. Without one of its own, a bridge takes that of a guest, and guests' caches go
 * stale.
 */
function stableMac(mark: string, bridge: string): string {
  const digest = createHash('sha256').update(`${mark} ${bridge}`).digest();
  return ['02', ...Array.from(digest.subarray(0, 5), (byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

const bridgeError = (
  kind: 'failed-precondition' | 'internal',
  bridge: string,
  words: string,
  { nextStep = '' }: { nextStep?: string } = {},
): DroverError => new DroverError(kind, `bridge ${bridge} ${words}`, { subject: { bridge }, nextStep });

const notOurs = (bridge: string): DroverError =>
  bridgeError('failed-precondition', bridge, 'is there already and was not made by this agent', {
    nextStep: `remove it (ip link delete ${bridge}), or use it: "bridge: ${bridge}" in the network`,
  });

const noVlans = (bridge: string): DroverError =>
  bridgeError('failed-precondition', bridge, 'cannot carry VLAN tags: the kernel of this host has none', {
    nextStep: 'choose a network without a VLAN, or a node whose facts say that it has them',
  });
