import { DroverError } from '#shared/errors.ts';

/** One demand on labels. "in" and "notin" take a set; "=" is a set of one. */
export interface Selector {
  readonly key: string;
  readonly operator: 'in' | 'notin' | 'exists' | 'absent';
  readonly values: ReadonlySet<string>;
}

const key = '(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?';
const value = '[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?';
const setText = new RegExp(`^(${key})\\s+(in|notin)\\s+\\(\\s*(${value}(?:\\s*,\\s*${value})*)\\s*\\)$`);
const equalText = new RegExp(`^(${key})\\s*(!=|==|=)\\s*(${value})?$`);
const existsText = new RegExp(`^(!?)\\s*(${key})$`);

/** "zone in (a, b)", "zone notin (c)", "disk = ssd", "disk != ssd", "gpu", "!spot". invalid-argument. */
export function parseSelector(text: string): Selector {
  if (text.length <= 1000) {
    const trimmed = text.trim();
    const inSet = setText.exec(trimmed);
    if (inSet)
      return selector(
        inSet[1],
        inSet[2] as 'in' | 'notin',
        (inSet[3] ?? '').split(',').map((one) => one.trim()),
      );
    const equal = equalText.exec(trimmed);
    if (equal) return selector(equal[1], equal[2] === '!=' ? 'notin' : 'in', [equal[3] ?? '']);
    const exists = existsText.exec(trimmed);
    if (exists) return selector(exists[2], exists[1] === '!' ? 'absent' : 'exists', []);
  }
  throw new DroverError(
    'invalid-argument',
    `${JSON.stringify(text.slice(0, 80))} is not a selector; ` +
      'wanted such as "zone in (a, b)", "disk = ssd", "gpu" or "!spot"',
  );
}

function selector(
  name: string | undefined,
  operator: Selector['operator'],
  values: readonly string[],
): Selector {
  return { key: name ?? '', operator, values: new Set(values) };
}

/** A label that is not there is in no set, so "notin" holds for it. */
export function matches(
  { key: name, operator, values }: Selector,
  labels: Readonly<Record<string, string>>,
): boolean {
  const found = Object.hasOwn(labels, name) ? labels[name] : undefined;
  if (operator === 'exists') return found !== undefined;
  if (operator === 'absent') return found === undefined;
  return (found !== undefined && values.has(found)) === (operator === 'in');
}
