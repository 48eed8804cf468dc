import type { Assignment, Instance, NodeName } from '#shared/model.ts';
import type { Transaction } from './store.ts';

/**
 * The interfaces and host ports that an instance gets on the node, reserved for its life. What it has already
 * (`instance.spec.assigned`) it keeps as far as its spec still asks for it; what it no longer asks for is free
 * again. Repeating it changes nothing. failed-precondition, resource-exhausted: why it cannot have them there,
 * before anything is written.
 */
export function assignAddresses(
  _tx: Transaction,
  { spec }: Instance,
  _node: NodeName,
  _nowMs: number,
): Pick<Assignment, 'attachments' | 'ports'> {
  const { attachments, ports } = spec.assigned;
  return { attachments, ports };
}
