import { formatMib } from '#shared/units.ts';
import { found, type Finding, isOfCluster, type PortabilityInput, targetsOf } from './portability-finding.ts';

/** Its image, its root and its mounts. */
export const storageFindings = (input: PortabilityInput): Finding[] => [
  ...image(input),
  ...pools(input),
  ...mounts(input),
  ...found(
    'snapshots',
    'changes',
    'those that were taken stay behind; its schedule begins anew',
    Object.values(input.spec.snapshots).some((count) => count > 0),
  ),
];

function image({ spec, to }: PortabilityInput): Finding[] {
  const [reference = ''] = spec.image.split('@');
  const toCluster = isOfCluster(to);
  const isEverywhere = reference.startsWith('https://') || reference.startsWith('tar:');
  if (isEverywhere)
    return found(
      'image',
      'carries over',
      `${reference}, fetched anew there; its root is copied, not made anew`,
    );
  const wanted = toCluster
    ? 'https://…@sha256:…, tar:/… or proxmox:STORAGE:vztmpl/NAME'
    : 'https://…@sha256:…, tar:/… or lxc:SERVER/…';
  return found(
    'image',
    'changes',
    `${reference} is not known there: name ${wanted} for copies that are made anew; its root is copied`,
  );
}

function pools(input: PortabilityInput): Finding[] {
  const { spec, to } = input;
  const { rootPool, resources } = spec;
  const targets = targetsOf(input);
  const wanted = new Set([rootPool, ...spec.volumes.map(({ pool }) => pool)].filter((pool) => pool !== ''));
  const there = new Set(targets.flatMap((node) => node.pools.map(({ name }) => name)));
  const missing = [...wanted].filter((pool) => !there.has(pool));
  const size = resources.diskMib === 0 ? 'of no certain size' : `of ${formatMib(resources.diskMib)}`;
  const offered = [...there].join(', ') || 'none';
  if (missing.length > 0)
    return found(
      'root',
      'stands in the way',
      `no node that offers ${to} has the pool ${missing.join(', ')}; there are ${offered}`,
    );
  const where = rootPool === '' ? 'the default pool' : `the pool ${rootPool}`;
  return found('root', 'carries over', `${size}, copied to ${where} there`);
}

function mounts({ spec, to }: PortabilityInput): Finding[] {
  const unsized = spec.volumes.filter(({ sizeMib }) => sizeMib === 0);
  const sized = spec.volumes.filter((volume) => !unsized.includes(volume) || !isOfCluster(to));
  return [
    ...sized.flatMap(({ name, mountPath, readOnly }) =>
      found('mounts', 'carries over', `${name} at ${mountPath}${readOnly ? ', read-only' : ''}, copied`),
    ),
    ...unsized.flatMap(({ name }) =>
      found('mounts', 'stands in the way', `${name}: a volume of a cluster needs a size`, isOfCluster(to)),
    ),
  ];
}
