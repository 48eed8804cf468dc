import { DroverError } from '#shared/errors.ts';
import facts84 from './gen/facts-8.4.json' with { type: 'json' };
import facts92 from './gen/facts-9.2.json' with { type: 'json' };

/** What is known of one value: a parameter, a sub-key of a property string, or an element of an array. */
export interface ValueFacts {
  /** Left out for an alias, and where nothing is told. */
  readonly type?: 'string' | 'integer' | 'number' | 'boolean' | 'array';
  readonly optional?: true;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly enum?: readonly string[];
  /** A Perl pattern for the whole value. */
  readonly pattern?: string;
  /** A name. Where `formats` has it, the value is a property string with those sub-keys. */
  readonly format?: string;
  readonly items?: ValueFacts;
  /** A sub-key whose value is a list, joined by semicolons. */
  readonly list?: true;
  /** The parameter or sub-key without which this one is refused. */
  readonly requires?: string;
  /** Only for these values of the parameter `type`. */
  readonly onlyFor?: readonly string[];
  /** The sub-key that may stand without its name. */
  readonly defaultKey?: true;
  /** Another name of that sub-key… */
  readonly alias?: string;
  /** …and this name itself is the value of that one: `virtio=MAC` is `model=virtio,macaddr=MAC`. */
  readonly keyAlias?: string;
}

export type ValuesFacts = Readonly<Record<string, ValueFacts>>;

export interface MethodFacts {
  /** Those of the path too. A family is one entry: `net[n]`. */
  readonly parameters: ValuesFacts;
  /** Takes parameters that are not listed. */
  readonly open?: true;
  /**
   * Who may call: "world", "all" that are known, or a check such as `['perm', '/vms/{vmid}', ['VM.Audit']]`
   * that may be nested in 'and' and 'or'. root@pam alone where it is left out.
   */
  readonly permission?: 'world' | 'all' | PermissionCheck;
}

export type PermissionCheck = readonly [string, ...unknown[]];

/** One version's API, as far as a fleet needs it. Generated: scripts/generate-proxmox.ts. */
export interface Facts {
  readonly version: string;
  readonly formats: Readonly<Record<string, ValuesFacts>>;
  /** By name: "POST /nodes/{node}/lxc". */
  readonly methods: Readonly<Record<string, MethodFacts>>;
}

/** Oldest first. */
const known: readonly Facts[] = [facts84 as unknown as Facts, facts92 as unknown as Facts];

const majorOf = (version: string): number => Number(/^(\d{1,6})(?:\.|$)/.exec(version)?.[1] ?? Number.NaN);

/**
 * The facts for a cluster that tells this version ("8.4.21"): those of its major version, and the newest
 * for one that is newer than all. unimplemented: older than 8, or not a version.
 */
export function factsFor(version: string): Facts {
  const major = majorOf(version);
  const fitting = known.findLast((facts) => majorOf(facts.version) <= major);
  if (fitting !== undefined) return fitting;
  const oldest = majorOf(known[0]?.version ?? '');
  const message = `wanted Proxmox VE ${oldest} or newer, the cluster says it is ${JSON.stringify(version)}`;
  throw new DroverError('unimplemented', message, { reason: 'version', subject: { version } });
}

const own = <Value>(record: Readonly<Record<string, Value>>, name: string): Value | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined;

/** By name, of which `net0` is one of the family `net[n]`. */
export function valueFacts(all: ValuesFacts, name: string): ValueFacts | undefined {
  return own(all, name) ?? own(all, name.replace(/(?<=\D)(?:0|[1-9]\d{0,3})$/, '[n]'));
}

/** Undefined where this version has no such method. */
export const methodFacts = (facts: Facts, name: string): MethodFacts | undefined => own(facts.methods, name);

/** Does this version's method take it? "net0" asks for the family. */
export function takes(facts: Facts, method: string, parameter: string): boolean {
  const found = methodFacts(facts, method);
  return found !== undefined && valueFacts(found.parameters, parameter) !== undefined;
}

/** The sub-keys of a property string; undefined for any other value. */
export const subKeysOf = (facts: Facts, value: ValueFacts): ValuesFacts | undefined =>
  value.format === undefined ? undefined : own(facts.formats, value.format);
