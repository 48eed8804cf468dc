import { stringify } from 'yaml';
import {
  PlacementStrategy,
  type WorkloadDocument,
  type WorkloadSpec,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import {
  type ClusterOptions,
  type GuestConfig,
  NetworkMode,
  RestartPolicy,
  type VmOptions,
} from '#shared/gen/drover/model/v1/model.ts';
import { formatCpu, formatMib } from '#shared/units.ts';
import { defaultStopGraceMs } from '#shared/wire/workload.ts';

type Section = Readonly<Record<string, unknown>>;

/** A document as a person would have written it: what is as it is by itself is left out. */
export const writeDocument = (document: WorkloadDocument): string => stringify(fileOf(document)).trimEnd();

/** A file for apply: what is no spec stands in comments before it. */
export const writeAnnotated = (notes: readonly string[], document: WorkloadDocument | undefined): string =>
  [
    ...notes.map((note) => `# ${note.replaceAll(/[\r\n]+/g, ' ')}`),
    ...(document === undefined ? [] : [writeDocument(document)]),
  ].join('\n');

/** The other way round than formatDocument. */
export function fileOf({ metadata, spec }: WorkloadDocument): Section {
  return said({
    kind: 'Workload',
    name: metadata?.name ?? '',
    labels: metadata?.labels,
    annotations: metadata?.annotations,
    ...(spec === undefined ? {} : specOf(spec)),
  });
}

const networkNames: Readonly<Record<number, string>> = {
  [NetworkMode.NETWORK_MODE_HOST]: 'host',
  [NetworkMode.NETWORK_MODE_BRIDGED]: 'bridged',
};
const policyNames: Readonly<Record<number, string>> = {
  [RestartPolicy.RESTART_POLICY_NEVER]: 'never',
  [RestartPolicy.RESTART_POLICY_ON_FAILURE]: 'on-failure',
};

function specOf(spec: WorkloadSpec): Section {
  const { resources, restart, placement, guest, update, stopGraceMs } = spec;
  const isImplied = (guest?.networks.length ?? 0) > 0;
  const isMachine = spec.runtime === 'proxmox-vm' || guest?.vm !== undefined;
  return {
    image: spec.image,
    imageCredential: spec.imageCredential,
    runtime: spec.runtime,
    replicas: spec.replicas === 1 ? undefined : spec.replicas || isZero,
    command: spec.command,
    env: spec.env,
    user: spec.user,
    workingDir: spec.workingDir,
    resources: said({
      cpu: amount(resources?.cpuMillicores, formatCpu),
      memory: amount(resources?.memoryMib, formatMib),
      disk: amount(resources?.diskMib, formatMib),
      pids: resources?.pids === 4096 ? 0 : resources?.pids,
    }),
    network: isImplied ? '' : (networkNames[spec.network] ?? ''),
    ...(guest === undefined ? {} : guestOf(guest)),
    restart: said({ policy: policyNames[restart?.policy ?? 0] ?? '', maxAttempts: restart?.maxAttempts }),
    placement: said({
      require: placement?.require,
      strategy: placement?.strategy === PlacementStrategy.PLACEMENT_STRATEGY_BIN_PACK ? 'bin-pack' : '',
    }),
    update: said({ readyAfter: duration(update?.readyAfterMs, 1000) }),
    stop: said({ grace: duration(stopGraceMs, defaultStopGraceMs(isMachine)) }),
  };
}

const guestOf = (guest: GuestConfig): Section => ({
  root: said({ pool: guest.rootPool }),
  volumes: guest.volumes.map(({ name, mountPath, sizeMib, pool, readOnly, keep }) =>
    said({ name, mount: mountPath, size: amount(sizeMib, formatMib), pool, readOnly, keep }),
  ),
  snapshots: said({ ...guest.snapshots }),
  networks: guest.networks.map(({ network, addresses }) =>
    addresses.length === 0 ? network : { name: network, addresses },
  ),
  ports: guest.ports.map(({ hostPort, guestPort, protocol, hostAddress }) =>
    said({ guest: guestPort, host: hostPort, protocol: protocol === 'tcp' ? '' : protocol, hostAddress }),
  ),
  dns: said({ ...guest.dns }),
  devices: guest.devices,
  security: said({ ...guest.security }),
  startOrder: guest.startOrder,
  lxc: guest.lxcKeys,
  vm: guest.vm && there(vmOf(guest.vm)),
  cluster: guest.cluster && there(clusterOf(guest.cluster)),
});

const vmOf = ({ balloonMib, agent, kvm, bios, clone, cloudInit, disk, ...plain }: VmOptions): Section =>
  said({
    ...plain,
    balloon: amount(balloonMib, formatMib),
    agent: agent === false ? isFalse : undefined,
    kvm: kvm === false ? isFalse : undefined,
    bios: bios === 'seabios' ? '' : bios,
    clone: clone === 'full' ? '' : clone,
    cloudInit: cloudInit && there(said({ ...cloudInit })),
    disk: disk && said({ ...disk, bus: disk.bus === 'scsi' ? '' : disk.bus }),
  });

const clusterOf = ({ onBoot, features, ...plain }: ClusterOptions): Section =>
  said({
    ...plain,
    onBoot: onBoot === false ? isFalse : undefined,
    features: features && said({ ...features }),
  });

/** What says something although it is nothing. */
const [isFalse, isZero, isEmpty] = [Symbol('false'), Symbol('0'), Symbol('{}')];
const spoken = new Map<unknown, unknown>([
  [isFalse, false],
  [isZero, 0],
  [isEmpty, {}],
]);

/** A section that is there says so, also when it says nothing else. */
const there = (section: Section): Section | symbol => (Object.keys(section).length === 0 ? isEmpty : section);

/** Without what says nothing. */
function said(section: Section): Section {
  const entries = Object.entries(section).filter(([, value]) => {
    if (value === undefined || value === null || value === '' || value === 0 || value === false) return false;
    return typeof value !== 'object' || Object.keys(value).length > 0;
  });
  return Object.fromEntries(
    entries.map(([key, value]) => [key, spoken.has(value) ? spoken.get(value) : value]),
  );
}

const amount = (value: number | undefined, format: (value: number) => string): string =>
  value === undefined || value === 0 ? '' : format(value);

function duration(ms: number | undefined, plainMs: number): string {
  if (ms === undefined || ms === plainMs) return '';
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}
