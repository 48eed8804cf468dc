import { DroverError } from '#shared/errors.ts';

/** A property string's parts in their order: "local:101/vm-101-disk-0.raw,size=1G". */
export type Properties = ReadonlyMap<string, string>;

/** `defaultKey`: of a first part that has none. */
export function parseProperties(text: unknown, defaultKey = ''): Properties {
  if (typeof text !== 'string') return new Map();
  const parts = text.split(',').filter((part) => part !== '');
  return new Map(
    parts.map((part) => {
      const at = part.indexOf('=');
      return at < 0 ? [defaultKey, part] : [part.slice(0, at), part.slice(at + 1)];
    }),
  );
}

/** Undefined values go. invalid-argument: a value that would become another part. */
export function mergeProperties(
  before: Properties,
  patch: Readonly<Record<string, string | number | boolean | undefined>>,
): Properties {
  const merged = new Map(before);
  for (const [key, value] of Object.entries(patch)) {
    if (value === undefined) merged.delete(key);
    else merged.set(key, typeof value === 'boolean' ? (value ? '1' : '0') : String(value));
  }
  return merged;
}

export function formatProperties(properties: Properties, defaultKey = ''): string {
  return Array.from(properties, ([key, value]) => {
    if (/[,\n\r\0]/.test(value))
      throw new DroverError('invalid-argument', `${key} cannot have a comma or a line end in its value`);
    // Without its name in front it would be read as another part.
    if (key === defaultKey && value.includes('='))
      throw new DroverError('invalid-argument', `${key} cannot have "=" in its value`);
    return key === defaultKey ? value : `${key}=${value}`;
  }).join(',');
}

/** 0, 1, true and "1" as they come. */
export const isOn = (value: unknown): boolean =>
  value === 1 || value === true || value === '1' || value === 'on' || value === 'yes';

/** A number, also where it came as text; otherwise the other one. */
export function numberOf(value: unknown, otherwise = 0): number {
  const number = typeof value === 'number' ? value : typeof value === 'string' ? Number(value) : Number.NaN;
  return Number.isFinite(number) ? number : otherwise;
}

export const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '';

const mibOfUnit: Readonly<Record<string, number>> = { K: 1 / 1024, M: 1, G: 1024, T: 1024 ** 2 };

/** "4G" → 4096; without a unit, bytes. Zero: it has no limit, or none is known. */
export function parseDiskMib(text: string | undefined): number {
  const [, amount, unit] = /^(\d+(?:\.\d+)?)([KMGT])?$/.exec(text ?? '') ?? [];
  if (amount === undefined) return 0;
  return Math.floor(Number(amount) * (unit === undefined ? 1 / 1024 ** 2 : (mibOfUnit[unit] ?? 0)));
}

/** What disks have: whole GiB. */
export const gibOf = (mib: number): number => Math.ceil(mib / 1024);

/** "10.0.0.1, 10.0.0.2" → both. */
export const parseList = (text: unknown): string[] =>
  textOf(text)
    .split(/[\s,;]+/)
    .filter((part) => part !== '');
