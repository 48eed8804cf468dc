import { isDatasetName } from './zfs-name.ts';

/** One pool, as the agent's configuration tells of it. */
export interface PoolConfig {
  /** What specs call it: a-z, 0-9 and "-". */
  readonly name: string;
  readonly driver: 'directory' | 'zfs';
  /** Of a zfs pool: what all its volumes are below, "tank/drover". */
  readonly dataset?: string;
  /** Of a directory pool: absolute. Below the state directory where it is left out. */
  readonly directory?: string;
}

const maxPools = 16;
const nameText = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;
const isText = (value: unknown): value is string => typeof value === 'string';
const isPath = (value: string): boolean => /^\/[^\0\n]*$/.test(value) && !/(^|\/)\.\.(\/|$)/.test(value);
const areUnique = (values: readonly string[]): boolean => new Set(values).size === values.length;

/** Whether it is a list of pools, each with a place of its own. */
export function isPools(value: unknown): value is readonly PoolConfig[] {
  if (!Array.isArray(value) || value.length > maxPools || !value.every(isPool)) return false;
  const places = value.flatMap(({ dataset, directory }) => dataset ?? directory ?? []);
  return areUnique(value.map(({ name }) => name)) && areUnique(places);
}

function isPool(value: unknown): value is PoolConfig {
  const { name, driver, dataset, directory, ...rest } = (value ?? {}) as Record<string, unknown>;
  if (!isText(name) || !nameText.test(name) || Object.keys(rest).length > 0) return false;
  if (driver === 'zfs') return isText(dataset) && isDatasetName(dataset) && directory === undefined;
  return (
    driver === 'directory' && dataset === undefined && (directory === undefined || isDirectory(directory))
  );
}

const isDirectory = (value: unknown): boolean => isText(value) && isPath(value);
