import { isDeepStrictEqual } from 'node:util';
import type { InstanceSpec, VmOptions } from '#shared/model.ts';
import { plainVmOptions } from '#shared/wire/vm-options.ts';
import { clusterOf } from './cluster-options.ts';
import type { Change, Configuration } from './guest-kind.ts';
import { formatProperties, isOn, mergeProperties, numberOf, parseProperties, textOf } from './properties.ts';
import {
  balloonMibOf,
  defaultMemoryMib,
  foundProcessors,
  memoryMibOf,
  wantedProcessors,
} from './qemu-processors.ts';
import { ownTags, tagsWith } from './tags.ts';

export type Scalar = string | number | boolean;

/** One value of a configuration. Undefined: the key is not there, or says what is so anyway. */
interface Option {
  readonly key: string;
  /** The sub-key that it is about, which may stand without its name; the others stay. Left out: all of it. */
  readonly part?: string;
  readonly wanted: (spec: InstanceSpec) => Scalar | undefined;
  readonly found: (config: Configuration, spec: InstanceSpec) => Scalar | undefined;
}

export const vmOf = ({ vm }: Pick<InstanceSpec, 'vm'>): VmOptions => vm ?? plainVmOptions;

const partOf = (key: string, part: string) => (config: Configuration) =>
  parseProperties(textOf(config[key]), part).get(part) || undefined;
const onOrUndefined = (key: string) => (config: Configuration) => isOn(config[key]) || undefined;
const isOff = (value: unknown): boolean => value !== undefined && !isOn(value);

/** Whether it starts when its node boots. */
const startsOnBoot = (spec: InstanceSpec): boolean =>
  spec.restart.policy !== 'never' && clusterOf(spec).onBoot;

/** The cluster keeps Windows to the version of its machine that it began with: that is no other kind. */
function foundMachine(config: Configuration, spec: InstanceSpec): string | undefined {
  const found = partOf('machine', 'type')(config);
  const { osType, machine } = vmOf(spec);
  const pinned = osType.startsWith('w') ? /^pc-(i440fx|q35)-\d/.exec(found ?? '')?.[1] : undefined;
  const plain = pinned === 'i440fx' ? ['', 'pc'] : ['q35'];
  return pinned !== undefined && plain.includes(machine) ? machine || undefined : found;
}

const options: readonly Option[] = [
  {
    key: 'memory',
    wanted: ({ resources }) => resources.memoryMib || defaultMemoryMib,
    found: memoryMibOf,
  },
  {
    key: 'balloon',
    wanted: (spec) => vmOf(spec).balloonMib || undefined,
    found: (config) => balloonMibOf(config) || undefined,
  },
  {
    key: 'cpu',
    part: 'cputype',
    wanted: (spec) => vmOf(spec).cpuType || undefined,
    found: partOf('cpu', 'cputype'),
  },
  { key: 'numa', wanted: (spec) => vmOf(spec).numa || undefined, found: onOrUndefined('numa') },
  {
    key: 'kvm',
    wanted: (spec) => (vmOf(spec).kvm ? undefined : false),
    found: ({ kvm }) => (isOff(kvm) ? false : undefined),
  },
  {
    key: 'bios',
    wanted: (spec) => (vmOf(spec).bios === 'ovmf' ? 'ovmf' : undefined),
    found: ({ bios }) => (bios === 'ovmf' ? 'ovmf' : undefined),
  },
  {
    key: 'machine',
    part: 'type',
    wanted: (spec) => vmOf(spec).machine || undefined,
    found: foundMachine,
  },
  {
    key: 'agent',
    part: 'enabled',
    wanted: (spec) => vmOf(spec).agent || undefined,
    found: (config) => isOn(partOf('agent', 'enabled')(config)) || undefined,
  },
  {
    key: 'serial0',
    wanted: (spec) => (vmOf(spec).serial ? 'socket' : undefined),
    found: ({ serial0 }) => (serial0 === 'socket' ? 'socket' : undefined),
  },
  {
    key: 'vga',
    part: 'type',
    wanted: (spec) => vmOf(spec).display || undefined,
    found: partOf('vga', 'type'),
  },
  {
    key: 'ostype',
    wanted: (spec) => vmOf(spec).osType || 'l26',
    found: ({ ostype }) => textOf(ostype) || 'other',
  },
  { key: 'onboot', wanted: (spec) => startsOnBoot(spec) || undefined, found: onOrUndefined('onboot') },
  {
    key: 'protection',
    wanted: (spec) => clusterOf(spec).protection || undefined,
    found: onOrUndefined('protection'),
  },
  {
    key: 'startup',
    part: 'order',
    wanted: ({ startOrder }) => startOrder || undefined,
    found: (config) => numberOf(partOf('startup', 'order')(config)) || undefined,
  },
];

/** For a virtual machine that is not there yet, without its mark. */
export function newOptions(spec: InstanceSpec): Record<string, Scalar> {
  const said = options.map(({ key, part, wanted }) => [key, part, wanted(spec)] as const);
  return {
    ...Object.fromEntries(
      said.flatMap(([key, part, value]) =>
        value === undefined ? [] : [[key, part === undefined ? value : merged('', part, value)]],
      ),
    ),
    ...processorsOf(spec),
  };
}

function processorsOf(spec: InstanceSpec): Record<string, number> {
  const { sockets, cores, limitMillicores } = wantedProcessors(spec);
  return {
    cores,
    ...(sockets > 1 && { sockets }),
    ...(limitMillicores > 0 && { cpulimit: limitMillicores / 1000 }),
  };
}

export function optionChanges(spec: InstanceSpec, config: Configuration): Change {
  const set: Record<string, unknown> = {};
  const unset: string[] = [];
  for (const { key, part, wanted, found } of options) {
    const value = wanted(spec);
    if (value === found(config, spec)) continue;
    const text = part === undefined ? value : merged(textOf(config[key]), part, value);
    if (text === undefined || text === '') unset.push(key);
    else set[key] = text;
  }
  if (!isDeepStrictEqual(wantedProcessors(spec), foundProcessors(config))) {
    const processors = processorsOf(spec);
    Object.assign(set, processors);
    unset.push(...['sockets', 'cpulimit'].filter((key) => !(key in processors) && config[key] !== undefined));
  }
  const { tags } = clusterOf(spec);
  if (!isDeepStrictEqual(ownTags(config), tags)) set['tags'] = tagsWith(config, tags);
  return { set, unset };
}

/** As the cluster's own tools write them. */
const withoutName = new Set(['cputype', 'type']);

/** Its agent is never without a word about whether it is on. */
function merged(text: string, part: string, value: Scalar | undefined): string {
  const before = parseProperties(text, part);
  const next = mergeProperties(before, { [part]: value });
  if (part === 'enabled' && value === undefined && next.size > 0)
    return formatProperties(mergeProperties(before, { [part]: false }));
  return formatProperties(next, withoutName.has(part) ? part : '');
}
