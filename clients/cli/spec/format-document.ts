import { type FieldFault, isKind } from '#shared/errors.ts';
import { PlacementStrategy, WorkloadDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { NetworkMode, RestartPolicy } from '#shared/gen/drover/model/v1/model.ts';
import { formatGuest, volumeSizeFaults } from './format-guest.ts';
import { parseCpuMillicores, parseDurationMs, parseSizeMib } from '#shared/units.ts';

const networks: Readonly<Record<string, NetworkMode>> = {
  none: NetworkMode.NETWORK_MODE_NONE,
  host: NetworkMode.NETWORK_MODE_HOST,
  bridged: NetworkMode.NETWORK_MODE_BRIDGED,
};
const policies: Readonly<Record<string, RestartPolicy>> = {
  never: RestartPolicy.RESTART_POLICY_NEVER,
  'on-failure': RestartPolicy.RESTART_POLICY_ON_FAILURE,
  always: RestartPolicy.RESTART_POLICY_ALWAYS,
};
const strategies: Readonly<Record<string, PlacementStrategy>> = {
  spread: PlacementStrategy.PLACEMENT_STRATEGY_SPREAD,
  'bin-pack': PlacementStrategy.PLACEMENT_STRATEGY_BIN_PACK,
};

/** The shape that the schema has let through. */
interface SpecFile {
  readonly [key: string]: unknown;
  readonly name: string;
  readonly image: string;
  readonly resources?: { pids?: number };
  readonly restart?: { policy?: string; maxAttempts?: number };
  readonly placement?: { require?: string[]; strategy?: string };
}

interface Quantities {
  readonly cpu: number | undefined;
  readonly memory: number | undefined;
  readonly disk: number | undefined;
  readonly balloon: number | undefined;
  readonly readyAfter: number | undefined;
  readonly grace: number | undefined;
}

/**
 * Sizes, shares and durations as numbers; undefined where the file leaves one out. Takes any value at all, so
 * that their faults are found together with those of the schema.
 */
export function readQuantities(value: Readonly<Record<string, unknown>>): {
  readonly quantities: Quantities;
  readonly faults: readonly FieldFault[];
} {
  const faults: FieldFault[] = [];
  const read = (section: string, key: string, parse: (text: string) => number): number | undefined => {
    const raw = (value[section] as Readonly<Record<string, unknown>> | null | undefined)?.[key];
    if (typeof raw !== 'string' && typeof raw !== 'number') return undefined;
    try {
      return parse(String(raw));
    } catch (error) {
      if (!isKind(error, 'invalid-argument')) throw error;
      faults.push({ field: `${section}.${key}`, message: error.message });
      return undefined;
    }
  };
  const quantities = {
    cpu: read('resources', 'cpu', parseCpuMillicores),
    memory: read('resources', 'memory', parseSizeMib),
    disk: read('resources', 'disk', parseSizeMib),
    balloon: read('vm', 'balloon', parseSizeMib),
    readyAfter: read('update', 'readyAfter', parseDurationMs),
    grace: read('stop', 'grace', parseDurationMs),
  };
  return { quantities, faults: [...faults, ...volumeSizeFaults(value)] };
}

/** A document without faults, as a message. */
export function formatDocument(value: Record<string, unknown>): WorkloadDocument {
  const file = value as unknown as SpecFile;
  const { resources = {}, restart = {}, placement = {} } = file;
  const { cpu, memory, disk, readyAfter, grace } = readQuantities(value).quantities;
  return WorkloadDocument.fromPartial({
    metadata: {
      name: file.name,
      project: text(file['project']),
      labels: stringMap(file['labels']),
      annotations: stringMap(file['annotations']),
    },
    spec: {
      image: file.image,
      runtime: text(file['runtime']),
      replicas: file['replicas'] as number | undefined,
      command: ((file['command'] as unknown[] | undefined) ?? []).map(String),
      env: stringMap(file['env']),
      resources: {
        cpuMillicores: cpu ?? 0,
        memoryMib: memory ?? 0,
        diskMib: disk ?? 0,
        pids: resources.pids ?? 0,
      },
      network: networkOf(file),
      guest: formatGuest(value),
      restart: {
        policy: policies[restart.policy ?? ''] ?? RestartPolicy.RESTART_POLICY_UNSPECIFIED,
        maxAttempts: restart.maxAttempts ?? 0,
      },
      placement: {
        require: placement.require ?? [],
        strategy: strategies[placement.strategy ?? ''] ?? PlacementStrategy.PLACEMENT_STRATEGY_UNSPECIFIED,
      },
      ...(readyAfter === undefined ? {} : { update: { readyAfterMs: readyAfter } }),
      stopGraceMs: grace,
      user: text(file['user']),
      workingDir: text(file['workingDir']),
      imageCredential: text(file['imageCredential']),
    },
  });
}

/** Whoever names networks has said the mode. */
function networkOf(file: SpecFile): NetworkMode {
  const said = networks[text(file['network'])];
  const implied = Array.isArray(file['networks']) && file['networks'].length > 0;
  return said ?? (implied ? NetworkMode.NETWORK_MODE_BRIDGED : NetworkMode.NETWORK_MODE_UNSPECIFIED);
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** YAML reads `PORT: 80` as a number; in an environment it is text. */
const stringMap = (value: unknown): Record<string, string> =>
  Object.fromEntries(
    Object.entries((value as object | undefined) ?? {}).map(([key, one]) => [key, String(one)]),
  );
