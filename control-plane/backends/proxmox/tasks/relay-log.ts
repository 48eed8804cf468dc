import { guestWithVmid } from '../../../store/cluster-guests.ts';
import type { ClusterTools, RelayLog } from '../cluster-memory.ts';

/** An operation keeps its last hundred steps: one task must not fill it. */
const mostLines = 10;

/** What the server itself says of the end. */
const end = /^TASK (OK|WARNINGS|ERROR)/;

export function createRelayLog({ store, name: cluster, put }: Omit<ClusterTools, 'relay'>): RelayLog {
  const waiting = new Map<number, string[]>();

  function flush(vmid: number): void {
    const lines = waiting.get(vmid) ?? [];
    waiting.delete(vmid);
    const record = guestWithVmid(store.snapshot(), cluster, vmid);
    if (record === undefined) return;
    const left = lines.length - mostLines;
    const some = left > 0 ? [`… ${left} lines more`, ...lines.slice(-mostLines)] : lines;
    const { node, instanceId } = record;
    put({ kind: 'progress', node, instanceId, lines: some });
  }

  return ({ vmid }, line) => {
    if (line === '' || end.test(line)) return;
    const lines = waiting.get(vmid) ?? [];
    if (lines.length === 0) queueMicrotask(() => flush(vmid));
    waiting.set(vmid, [...lines, line]);
  };
}
