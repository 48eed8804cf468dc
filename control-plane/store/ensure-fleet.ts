import type { FleetRecord, Transaction } from './store.ts';

const onlyFleet = 'fleet';

/**
 * The fleet of this store; it is given its id once, with the store. Its epoch only ever grows: agents and
 * clusters that have seen it refuse a control plane with an older one.
 */
export function ensureFleet(tx: Transaction, newFleetId: string, leastEpoch = 1): FleetRecord {
  const known = tx.get('fleet', onlyFleet);
  if (known !== undefined && known.epoch >= leastEpoch) return known;
  const fleet = { fleetId: known?.fleetId ?? newFleetId, epoch: leastEpoch };
  tx.put('fleet', onlyFleet, fleet);
  return fleet;
}
