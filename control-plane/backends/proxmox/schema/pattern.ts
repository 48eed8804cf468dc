import { RE2JS } from 're2js';

const compiled = new Map<string, RE2JS>();

/** Whether the whole text fits a pattern of the schema. Linear in the text, whatever the pattern is like. */
export function fits(pattern: string, text: string): boolean {
  const known = compiled.get(pattern) ?? RE2JS.compile(fromPerl(pattern), RE2JS.DOTALL);
  compiled.set(pattern, known);
  return known.matches(text);
}

/** The few things that the schemas write in Perl's way alone; a repeat above a thousand has no end. */
const fromPerl = (pattern: string): string =>
  pattern
    .replace(/\(\?\^(i?):/g, '(?$1:')
    .replace(/\{,(\d+)\}/g, '{0,$1}')
    .replace(/\{0,\d{4,}\}/g, '*')
    .replace(/\\0(?!\d)/g, '\\x00');
