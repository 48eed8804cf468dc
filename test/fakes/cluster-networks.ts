/** A network of a cluster, over a bridge of its nodes, and what an instance has of it. */
import type { Attachment, Network } from '#shared/model.ts';

/** Asks for its addresses itself. */
export const bridged = (part: Partial<Attachment> = {}): Attachment => ({
  network: 'lan',
  bridge: 'vmbr0',
  managedBridge: false,
  interface: 'eth0',
  mac: '02:a1:b2:c3:d4:e5',
  addresses: [],
  gateways: [],
  mtu: 0,
  vlan: 0,
  masquerade: false,
  nodePrivateSubnet: '',
  routes: [],
  ...part,
});

export const bridgedNetwork = (
  subnets: Network['spec']['subnets'],
  { name = 'lan', ...part }: Partial<Network['spec']> & { readonly name?: string } = {},
): Network => ({
  metadata: {
    project: 'default',
    name,
    id: name,
    labels: {},
    annotations: {},
    revision: 1,
    generation: 1,
    createdAtMs: 0,
  },
  spec: {
    bridge: 'vmbr0',
    managedBridge: false,
    subnets,
    mtu: 0,
    vlan: 0,
    masquerade: false,
    nodePrivate: false,
    dns: { servers: [], search: [], options: [] },
    routes: [],
    ...part,
  },
});
