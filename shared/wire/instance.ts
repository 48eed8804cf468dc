import { DroverError } from '#shared/errors.ts';
import {
  NetworkMode as WireNetworkMode,
  Phase as WirePhase,
  RestartPolicy as WireRestartPolicy,
  type ExitStatus as WireExitStatus,
  type InstanceSpec as WireInstanceSpec,
  type InstanceState as WireInstanceState,
  type PlacementBond as WirePlacementBond,
  type Resources as WireResources,
  type Restart as WireRestart,
} from '#shared/gen/drover/model/v1/model.ts';
import type { Order as WireOrder } from '#shared/gen/drover/runtime/v1/runtime.ts';
import type {
  CopySpec,
  ExitStatus,
  InstanceSpec,
  InstanceState,
  NetworkMode,
  Order,
  Phase,
  PlacementBond,
  Resources,
  Restart,
  RestartPolicy,
} from '#shared/model.ts';
import {
  type Faults,
  checkCommand,
  checkCount,
  checkEnv,
  checkLine,
  checkName,
  checkPinnedImage,
  checkRange,
  checkUser,
  checkUuid,
  checkWorkingDir,
  collectFaults,
  optionalName,
  optionalPool,
  parseInstanceId,
} from '#shared/wire/checks.ts';
import { checkGuestConfig, formatGuestConfig } from '#shared/wire/guest-config.ts';
import { checkAddress, checkAssignment, formatAssignment } from '#shared/wire/network.ts';

/** Processes and threads, where a spec does not say. */
export const defaultPids = 4096;

const phases: Readonly<Record<Phase, WirePhase>> = {
  preparing: WirePhase.PHASE_PREPARING,
  running: WirePhase.PHASE_RUNNING,
  exited: WirePhase.PHASE_EXITED,
  'backing-off': WirePhase.PHASE_BACKING_OFF,
  stopped: WirePhase.PHASE_STOPPED,
  stopping: WirePhase.PHASE_STOPPING,
  failed: WirePhase.PHASE_FAILED,
  unknown: WirePhase.PHASE_UNKNOWN,
  paused: WirePhase.PHASE_PAUSED,
};
const networks: Readonly<Record<NetworkMode, WireNetworkMode>> = {
  none: WireNetworkMode.NETWORK_MODE_NONE,
  host: WireNetworkMode.NETWORK_MODE_HOST,
  bridged: WireNetworkMode.NETWORK_MODE_BRIDGED,
};
const policies: Readonly<Record<RestartPolicy, WireRestartPolicy>> = {
  never: WireRestartPolicy.RESTART_POLICY_NEVER,
  'on-failure': WireRestartPolicy.RESTART_POLICY_ON_FAILURE,
  always: WireRestartPolicy.RESTART_POLICY_ALWAYS,
};

function nameOf<Name extends string>(table: Readonly<Record<Name, number>>, value: number): Name | undefined {
  return (Object.keys(table) as Name[]).find((name) => table[name] === value);
}

/** A phase of a newer agent is unknown to us, and so never taken for absent or ended. */
export const parsePhase = (value: WirePhase): Phase => nameOf(phases, value) ?? 'unknown';

export function checkNetwork(value: WireNetworkMode, field: string, faults: Faults): NetworkMode {
  if (value === WireNetworkMode.NETWORK_MODE_UNSPECIFIED) return 'none';
  const found = nameOf(networks, value);
  if (found === undefined)
    faults.add(field, `network mode ${value} is not known here; wanted "none", "host" or "bridged"`);
  return found ?? 'none';
}
export const formatNetwork = (mode: NetworkMode): WireNetworkMode => networks[mode];

export function checkRestart(value: WireRestart | undefined, field: string, faults: Faults): Restart {
  const { policy, maxAttempts } = value ?? {
    policy: WireRestartPolicy.RESTART_POLICY_UNSPECIFIED,
    maxAttempts: 0,
  };
  if (policy === WireRestartPolicy.RESTART_POLICY_UNSPECIFIED) return { policy: 'always', maxAttempts };
  const found = nameOf(policies, policy);
  if (found === undefined) {
    faults.add(
      `${field}.policy`,
      `policy ${policy} is not known here; wanted "never", "on-failure" or "always"`,
    );
  }
  return { policy: found ?? 'always', maxAttempts };
}
export const formatRestart = ({ policy, maxAttempts }: Restart): WireRestart => ({
  policy: policies[policy],
  maxAttempts,
});

export function checkResources(value: WireResources | undefined, field: string, faults: Faults): Resources {
  const { cpuMillicores = 0, memoryMib = 0, diskMib = 0, pids = 0 } = value ?? {};
  checkRange(cpuMillicores, [0, 1_000_000], `${field}.cpu`, faults);
  checkRange(memoryMib, [0, 2 ** 26], `${field}.memory`, faults);
  if (memoryMib !== 0 && memoryMib < 4)
    faults.add(`${field}.memory`, `${memoryMib}MiB is too little; at least 4MiB`);
  checkRange(diskMib, [0, 2 ** 31], `${field}.disk`, faults);
  checkRange(pids, [0, 4_194_304], `${field}.pids`, faults);
  return { cpuMillicores, memoryMib, diskMib, pids: pids === 0 ? defaultPids : pids };
}
export const formatResources = (resources: Resources): WireResources => ({ ...resources });

/** The longest stop: a grace of an hour. */
export const stopGraceMsMax = 3_600_000;

