/** The token that the lines of docs/proxmox.md make: a role, a user, and a separated token of the user's. */
import type { ClusterSpec } from '#shared/model.ts';
import { rightsOf } from '../control-plane/backends/proxmox/observe/rights.ts';
import type { World } from './fakes/proxmox/world.ts';

/** `paths`: what it is given its role on. */
export function documentedToken(
  { access }: Pick<World, 'access'>,
  paths: readonly string[] = ['/'],
): Pick<ClusterSpec, 'credential'> {
  const privileges = new Set(rightsOf({}).map(({ privilege }) => privilege));
  access.roles.set('Drover', { privileges, special: false });
  access.addUser('drover@pve');
  const secret = access.addToken('drover@pve', 'fleet');
  for (const subject of ['drover@pve', 'drover@pve!fleet'])
    for (const path of paths) access.grant(subject, path, 'Drover');
  return { credential: { kind: 'token', tokenId: 'drover@pve!fleet', secret } };
}
