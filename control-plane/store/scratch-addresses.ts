import type { Family } from '#shared/addresses.ts';
import type { HeldAddress, Snapshot } from './store.ts';

/** The held addresses of a scratch transaction: a list that a plan of many copies changes in place. */
export interface ScratchAddresses {
  held(network: string, family: Family, project: string): readonly HeldAddress[];
  put(record: HeldAddress, project: string): void;
  delete(key: string, project: string): void;
}

export function scratchAddresses(base: Pick<Snapshot, 'heldAddresses'>): ScratchAddresses {
  const lists = new Map<string, HeldAddress[]>();

  function listOf(network: string, family: Family, project: string): HeldAddress[] {
    const name = `${project}/${network}/${family}`;
    const known = lists.get(name) ?? [...base.heldAddresses(network, family, project)];
    lists.set(name, known);
    return known;
  }

  /** The list that a key belongs in, with its place there. Hardware addresses are in none. */
  function placeOf(key: string, project: string): { list: HeldAddress[]; place: number } | undefined {
    const [type, network = '', family] = key.split('/');
    if (type !== 'ip') return undefined;
    const list = listOf(network, family === '6' ? 6 : 4, project);
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((list[middle]?.key ?? '') < key) low = middle + 1;
      else high = middle;
    }
    return { list, place: low };
  }

  return {
    held: listOf,
    put(record, project) {
      const found = placeOf(record.key, project);
      if (found === undefined) return;
      const isThere = found.list[found.place]?.key === record.key;
      found.list.splice(found.place, isThere ? 1 : 0, record);
    },
    delete(key, project) {
      const found = placeOf(key, project);
      if (found?.list[found.place]?.key === key) found.list.splice(found.place, 1);
    },
  };
}
