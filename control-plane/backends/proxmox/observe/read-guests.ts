import { DroverError } from '#shared/errors.ts';
import { rowOf } from '../api/answer-rows.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { Configuration } from '../guests/guest-kind.ts';
import { ask } from '../tasks/perform.ts';
import { type GuestRow, parseResources } from './listings.ts';

type Tools = Pick<ClusterTools, 'api' | 'name'>;

/** All guests, asked for anew: what was polled may be old. The cluster is right about where they are. */
export async function listGuests(
  { api }: Pick<Tools, 'api'>,
  signal: AbortSignal,
): Promise<readonly GuestRow[]> {
  return parseResources(await api.call('GET /cluster/resources', { type: 'vm' }, { signal })).guests;
}

/** The guest with a number, whoever's it is. not-found. */
export async function findGuest(tools: Tools, vmid: number, signal: AbortSignal): Promise<GuestRow> {
  const { name: cluster } = tools;
  const row = (await listGuests(tools, signal)).find((each) => each.vmid === vmid);
  if (row !== undefined) return row;
  throw new DroverError('not-found', `there is no guest ${vmid} in ${cluster}`, {
    subject: { cluster, vmid: String(vmid), acted: 'no' },
    nextStep: 'see `drover get guests`',
  });
}

/** The configuration of a guest, whoever's it is. not-found: it is not there, or moved. */
export async function readConfig(
  { api, kinds }: Pick<ClusterTools, 'api' | 'kinds'>,
  { kind, node, vmid }: Pick<GuestRow, 'kind' | 'node' | 'vmid'>,
  signal: AbortSignal,
): Promise<Configuration> {
  return rowOf(await ask({ api }, kinds[kind].calls({ node, vmid }).config(), signal));
}
