import { isDeepStrictEqual } from 'node:util';
import type { ClusterOptions as WireClusterOptions } from '#shared/gen/drover/model/v1/model.ts';
import type { ClusterOptions } from '#shared/model.ts';
import { type Faults, atMost, oneOf, show } from '#shared/wire/checks.ts';
import { checkPublicKeys } from '#shared/wire/public-keys.ts';

/** What a spec that says nothing of it gets. */
export const plainClusterOptions: ClusterOptions = {
  pool: '',
  tags: [],
  sshKeys: [],
  features: { keyctl: false, fuse: false, mount: [] },
  onBoot: true,
  protection: false,
};

const cloneChoices = ['full', 'linked'] as const;

const most = { tags: 32, mount: 8 } as const;
const poolName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,39}(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,39}){0,2}$/;
const tag = /^[a-z0-9_][a-z0-9_+.-]{0,62}$/;
const fileSystem = /^[a-z0-9][a-z0-9._-]{0,31}$/;

/** Undefined where nothing is said that is not so by itself. */
export function checkClusterOptions(
  message: Partial<WireClusterOptions> | undefined,
  field: string,
  faults: Faults,
): ClusterOptions | undefined {
  if (message === undefined) return undefined;
  const { pool = '', tags = [], sshKeys = [], features } = message;
  if (pool !== '' && !poolName.test(pool))
    faults.add(`${field}.pool`, `${show(pool)} is not the name of a pool; wanted such as "web"`);
  const clone = oneOf(cloneChoices, message.clone, `${field}.clone`, faults);
  const options: ClusterOptions = {
    pool,
    tags: checkTags(tags, `${field}.tags`, faults),
    sshKeys: checkPublicKeys(sshKeys, `${field}.sshKeys`, faults),
    features: {
      keyctl: features?.keyctl ?? false,
      fuse: features?.fuse ?? false,
      mount: checkFileSystems(features?.mount ?? [], `${field}.features.mount`, faults),
    },
    onBoot: message.onBoot ?? true,
    protection: message.protection ?? false,
    ...(clone === 'linked' && { clone }),
  };
  return isDeepStrictEqual(options, plainClusterOptions) ? undefined : options;
}

/** In order and once each, as a cluster keeps them. */
function checkTags(tags: readonly string[], field: string, faults: Faults): string[] {
  atMost(tags, most.tags, field, faults);
  for (const [place, text] of tags.slice(0, most.tags).entries()) {
    const at = `${field}[${place}]`;
    if (!tag.test(text)) faults.add(at, `${show(text)} is not a tag; wanted a-z, 0-9, "_", "-", "+", "."`);
    else if (text.startsWith('drover-')) faults.add(at, `${show(text)} is one of those that tell our guests`);
  }
  return [...new Set(tags.slice(0, most.tags))].toSorted();
}

function checkFileSystems(names: readonly string[], field: string, faults: Faults): string[] {
  atMost(names, most.mount, field, faults);
  for (const [place, name] of names.slice(0, most.mount).entries())
    if (!fileSystem.test(name))
      faults.add(`${field}[${place}]`, `${show(name)} is not a kind of file system; wanted such as "nfs"`);
  return [...new Set(names.slice(0, most.mount))].toSorted();
}

export const formatClusterOptions = (options: ClusterOptions): WireClusterOptions => ({
  ...options,
  tags: [...options.tags],
  sshKeys: [...options.sshKeys],
  features: { ...options.features, mount: [...options.features.mount] },
  clone: options.clone ?? '',
});
