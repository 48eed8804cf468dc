import type {
  GuestConfig as WireGuestConfig,
  Security as WireSecurity,
  VolumeClaim as WireVolumeClaim,
} from '#shared/gen/drover/model/v1/model.ts';
import type {
  GuestConfig,
  NetworkMode,
  NetworkUse,
  PublishedPort,
  Security,
  SnapshotSchedule,
  VolumeClaim,
} from '#shared/model.ts';
import {
  type Faults,
  atMost,
  checkDevice,
  checkLine,
  checkName,
  checkRange,
  checkWorkingDir,
  optionalPool,
  ownRecord,
  show,
} from '#shared/wire/checks.ts';
import { checkClusterOptions, formatClusterOptions } from '#shared/wire/cluster-options.ts';
import { checkVmOptions, formatVmOptions } from '#shared/wire/vm-options.ts';
import { checkAddress, checkDns, checkPort, formatDns, portsClash } from '#shared/wire/network.ts';

/** What a spec that says nothing of it gets. */
export const plainGuestConfig: GuestConfig = {
  rootPool: '',
  volumes: [],
  snapshots: { hourly: 0, daily: 0, weekly: 0 },
  networks: [],
  ports: [],
  dns: { servers: [], search: [], options: [] },
  devices: [],
  security: {
    privileged: false,
    nesting: false,
    ownIdRange: false,
    addCapabilities: [],
    dropCapabilities: [],
  },
  startOrder: 0,
  lxcKeys: {},
};

export const guestConfigLimits = {
  volumes: 16,
  networks: 8,
  ports: 64,
  devices: 16,
  capabilities: 64,
  addresses: 1000,
  snapshots: { hourly: 168, daily: 366, weekly: 520 },
  startOrder: 1000,
  lxcKeys: 32,
} as const;

type WireConfig = Partial<WireGuestConfig>;

/** `prefix` stands before every field's name in a fault. */
export function checkGuestConfig(
  message: WireConfig | undefined,
  network: NetworkMode,
  prefix: string,
  faults: Faults,
): GuestConfig {
  const within = (field: string): string => `${prefix}${field}`;
  const { volumes = [], networks = [], ports = [], devices = [] } = message ?? {};
  const most = guestConfigLimits;
  atMost(volumes, most.volumes, within('volumes'), faults);
  atMost(networks, most.networks, within('networks'), faults);
  atMost(ports, most.ports, within('ports'), faults);
  atMost(devices, most.devices, within('devices'), faults);
  if (network !== 'bridged' && networks.length > 0)
    faults.add(within('networks'), `are for guests with interfaces of their own; network is "${network}"`);
  if (network === 'bridged' && networks.length === 0)
    faults.add(within('networks'), 'is empty; wanted at least one network');
  if (networks.length === 0 && ports.length > 0)
    faults.add(within('ports'), 'need a network in networks; a guest without one has no address to lead to');
  const config: GuestConfig = {
    rootPool: optionalPool(message?.rootPool ?? '', within('root.pool'), faults),
    volumes: checkClaims(volumes.slice(0, most.volumes), within('volumes'), faults),
    snapshots: checkSchedule(message?.snapshots, within('snapshots'), faults),
    networks: checkNetworkUses(networks.slice(0, most.networks), within('networks'), faults),
    ports: ports.slice(0, most.ports).map((one, place) => checkPort(one, within(`ports[${place}]`), faults)),
    dns: checkDns(message?.dns, within('dns'), faults),
    devices: devices.map((one, place) => checkDevice(one, within(`devices[${place}]`), faults)),
    security: checkSecurity(message?.security, within('security'), faults),
    startOrder: checkRange(message?.startOrder ?? 0, [0, most.startOrder], within('startOrder'), faults),
    lxcKeys: checkLxcKeys(message?.lxcKeys ?? {}, within('lxc'), faults),
    ...said('vm', checkVmOptions(message?.vm, within('vm'), faults)),
    ...said('cluster', checkClusterOptions(message?.cluster, within('cluster'), faults)),
  };
  refuseTwice(config.devices, within('devices'), faults);
  refusePortsTwice(config.ports, within('ports'), faults);
  return config;
}

export const formatGuestConfig = (config: GuestConfig): WireGuestConfig => ({
  rootPool: config.rootPool,
  volumes: config.volumes.map((claim) => ({ ...claim })),
  snapshots: { ...config.snapshots },
  networks: config.networks.map(({ network, addresses }) => ({ network, addresses: [...addresses] })),
  ports: config.ports.map((port) => ({ ...port })),
  dns: formatDns(config.dns),
  devices: [...config.devices],
  security: {
    ...config.security,
    addCapabilities: [...config.security.addCapabilities],
    dropCapabilities: [...config.security.dropCapabilities],
  },
  startOrder: config.startOrder,
  lxcKeys: { ...config.lxcKeys },
  vm: config.vm && formatVmOptions(config.vm),
  cluster: config.cluster && formatClusterOptions(config.cluster),
});

