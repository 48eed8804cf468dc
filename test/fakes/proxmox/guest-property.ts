/** Property strings of guest configurations: `name=eth0,bridge=vmbr0`, with a first part that may stand bare. */

export type Parts = Map<string, string>;

export function parseParts(text: string, defaultKey: string): Parts {
  const parts: Parts = new Map();
  for (const part of text.split(',')) {
    const at = part.indexOf('=');
    if (part === '') continue;
    if (at < 0) parts.set(defaultKey, part);
    else parts.set(part.slice(0, at), part.slice(at + 1));
  }
  return parts;
}

/** Proxmox prints the bare part, then what is required, then the rest by name. */
export function formatParts(parts: Parts, defaultKey: string, required: readonly string[] = []): string {
  const rest = [...parts.keys()].filter((key) => key !== defaultKey && !required.includes(key)).sort();
  const bare = parts.get(defaultKey);
  const ordered = [...required, ...rest].filter((key) => parts.has(key));
  const printed = ordered.map((key) => `${key}=${parts.get(key)}`);
  return (bare === undefined ? printed : [bare, ...printed]).join(',');
}

const units = ['', 'K', 'M', 'G', 'T'] as const;

/** The largest unit that divides it: 1G, 3584M; nothing is 0T. */
export function formatSize(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (unit < units.length - 1 && value % 1024 === 0) [value, unit] = [value / 1024, unit + 1];
  return `${value}${units[unit]}`;
}

export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)$/.exec(text);
  if (match === null) return 0;
  return Math.round(Number(match[1]) * 1024 ** units.indexOf(match[2] as (typeof units)[number]));
}

/** Lower-cased from 9.x for both kinds, before only for containers; each once, in order. */
export function normaliseTags(text: string, caseKept: boolean): string {
  const tags = text.split(/[;, \n]+/).filter((tag) => tag !== '');
  return [...new Set(caseKept ? tags : tags.map((tag) => tag.toLowerCase()))].sort().join(';');
}

/** What PVE takes for a list: names between commas, semicolons, blanks. */
export const parseList = (text: string): string[] => text.split(/[\s,;\0]+/).filter((name) => name !== '');
