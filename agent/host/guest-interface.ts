import { parseAddress } from '#shared/addresses.ts';
import type { Attachment, InstanceId } from '#shared/model.ts';

/**
 * The host's end of a guest's interface: "drv", ten digits of the id's random tail, and the place of its
 * attachment. 14 characters; the kernel takes 15. Whoever makes interfaces or removes them calls them so.
 */
export const hostInterfaceName = (id: InstanceId, place: number): string => `drv${id.slice(-10)}${place}`;

/** A guest has one default route of each family: through the first interface that has a gateway of it. */
export function defaultGateways(attachments: readonly Attachment[], at: Attachment): string[] {
  const familyOf = (text: string): 4 | 6 | undefined => parseAddress(text)?.family;
  return at.gateways.filter((gateway) => {
    const family = familyOf(gateway);
    const first = attachments.find((one) => one.gateways.some((other) => familyOf(other) === family));
    return first?.interface === at.interface;
  });
}
