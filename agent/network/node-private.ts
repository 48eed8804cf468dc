import {
  type Address,
  contains,
  formatAddress,
  parseAddress,
  parseCidr,
  parseInterfaceAddress,
} from '#shared/addresses.ts';
import { DroverError } from '#shared/errors.ts';
import type { Attachment } from '#shared/model.ts';

/**
 * The attachments with an address for each that the node itself gives out. `before` is what the guest had: it
 * keeps it. `others` are all other attachments of the node. Pure: what is given out is taken once it is
 * written down.
 */
export function decideAddresses(
  wanted: readonly Attachment[],
  before: readonly Attachment[],
  others: readonly Attachment[],
): Attachment[] {
  const decided: Attachment[] = [];
  for (const attachment of wanted) decided.push(decide(attachment, before, [...others, ...decided]));
  return decided;
}

function decide(
  attachment: Attachment,
  before: readonly Attachment[],
  others: readonly Attachment[],
): Attachment {
  const subnet = parseCidr(attachment.nodePrivateSubnet);
  if (subnet === undefined) return attachment;
  const last = subnet.family === 4 ? subnet.last - 1n : subnet.last;
  const own = { family: subnet.family, value: subnet.first + 1n };
  const gateways = attachment.gateways.length > 0 ? attachment.gateways : [formatAddress(own)];
  const taken = new Set(
    [
      ...others.flatMap(({ addresses }) => addresses.map(parseInterfaceAddress)),
      ...gateways.map(parseAddress),
    ]
      .filter((one) => one?.family === subnet.family)
      .map((one) => one?.value),
  );
  const isFree = (one: Address | undefined): boolean =>
    one !== undefined && contains(subnet, one) && one.value <= last && !taken.has(one.value);

  const had = before.find((one) => one.interface === attachment.interface)?.addresses ?? [];
  const kept = [...had, ...attachment.addresses].find((text) => isFree(parseInterfaceAddress(text)));
  if (kept !== undefined) return { ...attachment, gateways, addresses: [kept] };
  for (let value = subnet.first + 1n; value <= last; value += 1n) {
    if (taken.has(value)) continue;
    const address = `${formatAddress({ family: subnet.family, value })}/${subnet.prefix}`;
    return { ...attachment, gateways, addresses: [address] };
  }
  throw new DroverError('resource-exhausted', `every address of ${attachment.nodePrivateSubnet} is in use`, {
    subject: { network: attachment.network },
    nextStep: 'remove a guest of this network, or give the network a larger subnet',
  });
}
