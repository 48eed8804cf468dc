import { readdir, readFile, readlink } from 'node:fs/promises';
import { type Address, parseAddress } from '#shared/addresses.ts';
import { DroverError } from '#shared/errors.ts';
import type { InstanceId, PublishedPort } from '#shared/model.ts';
import { portsClash } from '#shared/wire/network.ts';
import type { NetworkRecord } from './network-records.ts';
import { readVanishing } from './vanishing-file.ts';

/** A socket of the host that takes what comes from outside. */
interface Listener {
  readonly address: Address;
  readonly port: number;
  readonly inode: string;
}

const tables = { tcp: ['tcp', 'tcp6'], udp: ['udp', 'udp6'] } as const;
/** TCP_LISTEN; for UDP TCP_CLOSE, as every socket without a peer is called. */
const waiting = { tcp: '0A', udp: '07' } as const;

/** failed-precondition: another guest or a program of the host has one of them. */
export async function checkPortsFree(
  ports: readonly PublishedPort[],
  id: InstanceId,
  others: readonly NetworkRecord[],
): Promise<void> {
  for (const port of ports) {
    const owner = others.find((record) => record.ports.some((one) => portsClash(one, port)));
    if (owner !== undefined) throw taken(port, `instance ${owner.id} has it`, id);
  }
  for (const protocol of ['tcp', 'udp'] as const) {
    const wanted = ports.filter((port) => port.protocol === protocol);
    if (wanted.length === 0) continue;
    const listeners = await readListeners(protocol);
    for (const port of wanted) {
      const found = listeners.find((one) => isTakenBy(port, one));
      if (found !== undefined) throw taken(port, await programOf(found.inode), id);
    }
  }
}

function taken(
  { hostPort, protocol, hostAddress }: PublishedPort,
  owner: string,
  id: InstanceId,
): DroverError {
  const at = hostAddress === '' ? '' : ` at ${hostAddress}`;
  return new DroverError('failed-precondition', `port ${hostPort}/${protocol}${at} is taken: ${owner}`, {
    subject: { instance: id, port: `${hostPort}/${protocol}` },
    reason: 'port-taken',
    nextStep: 'end what has the port, or publish another',
  });
}

/** A socket for all addresses of IPv6 takes IPv4 as well, as a rule. */
function isTakenBy(port: PublishedPort, { address, port: number }: Listener): boolean {
  if (number !== port.hostPort) return false;
  const wanted = parseAddress(port.hostAddress);
  if (wanted === undefined) return true;
  if (address.value === 0n) return address.family === 6 || wanted.family === 4;
  return address.family === wanted.family && address.value === wanted.value;
}

async function readListeners(protocol: 'tcp' | 'udp'): Promise<Listener[]> {
  const texts = await Promise.all(tables[protocol].map((table) => readVanishing(`/proc/self/net/${table}`)));
  return texts.flatMap((text) => parseListeners(text ?? '', protocol));
}

/** proc(5): the second column is "0100007F:1F90", words in the order of the machine, the tenth the inode. */
export function parseListeners(table: string, protocol: 'tcp' | 'udp'): Listener[] {
  return table.split('\n').flatMap((line) => {
    const columns = line.trim().split(/\s+/);
    const [, local = '', , state] = columns;
    const [, address, port] = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local) ?? [];
    if (address === undefined || port === undefined || state !== waiting[protocol]) return [];
    return [{ address: parseWords(address), port: Number.parseInt(port, 16), inode: columns[9] ?? '' }];
  });
}

function parseWords(hex: string): Address {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.map((word) => (word.match(/../g) ?? []).toReversed().join(''));
  return { family: words.length === 1 ? 4 : 6, value: BigInt(`0x${bytes.join('')}`) };
}

/** Who it is, for people; looked for in every process, so only once something has failed. */
async function programOf(inode: string): Promise<string> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    const descriptors = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const descriptor of descriptors) {
      const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '');
      if (target !== `socket:[${inode}]`) continue;
      const name = (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim();
      return `${JSON.stringify(name)} (process ${pid}) listens on it`;
    }
  }
  return 'a program of this host listens on it';
}
