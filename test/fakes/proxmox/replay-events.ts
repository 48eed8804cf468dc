/** What happened outside the API in a recorded flow. */
import type { ProxmoxServer } from '../proxmox-server.ts';
import type { Exchange } from './recording.ts';

const namesIn = (text: string): string[] => text.match(/\bpv[en]\d\b/g) ?? [];

/** Does to the fake what was done to the cluster before this exchange; a mere note of time does nothing. */
export async function replayEvent(
  { world, faults }: ProxmoxServer,
  { before = '', request }: Exchange,
): Promise<void> {
  const nodes = namesIn(before);
  const guest = world.guests.get(Number(/\/(?:lxc|qemu)\/(\d+)/.exec(request.path)?.[1]));
  const [, lock] = /lock (\w+) set/.exec(before) ?? [];
  if (lock !== undefined && guest !== undefined) guest.config.lock = lock;
  else if (before.includes('lock removed')) delete guest?.config.lock;
  else if (before.includes('died')) for (const name of nodes) await faults.killNode(name);
  else if (before.includes('started')) for (const name of nodes) await faults.reviveNode(name);
  else if (before.includes('was cut')) for (const name of nodes) faults.cutNode(name);
  else if (before.includes('connected again')) for (const name of nodes) faults.joinNode(name);
}
