import { NetworkDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';

/** The shape that the schema has let through. */
interface NetworkFile {
  readonly name: string;
  readonly project?: string;
  readonly labels?: object;
  readonly annotations?: object;
  readonly bridge?: string;
  readonly subnets?: { cidr: string; gateway?: string; first?: string; last?: string }[];
  readonly mtu?: number;
  readonly vlan?: number;
  readonly masquerade?: boolean;
  readonly nodePrivate?: boolean;
  readonly dns?: { servers?: string[]; search?: string[]; options?: string[] };
  readonly routes?: { destination: string; via: string }[];
}

/** A document without faults, as a message. */
export function formatNetworkDocument(value: Record<string, unknown>): NetworkDocument {
  const file = value as unknown as NetworkFile;
  const { name, project = '', labels, annotations } = file;
  const { bridge = '', subnets = [], mtu = 0, vlan = 0, masquerade = false, nodePrivate = false } = file;
  const { dns = {}, routes = [] } = file;
  return NetworkDocument.fromPartial({
    metadata: { name, project, labels: textMap(labels), annotations: textMap(annotations) },
    spec: { bridge, subnets, mtu, vlan, masquerade, nodePrivate, dns, routes },
  });
}

const textMap = (value: object | undefined): Record<string, string> =>
  Object.fromEntries(Object.entries(value ?? {}).map(([key, one]) => [key, String(one)]));