/** invalid-argument with every fault. */
export function parseInstanceSpec(message: WireInstanceSpec | undefined): InstanceSpec {
  if (message === undefined) throw new DroverError('invalid-argument', 'spec is missing');
  const faults = collectFaults();
  const network = checkNetwork(message.network, 'network', faults);
  const spec: InstanceSpec = {
    ...checkGuestConfig(message.guest, network, '', faults),
    runtime: checkName(message.runtime, 'runtime', faults),
    image: checkPinnedImage(message.image, 'image', faults),
    command: checkCommand(message.command, 'command', faults),
    env: checkEnv(message.env, 'env', faults),
    resources: checkResources(message.resources, 'resources', faults),
    network,
    restart: checkRestart(message.restart, 'restart', faults),
    stopGraceMs: checkRange(message.stopGraceMs, [0, stopGraceMsMax], 'stop.grace', faults),
    displayName: checkDisplayName(message.displayName, faults),
    workload: checkName(message.workload, 'workload', faults),
    user: checkUser(message.user, 'user', faults),
    workingDir: checkWorkingDir(message.workingDir, 'workingDir', faults),
    imageCredential: optionalName(message.imageCredential, 'imageCredential', faults),
    assigned: checkAssignment(message.assigned, faults),
  };
  faults.throwIfAny('spec');
  return spec;
}

/** A DNS label: it is the host name inside. */
function checkDisplayName(text: string, faults: Faults): string {
  if (!/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text)) faults.add('displayName', 'is not a DNS label');
  return text;
}

export const formatInstanceSpec = (spec: InstanceSpec): WireInstanceSpec => ({
  ...formatCopySpec(spec),
  runtime: spec.runtime,
  image: spec.image,
  displayName: spec.displayName,
  workload: spec.workload,
  assigned: formatAssignment(spec.assigned),
});

/** What the messages of a workload and of an instance have alike. */
export const formatCopySpec = (spec: CopySpec) => ({
  command: [...spec.command],
  env: { ...spec.env },
  resources: formatResources(spec.resources),
  network: formatNetwork(spec.network),
  restart: formatRestart(spec.restart),
  stopGraceMs: spec.stopGraceMs,
  user: spec.user,
  workingDir: spec.workingDir,
  imageCredential: spec.imageCredential,
  guest: formatGuestConfig(spec),
});

/** invalid-argument. What an agent reports is checked like any other input; it has no say in bonds. */
export function parseInstanceState(message: WireInstanceState | undefined): InstanceState {
  if (message === undefined) throw new DroverError('invalid-argument', 'state is missing');
  const faults = collectFaults();
  const instanceId = parseInstanceId(message.instanceId);
  const state: InstanceState = {
    instanceId,
    generation: checkCount(message.generation, 'generation', faults),
    phase: parsePhase(message.phase),
    pid: message.pid,
    startedAtMs: checkCount(message.startedAtMs, 'startedAtMs', faults),
    exit: message.exit && parseExitStatus(message.exit),
    restarts: message.restarts,
    nextStartAtMs: checkCount(message.nextStartAtMs, 'nextStartAtMs', faults),
    message: checkLine(cleanLine(message.message), 4096, 'message', faults),
    limits: message.limits && { ...message.limits },
    notEnforced: message.notEnforced.map((name) => checkName(name, 'notEnforced', faults)),
    displayName: checkLine(message.displayName, 64, 'displayName', faults),
    addresses: message.addresses.slice(0, 32).map((one) => checkAddress(one, 'addresses', faults)),
    rootPool: optionalPool(message.rootPool, 'rootPool', faults),
  };
  faults.throwIfAny(`state of ${instanceId}`);
  return state;
}

export const formatInstanceState = (state: InstanceState, spec?: InstanceSpec): WireInstanceState => ({
  instanceId: state.instanceId,
  generation: BigInt(state.generation),
  phase: phases[state.phase],
  pid: state.pid,
  startedAtMs: BigInt(Math.round(state.startedAtMs)),
  exit: state.exit && formatExitStatus(state.exit),
  restarts: state.restarts,
  nextStartAtMs: BigInt(Math.round(state.nextStartAtMs)),
  message: cleanLine(state.message).slice(0, 4096),
  limits: state.limits && formatResources(state.limits),
  notEnforced: [...state.notEnforced],
  displayName: state.displayName,
  addresses: [...state.addresses],
  rootPool: state.rootPool,
  bonds: (state.bonds ?? []).map(formatBond),
  spec: spec && formatInstanceSpec(spec),
});

const formatBond = ({ kind, nodes, because }: PlacementBond): WirePlacementBond => ({
  kind,
  nodes: [...nodes],
  because: cleanLine(because).slice(0, 4096),
});

/** A tool's words on one line: every control character becomes a space. */
export function cleanLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what it looks for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/g, ' ').trim();
}

export const parseExitStatus = (message: WireExitStatus): ExitStatus => ({
  code: message.code,
  unknown: message.unknown,
  outOfMemory: message.outOfMemory,
  atMs: Number(message.atMs),
});

export const formatExitStatus = (exit: ExitStatus): WireExitStatus => ({
  ...exit,
  atMs: BigInt(Math.round(exit.atMs)),
});

/** invalid-argument. */
export function parseOrder(message: WireOrder | undefined): Order {
  if (message === undefined) throw new DroverError('invalid-argument', 'order is missing');
  const faults = collectFaults();
  const order: Order = {
    fleetId: checkUuid(message.fleetId, 'order.fleetId', faults),
    fleetEpoch: checkCount(message.fleetEpoch, 'order.fleetEpoch', faults),
    instanceId: parseInstanceId(message.instanceId),
    generation: checkCount(message.generation, 'order.generation', faults),
    requestId: checkUuid(message.requestId, 'order.requestId', faults),
  };
  faults.throwIfAny('order');
  return order;
}

export const formatOrder = (order: Order): WireOrder => ({
  ...order,
  fleetEpoch: BigInt(order.fleetEpoch),
  generation: BigInt(order.generation),
});
