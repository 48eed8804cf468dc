import { formatMib } from '#shared/units.ts';
import { unpinned } from '#shared/wire/checks.ts';
import {
  carries,
  changes,
  type Finding,
  isOfCluster,
  obstructs,
  type PortabilityInput,
  targetsOf,
  when,
} from './portability-finding.ts';
import { setsProgram } from './portable-program.ts';

/** Its image, its root, its mounts and its snapshots. */
export const storageFindings = (input: PortabilityInput): Finding[] => [
  image(input),
  root(input),
  ...pools(input),
  ...volumes(input),
  ...snapshots(input),
];

const withoutDigest = unpinned;

/** From 9.1 on nodes of clusters pull from registries, for containers. */
const isPulled = (input: PortabilityInput): boolean =>
  input.to === 'proxmox-lxc' &&
  setsProgram(input) &&
  !/^(?:https?|tar|oci|lxc|proxmox):/.test(input.spec.image);

/** The root goes over as it is; the image is what a copy would be made from anew. */
function image(input: PortabilityInput): Finding {
  const { spec, to } = input;
  const before = withoutDigest(spec.image);
  const toCluster = isOfCluster(to);
  if (before.startsWith('https://'))
    return carries('image', before, 'the same file, fetched anew where a copy is made from it');
  if (isPulled(input))
    return spec.imageCredential === ''
      ? changes('image', before, 'pulled by its nodes, by tag alone', 'say the tag, and no digest')
      : changes('image', before, 'not known there', 'its nodes pull from registries without a login alone');
  const wanted = toCluster
    ? 'proxmox:STORAGE:vztmpl/NAME, https://…@sha256:… or tar:/PATH of a template root'
    : 'tar:/PATH on the node, https://…@sha256:… or lxc:SERVER/…';
  const after = before.startsWith('tar:')
    ? `a file on ${toCluster ? 'the control plane’s host' : 'each node'}`
    : 'not known there';
  return changes('image', before, after, `name one for copies that are made anew: ${wanted}`);
}

/** Disks of clusters have whole GiB, and there is none without a size. */
function root({ spec, to }: PortabilityInput): Finding {
  const { diskMib } = spec.resources;
  const before = diskMib === 0 ? 'of no certain size' : formatMib(diskMib);
  if (!isOfCluster(to)) return carries('root', before, `${before}, copied file by file`);
  const after = diskMib === 0 ? '4GiB' : formatMib(Math.ceil(diskMib / 1024) * 1024);
  const advice = diskMib === 0 ? 'set resources.disk to what it needs' : '';
  return after === before
    ? carries('root', before, `${after}, copied file by file`)
    : changes('root', before, `${after}, copied file by file`, advice);
}

function pools(input: PortabilityInput): Finding[] {
  const { spec, to } = input;
  const wanted = new Set([spec.rootPool, ...spec.volumes.map(({ pool }) => pool)]);
  const there = [...new Set(targetsOf(input).flatMap((node) => node.pools.map(({ name }) => name)))];
  return [...wanted]
    .filter((pool) => pool !== '')
    .map((pool) =>
      there.includes(pool)
        ? carries('pool', pool)
        : obstructs(
            'pool',
            pool,
            `no node that offers ${to} has it`,
            `name one of ${there.toSorted().join(', ') || 'theirs'}, or none for the default`,
          ),
    );
}

function volumes({ spec, to }: PortabilityInput): Finding[] {
  const toCluster = isOfCluster(to);
  return spec.volumes.flatMap(({ name, mountPath, sizeMib, readOnly, keep }) => {
    const size = sizeMib === 0 ? 'no quota' : formatMib(sizeMib);
    const before = `${name} on ${mountPath}, ${size}${readOnly ? ', read-only' : ''}`;
    return [
      ...when(toCluster && sizeMib === 0, () =>
        obstructs('mounts', before, 'a disk of a cluster has a size', `set size of the volume ${name}`),
      ),
      ...when(!toCluster || sizeMib > 0, () => carries('mounts', before, 'the same, copied file by file')),
      ...when(toCluster, () =>
        (keep ? obstructs : changes)(
          'volumes',
          keep ? `${name} stays when the workload is deleted` : `${name} outlives its copy`,
          'it goes with its container; what would need another one is not done',
          keep ? `take keep out of the volume ${name}, and have it backed up` : 'have it backed up',
        ),
      ),
      ...when(!toCluster, () =>
        changes(
          'volumes',
          `${name} goes with its container`,
          'it outlives its copy, which another takes over',
        ),
      ),
    ];
  });
}

function snapshots({ spec, to }: PortabilityInput): Finding[] {
  const { hourly, daily, weekly } = spec.snapshots;
  const schedule = `${hourly} hourly, ${daily} daily, ${weekly} weekly`;
  const toCluster = isOfCluster(to);
  return [
    changes('snapshots', 'those that were taken', 'they stay with the old copy, and go with it'),
    ...when(toCluster && hourly + daily + weekly > 0, () =>
      changes(
        'snapshots',
        schedule,
        'none by themselves',
        'take snapshots out, and have a backup job of the cluster; drover snapshot takes single ones',
      ),
    ),
    ...when(!toCluster && hourly + daily + weekly > 0, () =>
      changes('snapshots', 'none by themselves', schedule),
    ),
  ];
}
