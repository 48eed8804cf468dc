/** What of a container only root@pam may set, and what a right over the node lets others do. */
import { isRoot } from './guest-life.ts';
import { parseList, parseParts } from './guest-property.ts';
import { permissionFailure } from './permission.ts';
import type { Call } from './route.ts';
import type { Guest } from './world.ts';

/** `guest`: the one that is there; a new one is as the call says. */
export function checkPrivileges(call: Call, guest?: Guest): void {
  if (isRoot(call)) return;
  const { parameters } = call;
  const isPrivileged = guest === undefined ? !isUnprivileged(call) : guest.config['unprivileged'] !== '1';
  for (const [key, value] of Object.entries(parameters)) {
    if (key === 'features') checkFeatures(call, isPrivileged, guest?.config[key] ?? '', value);
    if (key === 'hookscript') throw permissionFailure('changing the hookscript is only allowed for root@pam');
    if (/^(rootfs|mp\d+)$/.test(key) && value.startsWith('/'))
      throw permissionFailure('mount point type bind is only allowed for root@pam');
    if (/^dev\d+$/.test(key))
      throw permissionFailure('configuring device passthrough is only allowed for root@pam');
  }
  if (parseList(parameters['delete'] ?? '').includes('features'))
    checkFeatures(call, isPrivileged, guest?.config['features'] ?? '', '');
}

/** From 9 on they are, where nothing is said. */
export const isUnprivileged = ({ parameters, world }: Pick<Call, 'parameters' | 'world'>): boolean =>
  (parameters['unprivileged'] ?? (world.major >= 9 ? '1' : '0')) === '1';

function checkFeatures(call: Call, isPrivileged: boolean, before: string, after: string): void {
  if (isPrivileged)
    throw permissionFailure('changing feature flags for privileged container is only allowed for root@pam');
  const [old, next] = [parseParts(before, ''), parseParts(after, '')];
  const changed = [...new Set([...old.keys(), ...next.keys()])].filter(
    (name) => (old.get(name) ?? '') !== (next.get(name) ?? ''),
  );
  if (changed.some((name) => name !== 'nesting'))
    throw permissionFailure('changing feature flags (except nesting) is only allowed for root@pam');
  if (changed.length > 0) call.require(`/vms/${call.parameters['vmid']}`, 'VM.Allocate');
}
