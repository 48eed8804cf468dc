import { isDeepStrictEqual } from 'node:util';
import type { FleetEvent, Instance, InstanceState, NodeName } from '#shared/model.ts';
import { volumesOfWorkload } from './find-volumes.ts';
import { recordOperationStep } from './finish-operation.ts';
import { isBeingAdopted } from './put-cluster-guest.ts';
import type { Snapshot, Transaction } from './store.ts';

export interface Sighting {
  readonly node: NodeName;
  readonly id: string;
  readonly observed: InstanceState | 'absent';
}

/**
 * Keeps what a node said of an instance, if it says something new: phase, exit, restarts, message, start,
 * generation, limits, addresses, bonds, or that it is absent. What another node says of it is not true of it,
 * and what nobody knows has no record to keep it. Guests of clusters alone move by themselves: then the
 * record follows.
 */
export function recordObservation(tx: Transaction, sighting: Sighting, nowMs: number): void {
  const found = tx.get('instance', sighting.id);
  if (found === undefined) return;
  const record = hasMoved(tx, found, sighting) ? rebind(tx, found, sighting.node, nowMs) : found;
  if (record.node !== sighting.node) return;
  if (!isNews(record.observed, sighting.observed)) return;
  const guest = sighting.observed === 'absent' ? tx.get('cluster-guest', sighting.id) : undefined;
  if (guest !== undefined && isBeingAdopted(guest)) return;
  const { project, name } = record.metadata;
  tx.put('instance', sighting.id, { ...record, observed: sighting.observed }, project);
  const telling = describe(record, sighting.observed);
  if (telling === undefined) return;
  const subject = {
    instance: name,
    instanceId: sighting.id,
    workload: record.workload,
    node: sighting.node,
  };
  tx.event({ atMs: nowMs, subject, ...telling }, project);
  const message = `${name} on ${sighting.node}: ${telling.message}`;
  recordOperationStep(tx, { workload: record.workload, project, message }, nowMs);
}

/** It is seen on another node of the cluster that its own node is of. What is absent there says nothing. */
export function hasMoved(
  snapshot: Pick<Snapshot, 'named'>,
  { node: from }: Pick<Instance, 'node'>,
  { node, observed }: Sighting,
): boolean {
  if (from === undefined || from === node || observed === 'absent') return false;
  const cluster = snapshot.named('node', from)?.cluster;
  return cluster !== undefined && snapshot.named('node', node)?.cluster === cluster;
}

/** The instance with its data volumes, where its guest is now. */
function rebind(tx: Transaction, record: Instance, node: NodeName, nowMs: number): Instance {
  const { metadata, workload, node: from = '' } = record;
  const { id, name, project } = metadata;
  const message = `from ${from} to ${node}`;
  const moved: Instance = { ...record, node, boundAtMs: nowMs, placedBecause: `its guest moved ${message}` };
  tx.put('instance', id, moved, project);
  if (record.spec.assigned.volumes.length > 0)
    for (const volume of volumesOfWorkload(tx, workload, project))
      if (volume.instanceId === id) tx.put('volume', volume.metadata.id, { ...volume, node }, project);
  const subject = { instance: name, instanceId: id, workload, node };
  tx.event({ atMs: nowMs, type: 'instance.moved', severity: 'info', subject, message }, project);
  recordOperationStep(tx, { workload, project, message: `${name} moved ${message}` }, nowMs);
  return moved;
}

export function isNews(before: Instance['observed'], now: InstanceState | 'absent'): boolean {
  if (before === undefined || before === 'absent' || now === 'absent') return before !== now;
  return (
    before.phase !== now.phase ||
    before.generation !== now.generation ||
    before.restarts !== now.restarts ||
    before.message !== now.message ||
    before.startedAtMs !== now.startedAtMs ||
    before.exit?.atMs !== now.exit?.atMs ||
    before.exit?.code !== now.exit?.code ||
    before.exit?.unknown !== now.exit?.unknown ||
    !isDeepStrictEqual(furnishing(before), furnishing(now))
  );
}

/** What it has on its host: it comes after the start, and changes without one. */
const furnishing = ({ limits, notEnforced, addresses, rootPool, bonds = [] }: InstanceState) => [
  limits,
  notEnforced,
  addresses,
  rootPool,
  bonds,
];

type Telling = Pick<FleetEvent, 'type' | 'severity' | 'message'>;

/** What people are told of the change; undefined for one that is nothing to them. */
function describe(record: Instance, now: InstanceState | 'absent'): Telling | undefined {
  const before = record.observed;
  if (now === 'absent') {
    if (record.intent === 'remove' || before === undefined) return undefined;
    return { type: 'instance.vanished', severity: 'warning', message: 'its node holds it no more' };
  }
  const isSamePhase = before !== undefined && before !== 'absent' && before.phase === now.phase;
  if (isSamePhase && before.restarts === now.restarts) return undefined;
  switch (now.phase) {
    case 'running':
      return { type: 'instance.started', severity: 'info', message: runningMessage(now) };
    case 'exited':
      return {
        type: 'instance.exited',
        severity: now.exit?.code === 0 && !now.exit.unknown ? 'info' : 'warning',
        message: exitMessage(now),
      };
    case 'backing-off':
      return { type: 'instance.backed-off', severity: 'warning', message: exitMessage(now) };
    case 'failed':
      return { type: 'instance.failed', severity: 'warning', message: now.message || exitMessage(now) };
    case 'stopped':
      return { type: 'instance.stopped', severity: 'info', message: 'stopped' };
    default:
      return undefined;
  }
}

const runningMessage = ({ restarts }: InstanceState): string =>
  restarts === 0 ? 'running' : `running, restart ${restarts}`;

function exitMessage({ exit, message }: InstanceState): string {
  if (exit === undefined) return message || 'not running';
  const how = exit.unknown ? 'exited, code unknown' : `exited with code ${exit.code}`;
  const why = exit.outOfMemory ? ': out of memory' : '';
  return message === '' ? `${how}${why}` : `${how}${why}: ${message}`;
}
