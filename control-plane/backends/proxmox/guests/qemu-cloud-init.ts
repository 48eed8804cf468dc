import { isDeepStrictEqual } from 'node:util';
import type { CloudInit, InstanceSpec } from '#shared/model.ts';
import type { Change, Configuration, SpecContext } from './guest-kind.ts';
import { storageOfVolume } from './disks.ts';
import { parseList, textOf } from './properties.ts';
import { drivesOf, isCloudInit, rootDrive } from './qemu-disks.ts';
import { addressParts } from './qemu-network.ts';
import { wantedInterface } from './interfaces.ts';
import { vmOf } from './qemu-options.ts';

/** Where the drive goes. */
export const cloudInitKey = 'ide2';

/** The API wants the keys percent-encoded in themselves, besides what its transport encodes. */
export const formatKeys = (keys: readonly string[]): string => encodeURIComponent(keys.join('\n'));

export function parseKeys(value: unknown): string[] {
  return decoded(textOf(value))
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Undefined: there is no drive for it. */
export function foundCloudInit(config: Configuration): CloudInit | undefined {
  if (!drivesOf(config).some(isCloudInit)) return undefined;
  return { user: textOf(config['ciuser']), sshKeys: parseKeys(config['sshkeys']) };
}

const listed = (words: readonly string[]): string | undefined =>
  words.length === 0 ? undefined : words.join(' ');

/** Undefined: the key is not to be there. */
const wantedValues = ({ dns }: InstanceSpec, { user, sshKeys }: CloudInit) => ({
  ciuser: user === '' ? undefined : user,
  sshkeys: sshKeys.length === 0 ? undefined : formatKeys(sshKeys),
  nameserver: listed(dns.servers),
  searchdomain: listed(dns.search),
});

/** For a virtual machine that is not there yet. */
export function newCloudInit(spec: InstanceSpec, storage: string): Record<string, string> {
  const { cloudInit } = vmOf(spec);
  if (cloudInit === undefined) return {};
  const addresses = spec.assigned.attachments.map((attachment, place): [string, string] => [
    `ipconfig${place}`,
    addressParts(wantedInterface(attachment)),
  ]);
  const values = Object.entries(wantedValues(spec, cloudInit)).filter(([, value]) => value !== undefined);
  return {
    [cloudInitKey]: `${storage}:cloudinit`,
    ...(Object.fromEntries(values) as Record<string, string>),
    ...Object.fromEntries(addresses),
  };
}

/** Addresses are the interfaces' part. */
export function cloudInitChanges(spec: InstanceSpec, config: Configuration, context: SpecContext): Change {
  const wanted = vmOf(spec).cloudInit;
  const drives = drivesOf(config).filter(isCloudInit);
  if (wanted === undefined) {
    const keys = ['ciuser', 'sshkeys'].filter((key) => config[key] !== undefined);
    return { set: {}, unset: drives.length === 0 ? [] : [...drives.map(({ key }) => key), ...keys] };
  }
  const storage = storageOfVolume(rootDrive(config)?.volid) || context.storageOf(spec.rootPool);
  const set: Record<string, unknown> = {};
  const unset: string[] = [];
  if (drives.length === 0) set[freeCdrom(config)] = `${storage}:cloudinit`;
  const values = wantedValues(spec, wanted);
  const same = {
    ciuser: textOf(config['ciuser']) === wanted.user,
    sshkeys: isDeepStrictEqual(parseKeys(config['sshkeys']), wanted.sshKeys),
    nameserver: isDeepStrictEqual(parseList(config['nameserver']), spec.dns.servers),
    searchdomain: isDeepStrictEqual(parseList(config['searchdomain']), spec.dns.search),
  };
  for (const key of ['ciuser', 'sshkeys', 'nameserver', 'searchdomain'] as const) {
    if (same[key]) continue;
    if (values[key] === undefined) unset.push(key);
    else set[key] = values[key];
  }
  return { set, unset };
}

const freeCdrom = (config: Configuration): string =>
  [cloudInitKey, 'ide3', 'ide0', 'ide1'].find((key) => config[key] === undefined) ?? 'sata5';
