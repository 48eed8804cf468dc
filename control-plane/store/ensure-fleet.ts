import type { FleetRecord, Transaction } from './store.ts';

const onlyFleet = 'fleet';

/** The fleet of this store; it is given its id once, with the store. */
export function ensureFleet(tx: Transaction, newFleetId: string): FleetRecord {
  const known = tx.get('fleet', onlyFleet);
  if (known !== undefined) return known;
  const fleet = { fleetId: newFleetId, epoch: 1 };
  tx.put('fleet', onlyFleet, fleet);
  return fleet;
}
