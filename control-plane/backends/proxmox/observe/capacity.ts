import type { NodeCapacity } from '#shared/model.ts';
import type { ClusterMemory, NodeMemory } from '../cluster-memory.ts';
import type { GuestRow } from './listings.ts';
import { guestStorages } from './storages.ts';

const mib = (bytes: number): number => Math.floor(bytes / 1024 ** 2);

/** A node's own system takes so much at least, where nothing tells how much of it are machines. */
const leastHostBytes = 1024 ** 3;

/** What stopped guests and templates have had is nobody's. */
const isUp = ({ status, template }: GuestRow): boolean => !template && status !== 'stopped';

/** On its node; versions before 9 tell only what the system inside says, which may be less. */
const usedBytes = ({ hostMemoryBytes, memoryUsedBytes }: GuestRow): number =>
  hostMemoryBytes || memoryUsedBytes;

/**
 * What a guest may claim at any time. A machine was promised all of its memory, also what a balloon has taken
 * of it for now; a container's is a bound that it need not ever reach.
 */
const claimBytes = (guest: GuestRow): number =>
  guest.kind === 'qemu' ? Math.max(guest.memoryBytes, usedBytes(guest)) : usedBytes(guest);

const sum = (guests: readonly GuestRow[], of: (guest: GuestRow) => number): number =>
  guests.reduce((total, guest) => total + of(guest), 0);

/** What the node needs for itself: what is used and is no guest's. */
function hostBytes(nodeUsedBytes: number, up: readonly GuestRow[]): number {
  const most = Math.max(0, nodeUsedBytes - sum(up, usedBytes));
  const isExact = up.every(({ kind, hostMemoryBytes }) => kind === 'lxc' || hostMemoryBytes > 0);
  if (isExact) return most;
  // Machines hold on their node something between what they say and all that they have.
  const least = Math.max(0, nodeUsedBytes - sum(up, claimBytes));
  return Math.min(most, Math.max(least, leastHostBytes));
}

/**
 * Memory of a node that no instance can have: its own, and what others may claim. Of ours, what is beyond
 * what is reserved for them. Pure.
 */
export function othersBytes(
  nodeUsedBytes: number,
  guests: readonly GuestRow[],
  reservedMib: ReadonlyMap<number, number>,
): number {
  const up = guests.filter(isUp);
  const beyond = (guest: GuestRow): number =>
    Math.max(0, claimBytes(guest) - (reservedMib.get(guest.vmid) ?? 0) * 1024 ** 2);
  return hostBytes(nodeUsedBytes, up) + sum(up, beyond);
}

/** What is free on a node. `reservedMib`: of guests of ours, by number: memory that is reserved for each. */
export function capacityOf(
  { row, storages, node }: NodeMemory,
  memory: ClusterMemory,
  reservedMib: ReadonlyMap<number, number>,
): NodeCapacity {
  const here = memory.guests.filter((guest) => guest.node === node);
  const pools = guestStorages(storages).map((each) => ({
    name: each.storage,
    freeMib: mib(Math.max(0, each.sizeBytes - each.usedBytes)),
  }));
  return {
    memoryAvailableMib: mib(Math.max(0, (row?.memoryBytes ?? 0) - (row?.memoryUsedBytes ?? 0))),
    diskFreeMib: pools[0]?.freeMib ?? 0,
    cpuUsedMillicores: Math.round((row?.cpuShare ?? 0) * (row?.cpuCount ?? 0) * 1000),
    instances: here.filter(({ vmid }) => reservedMib.has(vmid)).length,
    pools,
    // Processors are shared by all that run; memory is had by one alone.
    others: { memoryMib: mib(othersBytes(row?.memoryUsedBytes ?? 0, here, reservedMib)) },
  };
}
