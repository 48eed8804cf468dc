import type { Attachment } from '#shared/model.ts';
import { type InterfaceConfig, saysSameAddress, wantedInterface } from './interfaces.ts';
import type { Configuration } from './guest-kind.ts';
import {
  formatProperties,
  mergeProperties,
  numberOf,
  parseProperties,
  type Properties,
} from './properties.ts';
import { freeKeys, indexedKeys } from './indexed-keys.ts';

/** One interface of a container, as its configuration has it. */
export interface LxcInterface extends InterfaceConfig {
  /** "net0". */
  readonly key: string;
  /** "eth0". */
  readonly name: string;
  readonly properties: Properties;
}

export const interfacesOf = (config: Configuration): LxcInterface[] =>
  indexedKeys(config, 'net').map((key) => {
    const properties = parseProperties(config[key]);
    const text = (name: string): string => properties.get(name) ?? '';
    return {
      key,
      name: text('name'),
      properties,
      bridge: text('bridge'),
      vlan: numberOf(properties.get('tag')),
      mtu: numberOf(properties.get('mtu')),
      ip: text('ip'),
      gateway: text('gw'),
      ip6: text('ip6'),
      gateway6: text('gw6'),
    };
  });

const partsOf = (wanted: InterfaceConfig) => ({
  bridge: wanted.bridge,
  ip: wanted.ip === '' ? undefined : wanted.ip,
  gw: wanted.gateway === '' ? undefined : wanted.gateway,
  ip6: wanted.ip6 === '' ? undefined : wanted.ip6,
  gw6: wanted.gateway6 === '' ? undefined : wanted.gateway6,
  tag: wanted.vlan === 0 ? undefined : wanted.vlan,
  mtu: wanted.mtu === 0 ? undefined : wanted.mtu,
});

/** For an interface that is not there yet. */
export function newInterface(attachment: Attachment): Readonly<Record<string, string | number>> {
  const parts = {
    name: attachment.interface,
    hwaddr: attachment.mac === '' ? undefined : attachment.mac.toUpperCase(),
    ...partsOf(wantedInterface(attachment)),
  };
  return Object.fromEntries(Object.entries(parts).filter((entry) => entry[1] !== undefined)) as Record<
    string,
    string | number
  >;
}

/** What becomes of the interfaces: by key, whole values; and the keys that go. */
export function interfaceChanges(
  config: Configuration,
  attachments: readonly Attachment[],
): { readonly set: Record<string, unknown>; readonly unset: string[] } {
  const found = interfacesOf(config);
  const set: Record<string, unknown> = {};
  const free = freeKeys(config, 'net');
  for (const attachment of attachments) {
    const there = found.find(({ name }) => name === attachment.interface);
    if (there === undefined) {
      const key = free.next().value;
      set[key] = newInterface(attachment);
    } else if (!isAsWanted(there, wantedInterface(attachment))) {
      set[there.key] = changedInterface(there, wantedInterface(attachment));
    }
  }
  const wantedNames = new Set(attachments.map((each) => each.interface));
  return { set, unset: found.filter(({ name }) => !wantedNames.has(name)).map(({ key }) => key) };
}

const isAsWanted = (found: LxcInterface, wanted: InterfaceConfig): boolean =>
  found.bridge === wanted.bridge &&
  found.vlan === wanted.vlan &&
  found.mtu === wanted.mtu &&
  saysSameAddress(found.ip, wanted.ip) &&
  saysSameAddress(found.ip6, wanted.ip6) &&
  found.gateway === wanted.gateway &&
  found.gateway6 === wanted.gateway6;

/** The whole string, its hardware address among it: what is left out is drawn anew. */
function changedInterface(found: LxcInterface, wanted: InterfaceConfig): string {
  const kept = {
    ...wanted,
    ip: saysSameAddress(found.ip, wanted.ip) ? found.ip : wanted.ip,
    ip6: saysSameAddress(found.ip6, wanted.ip6) ? found.ip6 : wanted.ip6,
  };
  return formatProperties(mergeProperties(found.properties, partsOf(kept)));
}
