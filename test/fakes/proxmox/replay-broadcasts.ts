/** Broadcasts at the moments at which the recorded cluster had them. */
import type { ProxmoxServer } from '../proxmox-server.ts';
import type { Exchange } from './recording.ts';

interface Row {
  readonly vmid?: number;
  readonly type?: string;
  readonly status?: string;
  readonly name?: string;
  readonly template?: number;
  readonly maxmem?: number;
  readonly maxcpu?: number;
}

function rowsIn(value: unknown): Row[] {
  if (Array.isArray(value)) return value.flatMap(rowsIn);
  if (typeof value !== 'object' || value === null) return [];
  const row = value as Row & { readonly members?: unknown; readonly data?: unknown };
  const inside = [...rowsIn(row.data), ...rowsIn(row.members)];
  return row.status === undefined ? inside : [row, ...inside];
}

/** A guest that was told of since we last told, or a storage or node before the first time. */
export function broadcastAsRecorded({ world }: ProxmoxServer, { request, response }: Exchange): void {
  if (!/^\/(?:cluster\/resources|pools|nodes$)/.test(request.path) || request.method !== 'GET') return;
  const rows = rowsIn(response?.body);
  const stale = rows.some((row) => {
    if (row.vmid === undefined) return false;
    const told = world.broadcasts.guest(row.vmid);
    if (row.status === 'unknown') return false;
    const same =
      told?.status === row.status && told?.name === row.name && told?.maxMemoryBytes === row.maxmem;
    return !same || told?.cpus !== row.maxcpu || told?.template !== (row.template === 1);
  });
  if (stale) world.broadcasts.tell();
  for (const { vmid, status } of rows)
    if (vmid !== undefined && status === 'unknown') world.broadcasts.forgetGuest(vmid);
}
