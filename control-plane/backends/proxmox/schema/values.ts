import type { ValueFacts } from './facts.ts';
import { fits } from './pattern.ts';

/** A value as it goes over the wire, or what is wrong with it. */
export type Wire = { readonly text: string } | { readonly fault: string };

const shown = (value: unknown): string => {
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
};

/** Free text, in which lines may end. Elsewhere a line's end could begin a line of a configuration. */
const freeText = new Set(['description', 'comment', 'notes', 'ssh-public-keys', 'input-data']);

/** Whether a parameter of this name and these facts may have more than one line. */
export const mayHaveLines = (name: string, facts: ValueFacts): boolean =>
  freeText.has(name) && facts.format === undefined && facts.enum === undefined;

/** Booleans as 0 and 1, numbers as digits, text as it is; checked against type, range, words and pattern. */
export function wireOf(facts: ValueFacts, value: unknown, allowLines = false): Wire {
  if (facts.type === 'boolean') return booleanOf(value);
  if (facts.type === 'integer' || facts.type === 'number') return numberOf(facts, value);
  if (typeof value !== 'string' && typeof value !== 'number')
    return { fault: `wanted text, found ${shown(value)}` };
  return textOf(facts, String(value), allowLines);
}

function booleanOf(value: unknown): Wire {
  if (value === true || value === 1 || value === '1') return { text: '1' };
  if (value === false || value === 0 || value === '0') return { text: '0' };
  return { fault: `wanted true or false, found ${shown(value)}` };
}

function numberOf(facts: ValueFacts, value: unknown): Wire {
  const { type, minimum, maximum } = facts;
  const text = typeof value === 'number' || typeof value === 'string' ? String(value) : '';
  const isNumber =
    type === 'integer' ? /^[+-]?\d{1,16}$/.test(text) : /^[+-]?\d{1,16}(\.\d{1,16})?$/.test(text);
  const number = isNumber ? Number(text) : Number.NaN;
  const wanted = `wanted ${type === 'integer' ? 'a whole number' : 'a number'}`;
  if (Number.isNaN(number)) return { fault: `${wanted}, found ${shown(value)}` };
  if (minimum !== undefined && number < minimum) return { fault: `${wanted} from ${minimum}, found ${text}` };
  if (maximum !== undefined && number > maximum)
    return { fault: `${wanted} up to ${maximum}, found ${text}` };
  return { text };
}

function textOf(facts: ValueFacts, given: string, allowLines: boolean): Wire {
  const { pattern, minLength, maxLength, enum: words } = facts;
  const text = facts.format === 'urlencoded' ? urlEncoded(given) : given;
  const length = maxLength === undefined && minLength === undefined ? 0 : Array.from(text).length;
  if (!text.isWellFormed()) return { fault: 'wanted text, found a part of a character' };
  if (words !== undefined && !words.includes(text))
    return { fault: `wanted one of ${shown(words.join(', '))}, found ${shown(text)}` };
  if (minLength !== undefined && length < minLength)
    return { fault: `wanted at least ${minLength} characters, found ${length}` };
  if (maxLength !== undefined && length > maxLength)
    return { fault: `wanted at most ${maxLength} characters, found ${length}` };
  if (pattern !== undefined && !fits(pattern, text))
    return { fault: `wanted what fits ${pattern}, found ${shown(text)}` };
  if (pattern === undefined && text.includes('\0')) return { fault: 'wanted text, found a NUL in it' };
  if (!allowLines && /[\n\r]/.test(text)) return { fault: `wanted one line, found ${shown(text)}` };
  return { text };
}

/** What is in that form already stays: so a value that was read goes back as it was. */
const urlEncoded = (text: string): string =>
  /^(?:[-A-Za-z0-9_.!~*'()]|%[0-9A-Fa-f]{2})*$/.test(text) || !text.isWellFormed()
    ? text
    : encodeURIComponent(text);
