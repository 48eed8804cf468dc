import type { Attachment } from '#shared/model.ts';
import type { Change, Configuration } from './guest-kind.ts';
import { type InterfaceConfig, saysSameAddress, wantedInterface } from './interfaces.ts';
import {
  formatProperties,
  mergeProperties,
  numberOf,
  parseProperties,
  type Properties,
} from './properties.ts';
import { freeKeys, indexedKeys } from './indexed-keys.ts';

/** One interface of a virtual machine, with what cloud-init is told of it. */
export interface VmInterface extends InterfaceConfig {
  /** "net0". */
  readonly key: string;
  /** As the guest most likely calls it: its place among all. */
  readonly name: string;
  readonly mac: string;
  readonly properties: Properties;
}

const models = ['virtio', 'e1000', 'e1000e', 'rtl8139', 'vmxnet3'];

export const vmInterfacesOf = (config: Configuration): VmInterface[] =>
  indexedKeys(config, 'net').map((key, place) => {
    const properties = parseProperties(config[key], 'model');
    const address = parseProperties(config[`ipconfig${key.slice('net'.length)}`]);
    const text = (name: string): string => properties.get(name) ?? '';
    const model = models.find((each) => properties.has(each)) ?? '';
    return {
      key,
      name: `eth${place}`,
      mac: text(model) || text('macaddr'),
      properties,
      bridge: text('bridge'),
      vlan: numberOf(properties.get('tag')),
      mtu: numberOf(properties.get('mtu')),
      ip: address.get('ip') ?? '',
      gateway: address.get('gw') ?? '',
      ip6: address.get('ip6') ?? '',
      gateway6: address.get('gw6') ?? '',
    };
  });

const partsOf = ({ bridge, vlan, mtu }: InterfaceConfig) => ({
  bridge,
  tag: vlan === 0 ? undefined : vlan,
  mtu: mtu === 0 ? undefined : mtu,
});

export function newVmInterface(attachment: Attachment): string {
  const wanted = wantedInterface(attachment);
  const mac = attachment.mac.toUpperCase();
  const model: Properties = mac === '' ? new Map([['model', 'virtio']]) : new Map([['virtio', mac]]);
  return formatProperties(mergeProperties(model, partsOf(wanted)), 'model');
}

/** What cloud-init is told of one interface. */
export const addressParts = (wanted: InterfaceConfig): string =>
  formatProperties(
    mergeProperties(new Map(), {
      ip: wanted.ip === '' ? undefined : wanted.ip,
      gw: wanted.gateway === '' ? undefined : wanted.gateway,
      ip6: wanted.ip6 === '' ? undefined : wanted.ip6,
      gw6: wanted.gateway6 === '' ? undefined : wanted.gateway6,
    }),
  );

/** Interfaces by their place: what a guest calls them is its own affair. */
export function vmInterfaceChanges(
  config: Configuration,
  attachments: readonly Attachment[],
  tellsAddresses: boolean,
): Change {
  const found = vmInterfacesOf(config);
  const set: Record<string, unknown> = {};
  const free = freeKeys(config, 'net');
  for (const [place, attachment] of attachments.entries()) {
    const there = found[place];
    const wanted = wantedInterface(attachment);
    const key = there?.key ?? free.next().value;
    if (there === undefined) set[key] = newVmInterface(attachment);
    else if (!isSameInterface(there, wanted))
      set[key] = formatProperties(mergeProperties(there.properties, partsOf(wanted)), 'model');
    if (tellsAddresses && !(there !== undefined && isSameAddress(there, wanted)))
      set[`ipconfig${key.slice('net'.length)}`] = addressParts(kept(there, wanted));
  }
  const gone = found.slice(attachments.length).map(({ key }) => key);
  const addresses = gone.map((key) => `ipconfig${key.slice('net'.length)}`);
  return { set, unset: [...gone, ...addresses.filter((key) => config[key] !== undefined)] };
}

const isSameInterface = (found: VmInterface, wanted: InterfaceConfig): boolean =>
  found.bridge === wanted.bridge && found.vlan === wanted.vlan && found.mtu === wanted.mtu;

const isSameAddress = (found: VmInterface, wanted: InterfaceConfig): boolean =>
  saysSameAddress(found.ip, wanted.ip) &&
  saysSameAddress(found.ip6, wanted.ip6) &&
  found.gateway === wanted.gateway &&
  found.gateway6 === wanted.gateway6;

/** An address that is asked for in some way goes on being asked for in that way. */
const kept = (found: VmInterface | undefined, wanted: InterfaceConfig): InterfaceConfig => ({
  ...wanted,
  ip: found !== undefined && saysSameAddress(found.ip, wanted.ip) ? found.ip : wanted.ip,
  ip6: found !== undefined && saysSameAddress(found.ip6, wanted.ip6) ? found.ip6 : wanted.ip6,
});
