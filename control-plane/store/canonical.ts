/**
 * The value as text that does not depend on the order of keys: equal data, equal text. Data as JSON knows
 * it.
 */
export const canonicalText = (value: unknown): string => JSON.stringify(value, (_, each) => ordered(each));

/** Records with and without a prototype are the same data. */
export const isSameData = (a: unknown, b: unknown): boolean =>
  a === b || canonicalText(a) === canonicalText(b);

function ordered(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return { object: entries.flat() };
}
