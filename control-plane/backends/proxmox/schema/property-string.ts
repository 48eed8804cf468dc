import { DroverError, type FieldFault } from '#shared/errors.ts';
import type { ValueFacts, ValuesFacts } from './facts.ts';
import { wireOf } from './values.ts';

/** Sub-keys by name, in their order: those that the format knows have their type, others stay text. */
export type PropertyObject = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

const defaultKeyOf = (keys: ValuesFacts): string | undefined =>
  Object.entries(keys).find(([, facts]) => facts.defaultKey === true)?.[0];

const known = (keys: ValuesFacts, name: string): ValueFacts | undefined =>
  Object.hasOwn(keys, name) ? keys[name] : undefined;

const refusal = (message: string, faults: readonly FieldFault[] = []): DroverError =>
  new DroverError('invalid-argument', message, { reason: 'property-string', faults });

/**
 * "virtio=BC:24:11:00:00:01,tag=5" → `{ model: 'virtio', macaddr: 'BC:24:11:00:00:01', tag: 5 }`.
 * Aliases get their proper name; what the format does not know is kept. Encoding the result gives the text
 * again. invalid-argument: a sub-key twice, or a value without a name where the format has no default.
 */
export function decodePropertyString(keys: ValuesFacts, text: string): PropertyObject {
  const found = new Map<string, string | number | boolean>();
  const put = (name: string, value: string): void => {
    if (found.has(name)) throw refusal(`wanted each sub-key once, found ${name} twice`);
    found.set(name, readValue(known(keys, name), value));
  };
  for (const part of text.split(',')) {
    if (part.trim() === '') continue;
    const at = part.indexOf('=');
    const name = at < 0 ? defaultKeyOf(keys) : part.slice(0, at);
    if (name === undefined || name === '')
      throw refusal(`wanted NAME=VALUE, found ${JSON.stringify(part.slice(0, 80))}`);
    const facts = known(keys, name);
    if (facts?.keyAlias !== undefined) put(facts.keyAlias, name);
    put(facts?.alias ?? name, part.slice(at + 1));
  }
  return Object.fromEntries(found);
}

/** Only what would be written the same way leaves its text. */
function readValue(facts: ValueFacts | undefined, text: string): string | number | boolean {
  if (facts?.type === 'boolean' && (text === '0' || text === '1')) return text === '1';
  const isNumber = facts?.type === 'integer' || facts?.type === 'number';
  return isNumber && String(Number(text)) === text && Number.isFinite(Number(text)) ? Number(text) : text;
}

/** Without whom the structure changes: no value can begin another sub-key, or another line. */
function structureFault(text: string): string | undefined {
  if (/[,\p{Cc}]/u.test(text)) return 'wanted no comma and no control character in it';
  return text.trim() !== text || text === '' ? 'wanted no blank at its ends, and not nothing' : undefined;
}

function listOf(
  facts: ValueFacts | undefined,
  items: readonly string[],
): { text: string } | { fault: string } {
  if (facts?.list !== true) return { fault: 'wanted one value, found a list' };
  const broken = items.find((item) => typeof item !== 'string' || item === '' || item.includes(';'));
  return broken === undefined ? { text: items.join(';') } : { fault: 'wanted no semicolon in a part' };
}

/**
 * The text of an object, the default sub-key first and without its name, the others in the object's order,
 * and what is wrong with it, by sub-key. What is undefined is left out; names that are not known pass.
 */
export function writePropertyString(
  keys: ValuesFacts,
  object: PropertyObject,
): { text: string; faults: FieldFault[] } {
  const faults: FieldFault[] = [];
  const texts = new Map<string, string>();
  for (const [name, value] of Object.entries(object)) {
    if (value === undefined) continue;
    const facts = known(keys, name);
    const given = Array.isArray(value) ? listOf(facts, value) : value;
    const wire =
      typeof given === 'object' && 'fault' in given
        ? given
        : wireOf(
            typeFacts(facts, given),
            typeof given === 'object' ? (given as { text: string }).text : given,
          );
    const fault = 'fault' in wire ? wire.fault : (structureFault(wire.text) ?? nameFault(facts, name));
    if (fault !== undefined) faults.push({ field: name, message: fault });
    else if ('text' in wire) texts.set(name, wire.text);
  }
  const present = new Set(Object.keys(object).filter((name) => object[name] !== undefined));
  faults.push(...absenceFaults(keys, present));
  return { text: join(keys, texts), faults };
}

const nameFault = (facts: ValueFacts | undefined, name: string): string | undefined =>
  facts !== undefined || /^[A-Za-z0-9_][\w.-]*$/.test(name)
    ? undefined
    : 'wanted a name of letters and digits';

/** What is not known, and an alias, is text, or a switch. */
const typeFacts = (facts: ValueFacts | undefined, value: unknown): ValueFacts =>
  facts !== undefined && facts.alias === undefined
    ? facts
    : { type: typeof value === 'boolean' ? 'boolean' : 'string' };

/** Sub-keys that are needed and not there, under whichever name. */
function absenceFaults(keys: ValuesFacts, names: ReadonlySet<string>): FieldFault[] {
  const given = new Set<string>();
  const faults: FieldFault[] = [];
  for (const name of names) {
    const { alias, keyAlias } = known(keys, name) ?? {};
    for (const one of alias === undefined ? [name] : [alias, ...(keyAlias === undefined ? [] : [keyAlias])]) {
      if (given.has(one)) faults.push({ field: one, message: 'wanted once, found twice under two names' });
      given.add(one);
    }
  }
  for (const [name, { optional, alias, requires }] of Object.entries(keys)) {
    const isNeeded = alias === undefined && optional !== true;
    if (isNeeded && !given.has(name)) faults.push({ field: name, message: 'wanted, found nothing' });
    if (requires !== undefined && given.has(name) && !given.has(requires))
      faults.push({ field: requires, message: `wanted with ${name}, found nothing` });
  }
  return faults;
}

/** `model` and `macaddr` become `virtio=MAC` where the format has that name. */
function join(keys: ValuesFacts, texts: ReadonlyMap<string, string>): string {
  const parts = new Map(texts);
  const bare = defaultKeyOf(keys);
  const named = Object.entries(keys).find(
    ([name, { alias, keyAlias }]) =>
      alias !== undefined && keyAlias !== undefined && texts.has(alias) && texts.get(keyAlias) === name,
  );
  const first: string[] = [];
  if (named !== undefined) {
    const [name, { alias = '', keyAlias = '' }] = named;
    first.push(`${name}=${texts.get(alias)}`);
    parts.delete(alias);
    parts.delete(keyAlias);
  }
  const value = bare === undefined ? undefined : parts.get(bare);
  if (bare !== undefined && value !== undefined) {
    // With its name where it would be taken for another sub-key.
    first.push(value.includes('=') ? `${bare}=${value}` : value);
    parts.delete(bare);
  }
  return [...first, ...Array.from(parts, ([name, text]) => `${name}=${text}`)].join(',');
}

/** invalid-argument: with a fault for each sub-key that has one. */
export function encodePropertyString(keys: ValuesFacts, object: PropertyObject): string {
  const { text, faults } = writePropertyString(keys, object);
  if (faults.length === 0) return text;
  throw refusal(faults.map(({ field, message }) => `${field}: ${message}`).join('; '), faults);
}
