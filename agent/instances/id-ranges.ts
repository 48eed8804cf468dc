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
  /** The instance's range, a free one where it has none yet; asked again, the same. resource-exhausted. */
  take(id: InstanceId): IdRange | undefined;
  /** Once nothing is left of the instance. */
  free(id: InstanceId): void;
}

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

  const ownOf = (id: InstanceId): IdRange | undefined => {
    const range = held.get(id);
    return range?.base === shared.base ? undefined : range;
  };

  return {
    hold: (id, range) => void held.set(id, range),
    of: ownOf,
    take(id) {
      if (!held.has(id)) held.set(id, count === 0 ? shared : findFree());
      return ownOf(id);
    },
    free: (id) => void held.delete(id),
  };
}

/** What an image is unpacked for: with its own ids where every instance shifts them for itself. */
export const imageRange = (shared: IdRange, own: IdRange | undefined): IdRange =>
  own === undefined ? shared : { base: 0, size: own.size };
