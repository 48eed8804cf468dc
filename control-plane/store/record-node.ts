import type { Condition, Node, NodeFacts, NodeName } from '#shared/model.ts';
import type { Transaction } from './store.ts';

export interface NodeReport {
  readonly name: NodeName;
  readonly facts: NodeFacts;
  /** Undefined: as before. */
  readonly incarnation?: string;
  readonly bootId?: string;
}

/** Keeps what a node says of itself, where that is new. False for a node that is not of this fleet. */
export function recordNode(tx: Transaction, report: NodeReport, nowMs: number): boolean {
  const record = tx.named('node', report.name);
  if (record === undefined) return false;
  const next: Node = {
    ...record,
    facts: report.facts,
    incarnation: report.incarnation ?? record.incarnation,
    bootId: report.bootId ?? record.bootId,
  };
  const tell = (type: string, severity: 'info' | 'warning', message: string): void =>
    tx.event({ atMs: nowMs, type, severity, subject: { node: report.name }, message });

  if (record.incarnation !== '' && next.incarnation !== record.incarnation)
    tell('node.replaced', 'warning', 'it came back with a new state directory: what it ran before is gone');
  else if (record.bootId !== '' && next.bootId !== record.bootId)
    tell('node.rebooted', 'warning', 'its kernel was started anew');
  const isSame =
    next.incarnation === record.incarnation &&
    next.bootId === record.bootId &&
    JSON.stringify(next.facts) === JSON.stringify(record.facts);
  if (!isSame) tx.put('node', record.metadata.id, next, record.metadata.project);
  return true;
}

/** Tells people that a node came or went. */
export function recordPresence(
  tx: Transaction,
  node: NodeName,
  { isConnected, message }: { isConnected: boolean; message: string },
  nowMs: number,
): void {
  if (tx.named('node', node) === undefined) return;
  tx.event({
    atMs: nowMs,
    type: isConnected ? 'node.connected' : 'node.disconnected',
    severity: isConnected ? 'info' : 'warning',
    subject: { node },
    message,
  });
}

/** Tells people that a condition of a node began or ended. */
export function recordConditionChange(
  tx: Transaction,
  node: NodeName,
  condition: Condition,
  nowMs: number,
): void {
  if (tx.named('node', node) === undefined) return;
  const what = `${condition.type}${condition.holds ? '' : ' is over'}`;
  const why = condition.message || condition.reason;
  tx.event({
    atMs: nowMs,
    type: 'node.condition-changed',
    severity: condition.holds ? 'warning' : 'info',
    subject: { node, condition: condition.type },
    message: why === '' ? what : `${what}: ${why}`,
  });
}
