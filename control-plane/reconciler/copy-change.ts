import type { Instance, Placement, Workload } from '#shared/model.ts';
import {
  changeOf,
  hasOwnRoot,
  type InstanceTemplate,
  isExclusive,
  type SpecChange,
  takesVolumes,
} from '../store/instance-template.ts';

/** What is to become of one copy. */
export interface CopyChange {
  readonly kind: 'update' | 'replace';
  readonly template: InstanceTemplate;
  readonly placement: Placement;
}

export interface RolloutWorld {
  readonly nowMs: number;
  /**
   * Its node does not answer, or has not told yet all that it holds: it may run, so nothing takes its
   * place. False without a node.
   */
  stale(instance: Instance): boolean;
  /** How far the clock of its node is ahead of nowMs. Left out: zero. */
  skewMs?(instance: Instance): number;
  /** The slot of its data volumes; undefined: it has none. */
  slotOf?(instance: Instance): number | undefined;
  /** Its guest was there before Drover. Left out: it was not. */
  isAdopted?(instance: Instance): boolean;
  /**
   * Why its node cannot take the update, or nothing could take the place of what is replaced, for people.
   * Undefined, or left out: it can be done.
   */
  obstacle?(instance: Instance, change: CopyChange): string | undefined;
}

type Way =
  | { readonly kind: 'update'; readonly change: Exclude<SpecChange, 'replace'> }
  | { readonly kind: 'replace' }
  | { readonly kind: 'blocked'; readonly because: string };

/** How an old copy becomes what is wanted. */
function wayOf(instance: Instance, { spec }: Workload, template: InstanceTemplate, world: RolloutWorld): Way {
  const { placement } = spec;
  const obstacleTo = (kind: CopyChange['kind']): string | undefined =>
    world.obstacle?.(instance, { kind, template, placement });
  const change = instance.evicting === true ? 'replace' : changeOf(instance.spec, template);
  if (change !== 'replace') {
    const because = obstacleTo('update');
    if (because === undefined) return { kind: 'update', change };
    // Its root or its volumes are its own: it stays as it is rather than lose them.
    if (hasOwnRoot(template.runtime) || isExclusive(spec)) return { kind: 'blocked', because };
  }
  // Its image is the guest itself: what takes its place would have nothing to be made from.
  if (world.isAdopted?.(instance) === true)
    return { kind: 'blocked', because: 'it was adopted, and nothing could make another one of it' };
  if (takesVolumes(instance.spec.runtime) && instance.spec.volumes.length > 0) {
    const because = 'only another guest could be so, and its data volumes go with the one there is';
    return { kind: 'blocked', because };
  }
  const because = isExclusive(spec) ? obstacleTo('replace') : undefined;
  return because === undefined ? { kind: 'replace' } : { kind: 'blocked', because };
}

interface NextChange {
  readonly instance: Instance;
  readonly way: Way;
}

/**
 * The first of these copies for which something can be done; where there is none, the first that is blocked.
 */
export function nextChange(
  workload: Workload,
  old: readonly Instance[],
  world: RolloutWorld,
  template: InstanceTemplate,
): NextChange | undefined {
  let blocked: NextChange | undefined;
  for (const instance of old) {
    const way = wayOf(instance, workload, template, world);
    if (way.kind !== 'blocked') return { instance, way };
    blocked ??= { instance, way };
  }
  return blocked;
}
