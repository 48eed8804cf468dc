import { isDeepStrictEqual } from 'node:util';
import type { FleetEvent, Instance, InstanceState, NodeName } from '#shared/model.ts';
import { recordOperationStep } from './finish-operation.ts';
import type { Transaction } from './store.ts';

export interface Sighting {
  readonly node: NodeName;
  readonly id: string;
  readonly observed: InstanceState | 'absent';
}

/**
 * Keeps what a node said of an instance, if it says something new: phase, exit, restarts, message, start,
 * generation, limits, addresses, or that it is absent. What another node says of it is not true of it, and
 * what nobody knows has no record to keep it.
 */
export function recordObservation(tx: Transaction, sighting: Sighting, nowMs: number): void {
  const record = tx.get('instance', sighting.id);
  if (record === undefined || record.node !== sighting.node) return;
  if (!isNews(record.observed, sighting.observed)) return;
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
const furnishing = ({ limits, notEnforced, addresses, rootPool }: InstanceState) => [
  limits,
  notEnforced,
  addresses,
  rootPool,
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
