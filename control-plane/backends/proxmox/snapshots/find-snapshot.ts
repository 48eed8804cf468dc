import { DroverError } from '#shared/errors.ts';
import { rowsOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { GuestPlace } from '../guests/guest-kind.ts';
import { textOf } from '../guests/properties.ts';
import { ask } from '../tasks/perform.ts';
import { parseNote } from './snapshot-notes.ts';

/**
 * A guest's snapshot as its cluster calls it, by that name or by the one that it has in Drover. not-found
 * names those that there are.
 */
export async function findSnapshot(
  { api, kinds, name: cluster }: Pick<ClusterTools, 'api' | 'kinds' | 'name'>,
  guest: GuestPlace & { readonly kind: 'lxc' | 'qemu' },
  snapshot: string,
  signal: AbortSignal,
): Promise<string> {
  const { vmid, kind } = guest;
  const rows = rowsOf(await ask({ api }, kinds[kind].calls(guest).snapshots(), signal))
    .map((row) => ({ name: textOf(row['name']), note: parseNote(textOf(row['description']).trim()) }))
    .filter(({ name }) => name !== 'current');
  const found =
    rows.find(({ name }) => name === snapshot) ?? rows.findLast(({ note }) => note?.name === snapshot);
  if (found !== undefined) return found.name;
  const names = rows.map(({ name, note }) => note?.name ?? name).join(', ') || 'none';
  throw new DroverError(
    'not-found',
    `guest ${vmid} of ${cluster} has no snapshot ${snapshot}; there are ${names}`,
    { subject: { cluster, vmid: String(vmid), acted: 'no' }, reason: 'snapshot' },
  );
}
