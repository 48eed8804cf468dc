import { DroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';
import type { IdRange } from '../volumes/volume-driver.ts';

/**
 * Which instance has which range of host ids. No two have ids in common, but those that share the node's
 * own. It holds only what records and roots say, so it needs no file of its own.
 */
export interface IdRanges {
  /** Found in a record or a root after a restart. */
  hold(id: InstanceId, range: IdRange): void;
  /** Undefined: the node's own range. */
  of(id: InstanceId): IdRange | undefined;
  /**
   * The instance's range, whatever it asks for now; a new one gets a free range, the node's, or that of the
   * host's own ids. resource-exhausted.
   */
  take(id: InstanceId, kind?: RangeKind): IdRange | undefined;
  /** Once nothing is left of the instance. */
  free(id: InstanceId): void;
}

/** 'own': where the node has none for instances, its own. 'host': of a privileged guest. */
export type RangeKind = 'own' | 'node' | 'host';

export interface IdRangesOptions {
  /** The node's own. */
  readonly shared: IdRange;
  /** How many ranges of the same size follow it, one for an instance each. Zero: all share the node's. */
  readonly count: number;
}

export function createIdRanges({ shared, count }: IdRangesOptions): IdRanges {
  const held = new Map<InstanceId, IdRange>();
  const numberOf = (hostId: number): number => Math.floor((hostId - shared.base) / shared.size);

  function findFree(): IdRange {
    // A range of an older configuration may lie across several of this one.
    const used = new Set<number>();
    for (const { base, size } of held.values()) {
      for (let number = numberOf(base); number <= numberOf(base + size - 1); number += 1) used.add(number);
    }
    for (let number = 1; number <= count; number += 1) {
      if (!used.has(number)) return { base: shared.base + number * shared.size, size: shared.size };
    }
    throw new DroverError('resource-exhausted', `all ${count} id ranges of this node are taken`, {
      nextStep: "raise idRange.count in the agent's configuration, or remove instances",
    });
  }

  function newRange(kind: RangeKind): IdRange {
    if (kind === 'host') return { base: 0, size: shared.size };
    return kind === 'node' || count === 0 ? shared : findFree();
  }

  const ownOf = (id: InstanceId): IdRange | undefined => {
    const range = held.get(id);
    return range?.base === shared.base ? undefined : range;
  };

  return {
    hold: (id, range) => void held.set(id, range),
    of: ownOf,
    take(id, kind = 'own') {
      if (!held.has(id)) held.set(id, newRange(kind));
      return ownOf(id);
    },
    free: (id) => void held.delete(id),
  };
}

/** The host ids of an instance's files. */
export const rangeOf = (shared: IdRange, { range }: { readonly range: IdRange | undefined }): IdRange =>
  range ?? shared;

/** The host ids that its image is unpacked for: the image's own where its root shifts them by the mount. */
export const imageRangeOf = (shared: IdRange, { imageAsIs }: { readonly imageAsIs: boolean }): IdRange =>
  imageAsIs ? { base: 0, size: shared.size } : shared;
