import type { Network, NetworkSpec } from '#shared/model.ts';
import { diffTexts, entries, type FieldChange, textsOf } from './spec-fields.ts';

/** What a network's document says, without its name. */
export interface DescribedNetwork extends Pick<Network['metadata'], 'labels' | 'annotations'> {
  readonly spec: NetworkSpec;
}

/** The fields that differ, in the order of the YAML. Nothing before: every field that is set. */
export const diffNetworkFields = (
  before: DescribedNetwork | undefined,
  after: DescribedNetwork,
): FieldChange[] =>
  diffTexts(textsOf(before === undefined ? [] : fieldsOf(before)), textsOf(fieldsOf(after)));

function fieldsOf({ labels, annotations, spec }: DescribedNetwork): (readonly [string, unknown])[] {
  const counted = (value: number): number | '' => (value === 0 ? '' : value);
  return [
    ...entries('labels', labels),
    ...entries('annotations', annotations),
    ['bridge', spec.managedBridge ? `${spec.bridge} (made by Drover)` : spec.bridge],
    ...spec.subnets.map(({ cidr, gateway, first, last }): [string, unknown] => [
      `subnets.${cidr}`,
      { ...(gateway !== '' && { gateway }), first, last },
    ]),
    ['mtu', counted(spec.mtu)],
    ['vlan', counted(spec.vlan)],
    ['masquerade', spec.masquerade || ''],
    ['nodePrivate', spec.nodePrivate || ''],
    ['dns.servers', spec.dns.servers],
    ['dns.search', spec.dns.search],
    ['dns.options', spec.dns.options],
    ['routes', spec.routes.map(({ destination, via }) => `${destination} via ${via}`)],
  ];
}
