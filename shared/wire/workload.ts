import { DroverError, isKind } from '#shared/errors.ts';
import {
  PlacementStrategy as WireStrategy,
  type Placement as WirePlacement,
  type WorkloadDocument as WireWorkloadDocument,
  type WorkloadSpec as WireWorkloadSpec,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Metadata as WireMetadata } from '#shared/gen/drover/model/v1/model.ts';
import type { Metadata, Placement, WorkloadSpec } from '#shared/model.ts';
import { parseSelector, type Selector } from '#shared/selector.ts';
import {
  type Faults,
  checkAnnotations,
  checkCommand,
  checkCount,
  checkEnv,
  checkImage,
  checkLabels,
  checkName,
  checkProject,
  checkRange,
  checkUser,
  checkWorkingDir,
  collectFaults,
  optionalName,
} from '#shared/wire/checks.ts';
import { checkGuestConfig } from '#shared/wire/guest-config.ts';
import {
  checkNetwork,
  checkResources,
  checkRestart,
  formatCopySpec,
  stopGraceMsMax,
} from '#shared/wire/instance.ts';

/** One document of an apply, checked. */
export interface WorkloadDocument {
  readonly project: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** The revision it must still be at; zero: whatever it is now. */
  readonly expectedRevision: number;
  readonly spec: WorkloadSpec;
}

/** What a document that says nothing gets. */
const workloadDefaults = { replicas: 1, readyAfterMs: 1000 } as const;

/** Where a spec names none. A machine whose power is cut too early loses what it has not written yet. */
export const defaultStopGraceMs = (isMachine: boolean): number => (isMachine ? 180_000 : 10_000);

export const workloadLimits = {
  replicas: 1000,
  readyAfterMs: 3_600_000,
  /** So that one transaction holds them all. */
  documents: 30,
  selectors: 20,
} as const;

/**
 * All documents of one apply. invalid-argument with the faults of all of them: paths as in the YAML,
 * "resources.memory"; where there are several documents, "documents[1].resources.memory".
 */
export function parseWorkloadDocuments(messages: readonly WireWorkloadDocument[]): WorkloadDocument[] {
  const faults = collectFaults();
  checkRange(messages.length, [1, workloadLimits.documents], 'documents', faults);
  const parsed = checkWorkloadDocuments(messages, messages.length > 1, faults);
  faults.throwIfAny(parsed.length === 1 ? `workload ${JSON.stringify(parsed[0]?.name)}` : 'documents');
  return parsed;
}

/** `isOneOfMany`: every fault names its document. */
export function checkWorkloadDocuments(
  messages: readonly WireWorkloadDocument[],
  isOneOfMany: boolean,
  faults: Faults,
): WorkloadDocument[] {
  const parsed = messages.slice(0, workloadLimits.documents).map((message, place) => {
    const prefix = isOneOfMany ? `documents[${place}].` : '';
    return checkWorkloadDocument(message, prefix, faults);
  });
  const seen = new Set<string>();
  for (const [place, { name }] of parsed.entries()) {
    if (seen.has(name)) faults.add(`documents[${place}].name`, `"${name}" is there twice`);
    seen.add(name);
  }
  return parsed;
}

/** One document alone. invalid-argument with all its faults. */
export function parseWorkloadDocument(message: WireWorkloadDocument): WorkloadDocument {
  const [document] = parseWorkloadDocuments([message]);
  if (document === undefined) throw new DroverError('invalid-argument', 'the document is missing');
  return document;
}

function checkWorkloadDocument(
  { metadata, spec }: WireWorkloadDocument,
  prefix: string,
  faults: Faults,
): WorkloadDocument {
  const within = (field: string): string => `${prefix}${field}`;
  return {
    project: checkProject(metadata?.project ?? '', within('project'), faults),
    name: checkName(metadata?.name ?? '', within('name'), faults),
    labels: checkLabels(metadata?.labels ?? {}, within('labels'), faults),
    annotations: checkAnnotations(metadata?.annotations ?? {}, within('annotations'), faults),
    expectedRevision: checkCount(metadata?.revision ?? 0n, within('revision'), faults),
    spec: checkWorkloadSpec(spec ?? emptySpec, prefix, faults),
  };
}

const emptySpec = { image: '', runtime: '', command: [], env: {}, network: 0, user: '' } as const;
type SpecMessage = Pick<WireWorkloadSpec, 'image'> &
  Partial<Omit<WireWorkloadSpec, 'command'>> & {
    readonly command?: readonly string[];
  };

