import { section, stringMap, text, texts } from './schema-parts.ts';

const subnet = {
  ...section('A range of addresses.', {
    cidr: {
      ...text('Network and prefix length: "10.20.0.0/16", "fd00:20::/64".'),
      examples: ['10.20.0.0/16'],
    },
    gateway: text('Next hop: the first address on a bridge that Drover makes; else none.'),
    first: text('First address to give out; else the first that is not the gateway.'),
    last: text('Last address to give out; else the last but the broadcast.'),
  }),
  required: ['cidr'],
};

const route = {
  ...section('A route inside, beyond the default one.', {
    destination: text('"192.168.0.0/16".'),
    via: text('Next hop, in a subnet of the network.'),
  }),
  required: ['destination', 'via'],
};

/** The JSON schema of a network's document. docs/network.schema.json is its copy. */
export const networkSchema = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  title: 'Drover network',
  description: 'A bridged network whose addresses the control plane gives out.',
  type: 'object',
  required: ['kind', 'name'],
  additionalProperties: false,
  properties: {
    kind: { const: 'Network', description: 'What the document describes.' },
    name: text(
      '1 to 40 of a-z, 0-9 and "-", neither first nor last "-"; unique in its project.',
      '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$',
    ),
    project: { const: 'default', description: 'The only project for now.' },
    labels: stringMap('For people and selectors.'),
    annotations: stringMap('Free text for tools; never interpreted.'),
    bridge: text('The bridge on every node: "vmbr0". Left out: one that Drover makes.'),
    subnets: {
      type: 'array',
      items: subnet,
      maxItems: 2,
      description: 'At most one of each family. None: an interface without address.',
    },
    mtu: { type: 'integer', minimum: 576, maximum: 9216, description: "The bridge's own where left out." },
    vlan: { type: 'integer', minimum: 1, maximum: 4094, description: 'VLAN tag; none where left out.' },
    masquerade: {
      type: 'boolean',
      default: false,
      description: "Guests reach what is outside through their node's address.",
    },
    nodePrivate: {
      type: 'boolean',
      default: false,
      description: 'Each node gives out addresses of the subnet by itself, behind its own address.',
    },
    dns: section('For guests whose spec says nothing.', {
      servers: texts('Addresses of name servers, at most 3.'),
      search: texts('Domains to search, at most 6.'),
      options: texts('Such as "ndots:2", at most 6.'),
    }),
    routes: { type: 'array', items: route, maxItems: 64, description: 'Beyond the default route.' },
  },
} as const;
