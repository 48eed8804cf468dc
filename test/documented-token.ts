/** The token that the lines of docs/proxmox.md make: a role, a user, and a separated token of the user's. */
import type { ClusterSpec } from '#shared/model.ts';
import { rightsOf } from '../control-plane/backends/proxmox/rights.ts';
import type { World } from './fakes/proxmox/world.ts';

export function documentedToken({ access }: World): Pick<ClusterSpec, 'credential'> {
  const privileges = new Set(rightsOf({}).map(({ privilege }) => privilege));
  access.roles.set('Drover', { privileges, special: false });
  access.addUser('drover@pve');
  const secret = access.addToken('drover@pve', 'fleet');
  for (const subject of ['drover@pve', 'drover@pve!fleet']) access.grant(subject, '/', 'Drover');
  return { credential: { kind: 'token', tokenId: 'drover@pve!fleet', secret } };
}
