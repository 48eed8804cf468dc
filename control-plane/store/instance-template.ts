import type { CopySpec, Instance, InstanceSpec, Workload, WorkloadSpec } from '#shared/model.ts';
import { unpinned } from '#shared/wire/checks.ts';
import { canonicalText, isSameData } from './canonical.ts';

/** What every copy of one generation has in common: an InstanceSpec that has no name yet. */
export type InstanceTemplate = Omit<InstanceSpec, 'displayName' | 'assigned'>;

type Resolved = NonNullable<Workload['resolved']>;

/**
 * What the image and the runtime of the present generation stand for; undefined until the resolve step has
 * run.
 */
export function currentResolution(workload: Workload): Resolved | undefined {
  return workload.resolved?.generation === workload.metadata.generation ? workload.resolved : undefined;
}

/** What a new copy would be told; undefined until the present generation is resolved. */
export function instanceTemplate(workload: Workload): InstanceTemplate | undefined {
  const resolved = currentResolution(workload);
  if (resolved === undefined) return undefined;
  return templateOf(workload.metadata.name, workload.spec, resolved);
}

function templateOf(
  workload: string,
  spec: WorkloadSpec,
  { image, runtime }: { readonly image: string; readonly runtime: string },
): InstanceTemplate {
  const { replicas: _replicas, placement: _placement, update: _update, ...alike } = spec;
  // Keeping is between the workload and its volumes: a change of it is nothing to the copies. But a copy that
  // takes its volumes with it when it goes can be no copy of what is to be kept.
  const volumes = takesVolumes(runtime)
    ? alike.volumes
    : alike.volumes.map((claim) => ({ ...claim, keep: true }));
  return { ...alike, volumes, workload, image, runtime };
}

/**
 * A change between the two leaves every copy as it is: replicas, the update policy and the choice of nodes
 * alone.
 */
export function sameTemplate(before: WorkloadSpec, after: WorkloadSpec): boolean {
  return isSameData(templateOf('', before, before), templateOf('', after, after));
}

/**
 * A copy has what no other copy can have at the same time: data volumes, an address or a host port that the
 * spec names. An old one goes before its replacement comes.
 */
export const isExclusive = ({ volumes, networks, ports }: CopySpec): boolean =>
  volumes.length > 0 ||
  networks.some(({ addresses }) => addresses.length > 0) ||
  ports.some(({ hostPort }) => hostPort !== 0);

/**
 * What becomes of a copy whose template changes. 'none': nothing, it differs for the scheduler alone.
 * 'limits': they are set while it runs. 'anew': its guest is made anew on the same root, which is its own.
 * 'replace': another instance takes its place.
 */
export type SpecChange = 'none' | 'limits' | 'anew' | 'replace';

/** Its data volumes live and go with its guest: a replacement would begin with empty ones. */
export const takesVolumes = (runtime: string): boolean =>
  runtime === 'proxmox-lxc' || runtime === 'proxmox-vm';

/** Its root lives as long as the instance: a change makes its guest anew around it, where that can be. */
export const hasOwnRoot = (runtime: string): boolean =>
  runtime === 'lxc' || runtime === 'proxmox-lxc' || runtime === 'proxmox-vm';

export function changeOf(before: InstanceTemplate, after: InstanceTemplate): SpecChange {
  if (isSameData(alikeOf(before), alikeOf(after))) return 'none';
  if (isSameData(withoutLimits(before), withoutLimits(after))) return 'limits';
  const isOwnRoot = hasOwnRoot(after.runtime) && before.runtime === after.runtime;
  return isOwnRoot && keepsRoot(before, after) ? 'anew' : 'replace';
}

/** A root has its image, its pool and its owner for ever: nodes refuse an order that says otherwise. */
const keepsRoot = (before: InstanceTemplate, after: InstanceTemplate): boolean =>
  before.image === after.image &&
  before.rootPool === after.rootPool &&
  before.security.privileged === after.security.privileged &&
  (before.security.ownIdRange || !after.security.ownIdRange);

