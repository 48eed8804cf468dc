import { DroverError, type FieldFault } from '#shared/errors.ts';
import {
  type Facts,
  methodFacts,
  subKeysOf,
  type ValueFacts,
  type ValuesFacts,
  valueFacts,
} from './facts.ts';
import type { MethodName } from './methods.ts';
import { decodePropertyString, type PropertyObject, writePropertyString } from './property-string.ts';
import { mayHaveLines, wireOf } from './values.ts';

/** A method's path, filled in and percent-encoded, and its other parameters as they go over the wire. */
export interface EncodedCall {
  readonly path: string;
  /** Not percent-encoded yet. An array is one pair for each of its elements. */
  readonly pairs: readonly (readonly [name: string, value: string])[];
}

/** Notes what is wrong and goes on: every fault is told at once. */
interface Ledger {
  readonly faults: FieldFault[];
  readonly facts: Facts;
}

/**
 * Parameters → what is sent, checked against what this version takes. unimplemented: this version has no such
 * method. invalid-argument: one error with every fault; a sub-key's field is "net0.bridge". Values that are
 * undefined are left out.
 */
export function encodeCall(
  facts: Facts,
  method: MethodName,
  parameters: Readonly<Record<string, unknown>>,
): EncodedCall {
  const known = methodFacts(facts, method);
  if (known === undefined) {
    const message = `wanted ${method}, Proxmox VE ${facts.version} does not have it`;
    throw new DroverError('unimplemented', message, { reason: 'version', subject: { method, acted: 'no' } });
  }
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  const ledger: Ledger = { faults: absent(known.parameters, new Map(given)), facts };
  const texts = given.flatMap(([name, value]) => {
    const values = encodeParameter(ledger, known.parameters, known.open === true, name, value);
    return values.map((text) => [name, text] as const);
  });
  const path = fillPath(ledger, method.slice(method.indexOf(' ') + 1), new Map(texts));
  if (ledger.faults.length > 0) throw refusal(method, facts, ledger.faults);
  return { path: path.text, pairs: texts.filter(([name]) => !path.names.has(name)) };
}

function refusal(method: string, { version }: Facts, faults: readonly FieldFault[]): DroverError {
  const told = faults.map(({ field, message }) => `${field}: ${message}`).join('; ');
  return new DroverError('invalid-argument', `${method} of Proxmox VE ${version} refuses ${told}`, {
    reason: 'parameters',
    subject: { method, acted: 'no' },
    faults,
  });
}

function absent(values: ValuesFacts, given: ReadonlyMap<string, unknown>): FieldFault[] {
  const type = given.get('type');
  return Object.entries(values).flatMap(([name, { optional, onlyFor, requires }]) => {
    const applies = onlyFor === undefined || (typeof type === 'string' && onlyFor.includes(type));
    const isNeeded = optional !== true && applies && !name.endsWith('[n]');
    if (isNeeded && !given.has(name)) return [{ field: name, message: 'wanted, found nothing' }];
    const isLone = requires !== undefined && given.has(name) && !given.has(requires);
    return isLone ? [{ field: requires, message: `wanted with ${name}, found nothing` }] : [];
  });
}

function encodeParameter(
  ledger: Ledger,
  values: ValuesFacts,
  isOpen: boolean,
  name: string,
  value: unknown,
): readonly string[] {
  const known = valueFacts(values, name) ?? (isOpen ? ({ type: 'string' } as const) : undefined);
  if (known === undefined) {
    ledger.faults.push({ field: name, message: 'is no parameter' });
    return [];
  }
  const keys = subKeysOf(ledger.facts, known);
  if (keys !== undefined) return encodeProperties(ledger, name, known, keys, value);
  const parts = known.type === 'array' && Array.isArray(value) ? (value as readonly unknown[]) : [value];
  const facts = known.type === 'array' ? (known.items ?? { type: 'string' }) : known;
  return parts.flatMap((part) => {
    const wire = wireOf(facts, part, mayHaveLines(name, known));
    if ('text' in wire) return [wire.text];
    ledger.faults.push({ field: name, message: wire.fault });
    return [];
  });
}

/** An object, the value of its default sub-key alone, or a text that is ready: that is checked too. */
function encodeProperties(
  ledger: Ledger,
  name: string,
  known: ValueFacts,
  keys: ValuesFacts,
  value: unknown,
): readonly string[] {
  const object = propertiesOf(ledger, name, keys, value);
  if (object === undefined) return [];
  const { text, faults } = writePropertyString(keys, object);
  for (const { field, message } of faults) ledger.faults.push({ field: `${name}.${field}`, message });
  const ready = typeof value === 'string' ? value : text;
  const { maxLength } = known;
  if (maxLength !== undefined && Array.from(ready).length > maxLength)
    ledger.faults.push({
      field: name,
      message: `wanted at most ${maxLength} characters, found ${ready.length}`,
    });
  return [ready];
}

function propertiesOf(
  { faults }: Ledger,
  name: string,
  keys: ValuesFacts,
  value: unknown,
): PropertyObject | undefined {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as PropertyObject;
  const bare = Object.entries(keys).find(([, { defaultKey }]) => defaultKey === true)?.[0];
  if ((typeof value === 'number' || typeof value === 'boolean') && bare !== undefined)
    return { [bare]: value };
  if (typeof value !== 'string') {
    faults.push({ field: name, message: 'wanted sub-keys' });
    return undefined;
  }
  try {
    return decodePropertyString(keys, value);
  } catch (error) {
    faults.push({ field: name, message: (error as Error).message });
    return undefined;
  }
}

/** Each placeholder's value as one segment, so that none leads elsewhere. */
function fillPath(
  { faults }: Ledger,
  template: string,
  texts: ReadonlyMap<string, string>,
): { text: string; names: ReadonlySet<string> } {
  const names = new Set<string>();
  const text = template.replace(/\{([^}]*)\}/g, (_, name: string) => {
    names.add(name);
    const value = texts.get(name) ?? '';
    const leadsElsewhere = /^\.{0,2}$|\p{Cc}/u.test(value) || (name !== 'volume' && value.includes('/'));
    if (leadsElsewhere && texts.has(name))
      faults.push({ field: name, message: `wanted a name, found ${JSON.stringify(value.slice(0, 80))}` });
    return value.isWellFormed() ? encodeURIComponent(value) : '';
  });
  return { text, names };
}
