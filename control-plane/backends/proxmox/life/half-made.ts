import { DroverError, wordsOf } from '#shared/errors.ts';
import type { ClusterGuest } from '#shared/model.ts';
import { guestsOfCluster, templatesOfCluster } from '../../../store/cluster-guests.ts';
import { putGuestLeft } from '../../../store/put-cluster-guest.ts';
import { type ClusterTools, type HalfMade, nodeNameOf } from '../cluster-memory.ts';
import type { GuestPlace } from '../guests/guest-kind.ts';
import { textOf } from '../guests/properties.ts';
import type { FoundConfig } from './look.ts';
import type { GuestRow } from '../observe/listings.ts';
import type { OwnGuests } from './own-guests.ts';

type Kind = ClusterGuest['kind'];
type Tools = Pick<ClusterTools, 'store' | 'clock' | 'memory' | 'name'>;

const locks: ReadonlySet<string> = new Set(['create', 'clone']);

/** Being made, or left so by a node that died meanwhile. */
export const isHalfMade = ({ config }: Pick<FoundConfig, 'config'>): boolean =>
  locks.has(textOf(config['lock']));

/** Nobody makes it any more, and what a lock holds no token may remove. */
export const halfMadeError = (
  { instanceId, kind }: { readonly kind: Kind; readonly instanceId?: string },
  { place, config }: Pick<FoundConfig, 'place' | 'config'>,
): DroverError => errorOf({ ...place, kind, lock: textOf(config['lock']) }, instanceId);

function errorOf(
  { node, vmid, kind, lock }: GuestPlace & { readonly kind: Kind; readonly lock: string },
  instance?: string,
): DroverError {
  const tool = kind === 'lxc' ? 'pct' : 'qm';
  return new DroverError(
    'unavailable',
    `guest ${vmid} on ${node} is half made and locked (${lock}): what made it was cut off`,
    {
      subject: { ...(instance !== undefined && { instance }), vmid: String(vmid), acted: 'no' },
      reason: 'half-made',
      nextStep: `on ${node}, as root: ${tool} unlock ${vmid} && ${tool} destroy ${vmid}`,
    },
  );
}

/** It stays where it is, and is told until a person has taken it away; its instance goes on without it. */
export async function leaveHalfMade(
  tools: Tools,
  { instanceId, kind, cluster }: ClusterGuest,
  found: Pick<FoundConfig, 'place' | 'config'>,
): Promise<void> {
  const { store, clock } = tools;
  const { node, vmid } = found.place;
  const message = wordsOf(halfMadeError({ kind }, found));
  await store.transact((tx) => {
    const { leftVmids = [] } = tx.get('cluster-guest', instanceId) ?? {};
    if (leftVmids.includes(vmid)) return;
    putGuestLeft(tx, instanceId, [...leftVmids, vmid]);
    const subject = { instanceId, cluster, node: nodeNameOf(tools, node) };
    tx.event({ atMs: clock.nowMs(), type: 'guest.half-made', severity: 'warning', subject, message });
  });
}

/** Those of ours that wait for a person, of instances and templates, as far as the list still has them so. */
export function halfMadeAmong(
  rows: readonly GuestRow[],
  { store, name: cluster }: Tools,
  own: OwnGuests,
): HalfMade[] {
  const snapshot = store.snapshot();
  const waiting = own
    .records()
    .filter(({ instanceId }) => own.of(instanceId).run.failure?.reason === 'half-made');
  const templates = templatesOfCluster(snapshot, cluster).filter(
    ({ state, vmid, begunVmid }) => state === 'failed' && begunVmid === vmid,
  );
  const numbers = new Set([
    ...guestsOfCluster(snapshot, cluster).flatMap(({ leftVmids = [] }) => leftVmids),
    ...[...waiting, ...templates].map(({ vmid }) => vmid),
  ]);
  return rows
    .filter(({ vmid, lock }) => numbers.has(vmid) && locks.has(lock))
    .map((row) => ({ vmid: row.vmid, node: row.node, message: wordsOf(errorOf(row)) }));
}

/** What a whole list does not have so any more was taken away. */
export async function forgetHalfMade({ store, memory, name: cluster }: Tools): Promise<void> {
  const isThere = (vmid: number): boolean => memory.halfMade.some((each) => each.vmid === vmid);
  const isOver = ({ leftVmids = [] }: ClusterGuest): boolean => !leftVmids.every(isThere);
  const over = guestsOfCluster(store.snapshot(), cluster).filter(isOver);
  if (over.length === 0) return;
  await store.transact((tx) => {
    for (const { instanceId } of over) {
      const { leftVmids = [] } = tx.get('cluster-guest', instanceId) ?? {};
      putGuestLeft(tx, instanceId, leftVmids.filter(isThere));
    }
  });
}