const alikeOf = (template: InstanceTemplate & Partial<InstanceSpec>): InstanceTemplate => {
  const { displayName: _name, assigned: _assigned, ...alike } = template;
  return alike;
};

/** What nodes set while a guest runs: its resources, and the sizes of its data volumes. */
function withoutLimits(template: InstanceTemplate): unknown {
  const { resources: _resources, volumes, ...rest } = alikeOf(template);
  return { ...rest, volumes: volumes.map(({ sizeMib: _sizeMib, ...claim }) => claim) };
}

/**
 * What image and runtime stand for, where a change of the spec needs no new look; undefined where it does. A
 * container whose root is its own keeps its image until another one is named and found: a tag that has moved
 * on must not cost it its root, also when a change to what cannot be found is taken back.
 */
export function keptResolution(workload: Workload, after: WorkloadSpec): Resolved | undefined {
  const { spec, resolved } = workload;
  if (resolved === undefined) return undefined;
  const isSameRuntime = after.runtime === '' || after.runtime === resolved.runtime;
  const isOwnRoot = hasOwnRoot(resolved.runtime) && isSameRuntime;
  if (isOwnRoot && (resolved.reference ?? spec.image) === after.image)
    return { ...resolved, runtimeBecause: whyKept(resolved, spec, after) };
  const isSameImage =
    spec.image === after.image &&
    spec.runtime === after.runtime &&
    spec.imageCredential === after.imageCredential;
  if (!isSameImage || changeOf(templateOf('', spec, spec), templateOf('', after, after)) === 'replace')
    return undefined;
  return currentResolution(workload);
}

const whyKept = ({ runtimeBecause }: Resolved, before: WorkloadSpec, after: WorkloadSpec): string =>
  after.runtime !== ''
    ? 'named in the spec'
    : before.runtime === ''
      ? runtimeBecause
      : 'named in the spec of before, and kept';

/**
 * It has to be updated or replaced before the workload is as wanted, or because its node is being emptied. A
 * change of replicas or of the update
 * policy outdates nobody; a new strategy only those that have no node yet.
 */
export function isOutdated(instance: Instance, workload: Workload): boolean {
  if (instance.evicting === true) return true;
  const template = instanceTemplate(workload);
  if (template === undefined) return instance.workloadGeneration < workload.metadata.generation;
  if (textOfSpec(instance.spec) !== textOfTemplate(workload, template)) return true;
  const { require, strategy } = workload.spec.placement;
  if (instance.node === undefined && instance.placement.strategy !== strategy) return true;
  return !isSameData(instance.placement.require, require);
}

// Records are never changed in place, and these are compared for every instance in every pass.
const texts = new WeakMap<InstanceSpec, string>();
const textsOfTemplates = new WeakMap<Workload, string>();

function textOfTemplate(workload: Workload, template: InstanceTemplate): string {
  const text = textsOfTemplates.get(workload) ?? canonicalText(template);
  textsOfTemplates.set(workload, text);
  return text;
}

function textOfSpec(spec: InstanceSpec): string {
  const known = texts.get(spec);
  if (known !== undefined) return known;
  const text = canonicalText(alikeOf(spec));
  texts.set(spec, text);
  return text;
}

/**
 * A reference bound to the digest it stood for: "host:port/name:tag" becomes "host:port/name@sha256:…", and
 * "oci:/path" "oci:/path@sha256:…". Clusters pull by tag alone: for their runtimes it stays.
 */
export function pinImage(reference: string, digest: string, runtime = ''): string {
  const name = unpinned(reference);
  const keepsAll = /^(?:oci|proxmox):/.test(name) || runtime.startsWith('proxmox-');
  if (keepsAll) return `${name}@${digest}`;
  const tagAt = name.indexOf(':', name.lastIndexOf('/') + 1);
  return `${tagAt < 0 ? name : name.slice(0, tagAt)}@${digest}`;
}
