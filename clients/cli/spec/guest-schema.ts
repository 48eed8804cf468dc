import { clusterSection, vmSection } from './cluster-schema.ts';
import { count, flag, section, size, stringMap, text, texts } from './schema-parts.ts';

const list = (items: object, description: string): object => ({ type: 'array', items, description });

const volume = {
  ...section('One data volume for each copy; it outlives the copy.', {
    name: text('Unique in the workload.'),
    mount: text('Absolute directory inside.'),
    size: size('Quota: "10GiB". Left out: none.', '10GiB'),
    pool: text("The node's default where left out."),
    readOnly: flag('The guest cannot write to it.'),
    keep: flag('Stays when the workload is deleted.'),
  }),
  required: ['name', 'mount'],
};

const network = {
  anyOf: [
    text('Name of a network.'),
    {
      ...section('A network, with addresses of its own choice.', {
        name: text('Name of a network.'),
        addresses: texts('Copies take them in this order: "10.20.0.5".'),
      }),
      required: ['name'],
    },
  ],
};

const port = {
  ...section('A port of the node that leads to the guest.', {
    guest: { type: 'integer', minimum: 1, maximum: 65535, description: 'In the guest.' },
    host: {
      type: 'integer',
      minimum: 0,
      maximum: 65535,
      default: 0,
      description: 'On the node; 0: chosen with the node.',
    },
    protocol: { enum: ['tcp', 'udp'], default: 'tcp', description: 'Which protocol.' },
    hostAddress: text('Address of the node to listen on; all where left out.'),
  }),
  required: ['guest'],
};

/** The part of a workload file about storage, network and rights. */
export const guestSchema = {
  root: section('The root file system. Its size is resources.disk.', {
    pool: text("The node's default where left out."),
  }),
  volumes: list(volume, 'Data volumes.'),
  snapshots: section('Snapshots that the node takes by itself, and how many of each it keeps.', {
    hourly: count(168, 'One at every full hour (UTC).'),
    daily: count(366, 'One at midnight (UTC).'),
    weekly: count(520, 'One at the midnight before Monday (UTC).'),
  }),
  networks: list(network, 'Networks to attach to: eth0, eth1, in this order.'),
  ports: list(port, 'Published ports; they lead to the first network.'),
  dns: section('What /etc/resolv.conf inside says.', {
    servers: texts('Addresses of name servers, at most 3.'),
    search: texts('Domains to search, at most 6.'),
    options: texts('Such as "ndots:2", at most 6.'),
  }),
  devices: texts('Device files of the node: "/dev/fuse". The node must allow each.'),
  security: section('What a copy may do beyond the default.', {
    privileged: flag("Root inside is the host's root. The node must allow it."),
    nesting: flag('Containers may run inside.'),
    ownIdRange: flag('Host ids that no other guest has, also where that costs a copy of the image.'),
    addCapabilities: texts('Beyond the default: "CAP_NET_ADMIN".'),
    dropCapabilities: texts('Of the default, to go without.'),
  }),
  startOrder: count(1000, 'Lower starts first after a reboot of the node.'),
  lxc: stringMap('Keys for the lxc runtime, from a short list: "lxc.pty.max".'),
  vm: vmSection,
  cluster: clusterSection,
} as const;
