/** The schema's verdict on the parameters of a call, in the words of a Proxmox server. */
import {
  type Facts,
  methodFacts,
  subKeysOf,
  type ValueFacts,
  type ValuesFacts,
  valueFacts,
} from '../../../control-plane/backends/proxmox/schema/facts.ts';
import { fits } from '../../../control-plane/backends/proxmox/schema/pattern.ts';
import { formatFault } from './formats.ts';

const undefinedProperty =
  'property is not defined in schema and the schema does not allow additional properties';
const missingProperty = 'property is missing and it is not optional';

type Errors = Record<string, string>;

/**
 * `errors` of the 400 answer, or undefined where all is well. The path is the template
 * ("/nodes/{node}/lxc"); parameters are those of path, query and body together, as they came: text, and where
 * the body was JSON also numbers, booleans, arrays and objects. A repeated form key is an array.
 */
export function checkParameters(
  facts: Facts,
  method: string,
  path: string,
  parameters: Readonly<Record<string, unknown>>,
): Record<string, string> | undefined {
  const known = methodFacts(facts, `${method} ${path}`);
  if (known === undefined) throw new Error(`no facts of ${method} ${path}`);
  const errors = checkObject(facts, '', known.parameters, normalized(known.parameters, parameters), {
    isOpen: known.open === true,
  });
  return Object.keys(errors).length === 0 ? undefined : errors;
}

/** Arrays for a list become its text, and a scalar for an array becomes an array of one. */
function normalized(values: ValuesFacts, given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(given).map(([name, value]) => {
    const facts = valueFacts(values, name);
    if (Array.isArray(value) && facts?.type === 'string' && facts.format?.endsWith('-list'))
      return [name, value.join(',')];
    return [name, facts?.type === 'array' && typeof value !== 'object' ? [value] : value];
  });
  return Object.fromEntries(entries);
}

function checkObject(
  facts: Facts,
  prefix: string,
  values: ValuesFacts,
  given: Readonly<Record<string, unknown>>,
  { isOpen }: { isOpen: boolean },
): Errors {
  const errors: Errors = {};
  const kind = typeof given['type'] === 'string' ? given['type'] : undefined;
  const applies = (value: ValueFacts): boolean =>
    value.onlyFor === undefined || kind === undefined || value.onlyFor.includes(kind);
  const pathOf = (name: string): string => (prefix === '' ? name : `${prefix}.${name}`);

  for (const [name, value] of Object.entries(values)) {
    const isNeeded = value.alias === undefined && value.optional !== true && applies(value);
    if (isNeeded && !Object.hasOwn(given, name) && !name.endsWith('[n]'))
      errors[pathOf(name)] = missingProperty;
  }
  for (const [name, value] of Object.entries(given)) {
    const known = valueFacts(values, name);
    if (known === undefined || !applies(known)) {
      if (!isOpen) errors[pathOf(name)] = undefinedProperty;
      continue;
    }
    if (known.requires !== undefined && !Object.hasOwn(given, known.requires))
      errors[pathOf(known.requires)] = requiresFault(facts, pathOf(name));
    const fault = checkValue(facts, pathOf(name), known, value);
    if (fault !== undefined) errors[pathOf(name)] = fault;
  }
  return errors;
}

const requiresFault = (facts: Facts, path: string): string =>
  facts.version === '8.4'
    ? `missing property - '${path}' requires this property`
    : `missing property required by '${path}'`;

const perlType = (value: unknown): string =>
  Array.isArray(value) ? 'ARRAY' : typeof value === 'boolean' ? 'JSON::PP::Boolean' : 'HASH';
const isScalar = (value: unknown): value is string | number =>
  typeof value === 'string' || typeof value === 'number';

const typeTests: Readonly<Record<string, RegExp>> = {
  boolean: /^[01]$/,
  integer: /^[+-]?\d+$/,
  number: /^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$/,
};

