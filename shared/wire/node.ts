import { DroverError } from '#shared/errors.ts';
import type {
  Condition as WireCondition,
  Image as WireImage,
  NodeCapacity as WireNodeCapacity,
  NodeFacts as WireNodeFacts,
  PoolFacts as WirePoolFacts,
  RuntimeFacts as WireRuntimeFacts,
} from '#shared/gen/drover/model/v1/model.ts';
import type {
  Condition,
  Image,
  NodeCapacity,
  NodeFacts,
  NodeName,
  PoolFacts,
  RuntimeFacts,
} from '#shared/model.ts';
import {
  type Faults,
  checkCount,
  checkDevice,
  checkLabels,
  checkLine,
  checkName,
  collectFaults,
  ownRecord,
  parseDigest,
  show,
} from '#shared/wire/checks.ts';
import { cleanLine } from '#shared/wire/instance.ts';

/** invalid-argument with every fault. */
export function parseNodeFacts(message: WireNodeFacts | undefined): NodeFacts {
  if (message === undefined) throw new DroverError('invalid-argument', 'facts are missing');
  const faults = collectFaults();
  const line = (text: string, field: string): string => checkLine(cleanLine(text), 1024, field, faults);
  const facts: NodeFacts = {
    name: checkName(message.name, 'name', faults) as NodeName,
    architecture: line(message.architecture, 'architecture'),
    os: line(message.os, 'os'),
    kernel: line(message.kernel, 'kernel'),
    cgroups: line(message.cgroups, 'cgroups'),
    cpuCount: message.cpuCount,
    memoryMib: message.memoryMib,
    diskMib: message.diskMib,
    runtimes: message.runtimes.slice(0, 32).map((one) => parseRuntimeFacts(one, faults)),
    labels: checkLabels(message.labels, 'labels', faults),
    agentVersion: line(message.agentVersion, 'agentVersion'),
    extra: ownRecord(
      Object.entries(message.extra)
        .slice(0, 64)
        .map(([key, value]) => [line(key, 'extra'), line(value, `extra.${key.slice(0, 40)}`)] as const),
    ),
    pools: message.pools.slice(0, 64).map((one) => parsePoolFacts(one, faults)),
    allowedDevices: message.allowedDevices
      .slice(0, 64)
      .map((one) => checkDevice(one, 'allowedDevices', faults)),
    allowsPrivileged: message.allowsPrivileged,
    bridges: message.bridges.slice(0, 1024).map((one) => checkInterface(one, 'bridges', faults)),
  };
  faults.throwIfAny('facts');
  return facts;
}

/** A name that the kernel gives an interface, as far as hypervisors make use of it. */
function checkInterface(text: string, field: string, faults: Faults): string {
  if (!/^[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,13}[A-Za-z0-9_])?$/.test(text))
    faults.add(field, `${show(text)} is not the name of an interface`);
  return text;
}

function parsePoolFacts(message: WirePoolFacts, faults: Faults): PoolFacts {
  const line = (text: string, field: string): string =>
    checkLine(cleanLine(text).slice(0, 2048), 2048, `pools.${field}`, faults);
  return {
    name: checkName(message.name, 'pools.name', faults),
    driver: checkName(message.driver, 'pools.driver', faults),
    version: line(message.version, 'version'),
    healthy: message.healthy,
    detail: line(message.detail, 'detail'),
    capabilities: message.capabilities
      .slice(0, 64)
      .map((one) => checkName(one, 'pools.capabilities', faults)),
    sizeMib: message.sizeMib,
  };
}

function parseRuntimeFacts(message: WireRuntimeFacts, faults: Faults): RuntimeFacts {
  return {
    name: checkName(message.name, 'runtimes.name', faults),
    version: checkLine(cleanLine(message.version), 256, 'runtimes.version', faults),
    healthy: message.healthy,
    detail: checkLine(cleanLine(message.detail).slice(0, 2048), 2048, 'runtimes.detail', faults),
    capabilities: message.capabilities
      .slice(0, 64)
      .map((one) => checkName(one, 'runtimes.capabilities', faults)),
  };
}

export const formatNodeFacts = (facts: NodeFacts): WireNodeFacts => ({
  ...facts,
  runtimes: facts.runtimes.map((one) => ({ ...one, capabilities: [...one.capabilities] })),
  labels: { ...facts.labels },
  extra: { ...facts.extra },
  pools: facts.pools.map((one) => ({ ...one, capabilities: [...one.capabilities] })),
  allowedDevices: [...facts.allowedDevices],
  bridges: [...(facts.bridges ?? [])],
});

/** Unset: nothing is known, so nothing is free. Agents know of no others. */
export const parseNodeCapacity = (message: WireNodeCapacity | undefined): NodeCapacity => ({
  memoryAvailableMib: message?.memoryAvailableMib ?? 0,
  diskFreeMib: message?.diskFreeMib ?? 0,
  cpuUsedMillicores: message?.cpuUsedMillicores ?? 0,
  instances: message?.instances ?? 0,
  pools: message?.pools.slice(0, 64).map(({ name, freeMib }) => ({ name, freeMib })) ?? [],
});

export const formatNodeCapacity = ({ others, ...capacity }: NodeCapacity): WireNodeCapacity => ({
  ...capacity,
  pools: capacity.pools.map((one) => ({ ...one })),
  othersMemoryMib: others?.memoryMib,
});

/** invalid-argument. */
export function parseCondition(message: WireCondition): Condition {
  const faults = collectFaults();
  const condition: Condition = {
    type: checkLine(message.type, 64, 'type', faults),
    holds: message.holds,
    reason: checkLine(cleanLine(message.reason), 128, 'reason', faults),
    message: cleanLine(message.message).slice(0, 2048),
    sinceMs: checkCount(message.sinceMs, 'sinceMs', faults),
  };
  faults.throwIfAny('condition');
  return condition;
}

export const formatCondition = (condition: Condition): WireCondition => ({
  ...condition,
  sinceMs: BigInt(Math.round(condition.sinceMs)),
});

/** invalid-argument. */
export function parseImage(message: WireImage): Image {
  const faults = collectFaults();
  const image: Image = {
    digest: parseDigest(message.digest),
    references: message.references.slice(0, 100).map((one) => checkLine(one, 512, 'references', faults)),
    sizeBytes: checkCount(message.sizeBytes, 'sizeBytes', faults),
    lastUsedAtMs: checkCount(message.lastUsedAtMs, 'lastUsedAtMs', faults),
    ready: message.ready,
    usedBy: message.usedBy,
    pinned: message.pinned,
  };
  faults.throwIfAny('image');
  return image;
}

export const formatImage = (image: Image): WireImage => ({
  ...image,
  references: [...image.references],
  sizeBytes: BigInt(Math.round(image.sizeBytes)),
  lastUsedAtMs: BigInt(Math.round(image.lastUsedAtMs)),
});