function checkWorkloadSpec(message: SpecMessage, prefix: string, faults: Faults): WorkloadSpec {
  const within = (field: string): string => `${prefix}${field}`;
  const range = (value: number, most: number, field: string): number =>
    checkRange(value, [0, most], within(field), faults);
  const { replicas, readyAfterMs } = workloadDefaults;
  const isMachine = message.runtime === 'proxmox-vm' || message.guest?.vm !== undefined;
  const stopGraceMs = message.stopGraceMs ?? defaultStopGraceMs(isMachine);
  const network = checkNetwork(message.network ?? 0, within('network'), faults);
  return {
    ...checkGuestConfig(message.guest, network, prefix, faults),
    image: checkImage(message.image, within('image'), faults),
    runtime: optionalName(message.runtime ?? '', within('runtime'), faults),
    replicas: range(message.replicas ?? replicas, workloadLimits.replicas, 'replicas'),
    command: checkCommand(message.command ?? [], within('command'), faults),
    env: checkEnv(message.env ?? {}, within('env'), faults),
    resources: checkResources(message.resources, within('resources'), faults),
    network,
    restart: checkRestart(message.restart, within('restart'), faults),
    placement: checkPlacement(message.placement, within('placement'), faults),
    update: {
      readyAfterMs: range(
        message.update?.readyAfterMs ?? readyAfterMs,
        workloadLimits.readyAfterMs,
        'update.readyAfter',
      ),
    },
    stopGraceMs: range(stopGraceMs, stopGraceMsMax, 'stop.grace'),
    user: checkUser(message.user ?? '', within('user'), faults),
    workingDir: checkWorkingDir(message.workingDir ?? '', within('workingDir'), faults),
    imageCredential: optionalName(message.imageCredential ?? '', within('imageCredential'), faults),
  };
}

const strategies = {
  spread: WireStrategy.PLACEMENT_STRATEGY_SPREAD,
  'bin-pack': WireStrategy.PLACEMENT_STRATEGY_BIN_PACK,
} as const;

function checkPlacement(message: WirePlacement | undefined, field: string, faults: Faults): Placement {
  const { require = [], strategy = WireStrategy.PLACEMENT_STRATEGY_UNSPECIFIED } = message ?? {};
  if (require.length > workloadLimits.selectors)
    faults.add(`${field}.require`, `has ${require.length} selectors; at most ${workloadLimits.selectors}`);
  checkSelectors(require.slice(0, workloadLimits.selectors), `${field}.require`, faults);
  const known: readonly number[] = [
    WireStrategy.PLACEMENT_STRATEGY_UNSPECIFIED,
    ...Object.values(strategies),
  ];
  if (!known.includes(strategy))
    faults.add(`${field}.strategy`, `strategy ${strategy} is not known here; wanted "spread" or "bin-pack"`);
  return { require: [...require], strategy: strategy === strategies['bin-pack'] ? 'bin-pack' : 'spread' };
}

function checkSelectors(texts: readonly string[], field: string, faults: Faults): Selector[] {
  return texts.flatMap((text, place) => {
    try {
      return [parseSelector(text)];
    } catch (error) {
      if (!isKind(error, 'invalid-argument')) throw error;
      faults.add(`${field}[${place}]`, error.message);
      return [];
    }
  });
}

/** The selectors of a list request. invalid-argument with every fault. */
export function parseSelectors(texts: readonly string[]): Selector[] {
  const faults = collectFaults();
  const { selectors: most } = workloadLimits;
  if (texts.length > most) faults.add('selectors', `has ${texts.length}; at most ${most}`);
  const selectors = checkSelectors(texts.slice(0, most), 'selectors', faults);
  faults.throwIfAny('selectors');
  return selectors;
}

/** invalid-argument with every fault, paths as in the YAML. */
export function parseWorkloadSpec(message: WireWorkloadSpec | undefined): WorkloadSpec {
  const faults = collectFaults();
  const spec = checkWorkloadSpec(message ?? emptySpec, '', faults);
  faults.throwIfAny('workload');
  return spec;
}

export const formatWorkloadSpec = (spec: WorkloadSpec): WireWorkloadSpec => ({
  ...formatCopySpec(spec),
  image: spec.image,
  runtime: spec.runtime,
  replicas: spec.replicas,
  placement: {
    require: [...spec.placement.require],
    strategy: strategies[spec.placement.strategy],
  },
  update: { ...spec.update },
});

export const formatMetadata = (metadata: Metadata): WireMetadata => ({
  ...metadata,
  labels: { ...metadata.labels },
  annotations: { ...metadata.annotations },
  revision: BigInt(metadata.revision),
  generation: BigInt(metadata.generation),
  createdAtMs: BigInt(Math.round(metadata.createdAtMs)),
});