function checkValue(facts: Facts, path: string, known: ValueFacts, value: unknown): string | undefined {
  const type = known.type ?? 'string';
  if (type === 'array') return Array.isArray(value) ? undefined : `type check ('array') failed`;
  if (type === 'boolean' && typeof value === 'boolean') return undefined;
  if (!isScalar(value)) return `type check ('${type}') failed - got ${perlType(value)}`;
  const text = String(value);
  if (typeTests[type]?.test(text) === false) return `type check ('${type}') failed - got '${text}'`;
  return checkFormat(facts, path, known, text) ?? checkLimits(known, text);
}

function checkFormat(facts: Facts, path: string, known: ValueFacts, text: string): string | undefined {
  const keys = subKeysOf(facts, known);
  if (keys !== undefined) return checkPropertyString(facts, path, keys, text);
  const fault = known.format === undefined ? undefined : formatFault(facts.version, known.format, text);
  return fault === undefined ? undefined : `invalid format - ${fault}\n`;
}

function checkLimits(known: ValueFacts, text: string): string | undefined {
  const { pattern, maxLength, minLength, maximum, minimum } = known;
  if (pattern !== undefined && !fits(pattern, text)) return 'value does not match the regex pattern';
  if (maxLength !== undefined && text.length > maxLength)
    return `value may only be ${maxLength} characters long`;
  if (minLength !== undefined && text.length < minLength)
    return `value must be at least ${minLength} characters long`;
  const number = typeTests['number']?.test(text) === true ? Number(text) : undefined;
  if (number !== undefined && maximum !== undefined && number > maximum)
    return `value must have a maximum value of ${maximum}`;
  if (number !== undefined && minimum !== undefined && number < minimum)
    return `value must have a minimum value of ${minimum}`;
  if (known.enum !== undefined && !known.enum.includes(text))
    return `value '${text}' does not have a value in the enumeration '${known.enum.join(', ')}'`;
  return undefined;
}

class MalformedString extends Error {}

function checkPropertyString(
  facts: Facts,
  path: string,
  keys: ValuesFacts,
  text: string,
): string | undefined {
  try {
    const errors = checkObject(facts, path, keys, parsePropertyString(keys, text), { isOpen: false });
    const lines = Object.entries(errors).map(([name, fault]) => `${name}: ${fault}\n`);
    return lines.length === 0 ? undefined : `invalid format - format error\n${lines.join('')}`;
  } catch (error) {
    if (error instanceof MalformedString) return `invalid format - ${error.message}\n`;
    throw error;
  }
}

/** In the server's order of checks: it differs from our own decoder, which has to keep what it does not know. */
function parsePropertyString(keys: ValuesFacts, text: string): Record<string, string> {
  const given: Record<string, string> = {};
  const defaultKey = Object.entries(keys).find(([, value]) => value.defaultKey === true)?.[0];
  const duplicate = (key: string): never => {
    throw new MalformedString(`duplicate key in comma-separated list property: ${key}`);
  };
  for (const part of text.split(',').filter((one) => one.trim() !== '')) {
    const at = part.indexOf('=');
    if (at === 0 || at === part.length - 1)
      throw new MalformedString('missing key in comma-separated list property');
    if (at < 0) {
      if (defaultKey === undefined)
        throw new MalformedString('value without key, but schema does not define a default key');
      if (Object.hasOwn(given, defaultKey)) duplicate(defaultKey);
      given[defaultKey] = part;
      continue;
    }
    const key = part.slice(0, at);
    const known = Object.hasOwn(keys, key) ? keys[key] : undefined;
    if (known?.keyAlias !== undefined) {
      if (Object.hasOwn(given, known.keyAlias))
        throw new MalformedString(`key alias '${known.keyAlias}' is already defined`);
      given[known.keyAlias] = key;
    }
    const name = known?.alias ?? key;
    if (Object.hasOwn(given, name)) duplicate(name);
    given[name] = part.slice(at + 1);
  }
  return given;
}