/** What says nothing is left out: a spec with it and one without are the same. */
const said = <Key extends string, Value>(key: Key, value: Value | undefined): { [K in Key]?: Value } =>
  value === undefined ? {} : ({ [key]: value } as { [K in Key]?: Value });

function refuseTwice(texts: readonly string[], field: string, faults: Faults): void {
  for (const [place, text] of texts.entries())
    if (texts.indexOf(text) !== place) faults.add(`${field}[${place}]`, `${show(text)} is there twice`);
}

function refusePortsTwice(ports: readonly PublishedPort[], field: string, faults: Faults): void {
  for (const [place, port] of ports.entries()) {
    const clash = ports.slice(0, place).some((other) => port.hostPort !== 0 && portsClash(port, other));
    if (clash) faults.add(`${field}[${place}]`, `host port ${port.hostPort}/${port.protocol} is there twice`);
  }
}

function checkClaims(messages: readonly WireVolumeClaim[], field: string, faults: Faults): VolumeClaim[] {
  const claims = messages.map((message, place) => {
    const at = `${field}[${place}]`;
    const { mountPath, readOnly, keep } = message;
    checkWorkingDir(mountPath, `${at}.mount`, faults);
    const isPlain = /^(\/[^/]+)+$/.test(mountPath) && !mountPath.split('/').includes('.');
    if (!isPlain || /^\/(proc|sys|dev)(\/|$)/.test(mountPath))
      faults.add(
        `${at}.mount`,
        `${show(mountPath)} cannot be mounted on; wanted such as "/var/lib/data", ` +
          'not "/" nor below /proc, /sys, /dev',
      );
    return {
      name: checkName(message.name, `${at}.name`, faults),
      mountPath,
      sizeMib: checkRange(message.sizeMib, [0, 2 ** 31], `${at}.size`, faults),
      pool: optionalPool(message.pool, `${at}.pool`, faults),
      readOnly,
      keep,
    };
  });
  refuseTwice(
    claims.map(({ name }) => name),
    field,
    faults,
  );
  refuseTwice(
    claims.map(({ mountPath }) => mountPath),
    field,
    faults,
  );
  return claims;
}

function checkSchedule(
  message: Partial<SnapshotSchedule> | undefined,
  field: string,
  faults: Faults,
): SnapshotSchedule {
  const most = guestConfigLimits.snapshots;
  const count = (key: keyof SnapshotSchedule): number =>
    checkRange(message?.[key] ?? 0, [0, most[key]], `${field}.${key}`, faults);
  return { hourly: count('hourly'), daily: count('daily'), weekly: count('weekly') };
}

function checkNetworkUses(messages: readonly NetworkUse[], field: string, faults: Faults): NetworkUse[] {
  const uses = messages.map(({ network, addresses }, place) => {
    atMost(addresses, guestConfigLimits.addresses, `${field}[${place}].addresses`, faults);
    return {
      network: checkName(network, `${field}[${place}].name`, faults),
      addresses: addresses
        .slice(0, guestConfigLimits.addresses)
        .map((one, at) => checkAddress(one, `${field}[${place}].addresses[${at}]`, faults)),
    };
  });
  refuseTwice(
    uses.map(({ network }) => network),
    field,
    faults,
  );
  for (const [place, { addresses }] of uses.entries())
    refuseTwice(addresses, `${field}[${place}].addresses`, faults);
  return uses;
}

function checkSecurity(message: Partial<WireSecurity> | undefined, field: string, faults: Faults): Security {
  const { addCapabilities = [], dropCapabilities = [] } = message ?? {};
  const check = (names: readonly string[], part: string): string[] => {
    atMost(names, guestConfigLimits.capabilities, `${field}.${part}`, faults);
    for (const [place, name] of names.entries())
      if (!/^CAP_[A-Z_]{3,32}$/.test(name))
        faults.add(
          `${field}.${part}[${place}]`,
          `${show(name)} is not a capability; wanted such as "CAP_NET_ADMIN"`,
        );
    return [...names];
  };
  return {
    privileged: message?.privileged ?? false,
    nesting: message?.nesting ?? false,
    ownIdRange: message?.ownIdRange ?? false,
    addCapabilities: check(addCapabilities, 'addCapabilities'),
    dropCapabilities: check(dropCapabilities, 'dropCapabilities'),
  };
}

/** Which keys there may be is the driver's to say; here only that they are harmless text. */
function checkLxcKeys(
  keys: Readonly<Record<string, string>>,
  field: string,
  faults: Faults,
): Record<string, string> {
  const entries = Object.entries(keys);
  atMost(entries, guestConfigLimits.lxcKeys, field, faults);
  for (const [key, value] of entries) {
    const at = `${field}.${key.slice(0, 80)}`;
    if (!/^lxc\.[a-z0-9._]{1,80}$/.test(key)) faults.add(at, `${show(key)} is not a key of LXC`);
    checkLine(value, 1024, at, faults);
  }
  return ownRecord(entries);
}
