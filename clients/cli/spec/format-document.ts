import { DroverError, type FieldFault } from '#shared/errors.ts';
import { PlacementStrategy, WorkloadDocument } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { NetworkMode, RestartPolicy } from '#shared/gen/drover/model/v1/model.ts';
import { parseCpuMillicores, parseDurationMs, parseSizeMib } from '#shared/units.ts';

const networks: Readonly<Record<string, NetworkMode>> = {
  none: NetworkMode.NETWORK_MODE_NONE,
  host: NetworkMode.NETWORK_MODE_HOST,
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
  readonly resources?: { cpu?: string | number; memory?: string; disk?: string; pids?: number };
  readonly restart?: { policy?: string; maxAttempts?: number };
  readonly placement?: { require?: string[]; strategy?: string };
  readonly update?: { readyAfter?: string };
  readonly stop?: { grace?: string };
}

/** A checked document as a message; quantities that cannot be read are faults. */
export function formatDocument(value: Record<string, unknown>): {
  readonly document: WorkloadDocument;
  readonly faults: readonly FieldFault[];
} {
  const file = value as unknown as SpecFile;
  const faults: FieldFault[] = [];
  /** Undefined where the file leaves it out. */
  const read = <T>(
    field: string,
    raw: string | number | undefined,
    parse: (text: string) => T,
  ): T | undefined => {
    if (raw === undefined) return undefined;
    try {
      return parse(String(raw));
    } catch (error) {
      if (!(error instanceof DroverError)) throw error;
      faults.push({ field, message: error.message });
      return undefined;
    }
  };
  const { resources = {}, restart = {}, placement = {} } = file;
  const readyAfterMs = read('update.readyAfter', file.update?.readyAfter, parseDurationMs);
  const document = WorkloadDocument.fromPartial({
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
        cpuMillicores: read('resources.cpu', resources.cpu, parseCpuMillicores) ?? 0,
        memoryMib: read('resources.memory', resources.memory, parseSizeMib) ?? 0,
        diskMib: read('resources.disk', resources.disk, parseSizeMib) ?? 0,
        pids: resources.pids ?? 0,
      },
      network: networks[text(file['network'])] ?? NetworkMode.NETWORK_MODE_UNSPECIFIED,
      restart: {
        policy: policies[restart.policy ?? ''] ?? RestartPolicy.RESTART_POLICY_UNSPECIFIED,
        maxAttempts: restart.maxAttempts ?? 0,
      },
      placement: {
        require: placement.require ?? [],
        strategy: strategies[placement.strategy ?? ''] ?? PlacementStrategy.PLACEMENT_STRATEGY_UNSPECIFIED,
      },
      ...(readyAfterMs === undefined ? {} : { update: { readyAfterMs } }),
      stopGraceMs: read('stop.grace', file.stop?.grace, parseDurationMs),
      user: text(file['user']),
      workingDir: text(file['workingDir']),
      imageCredential: text(file['imageCredential']),
    },
  });
  return { document, faults };
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** YAML reads `PORT: 80` as a number; in an environment it is text. */
const stringMap = (value: unknown): Record<string, string> =>
  Object.fromEntries(
    Object.entries((value as object | undefined) ?? {}).map(([key, one]) => [key, String(one)]),
  );
