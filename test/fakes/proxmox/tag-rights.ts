/** Which tags a caller may give and take: those that the datacenter leaves to its users. */
import { permissionFailure } from './permission.ts';
import { parseList, parseParts } from './guest-property.ts';
import type { Call } from './route.ts';
import type { World } from './world.ts';

interface TagAccess {
  /** "free", "existing", "list", "none". */
  readonly allow: string;
  readonly listed: readonly string[];
}

function accessOf({ options }: World): TagAccess {
  const parts = parseParts(options['user-tag-access'] ?? '', '');
  const list = parts.get('user-allow-list') ?? '';
  return { allow: parts.get('user-allow') ?? 'free', listed: list.split(';').filter((tag) => tag !== '') };
}

export const registeredTags = ({ options }: World): string[] =>
  (options['registered-tags'] ?? '').split(/[;, ]+/).filter((tag) => tag !== '');

/** As GET /cluster/options lists them. */
export function allowedTags(call: Pick<Call, 'world' | 'may'>): string[] {
  const { world, may } = call;
  const isPrivileged = may('/', 'Sys.Modify');
  const { allow, listed } = accessOf(world);
  const seen = [...world.guests.values()].filter(
    ({ vmid }) => isPrivileged || may(`/vms/${vmid}`, 'VM.Audit'),
  );
  const used = seen.flatMap(({ config }) => parseList(config.tags ?? ''));
  const registered = new Set(registeredTags(world));
  const all = [
    ...(allow === 'none' && !isPrivileged ? [] : listed),
    ...(allow === 'free' || allow === 'existing' || isPrivileged ? used : []),
  ].filter((tag) => isPrivileged || !registered.has(tag));
  return [...new Set([...all, ...(isPrivileged ? registered : [])])].toSorted();
}

/** 403 for the first tag that comes or goes and is not the caller's to give. No pool stands for the guest. */
export function requireForTags(call: Call, next: string): void {
  const vmid = call.parameters['vmid'] ?? '';
  call.require(`/vms/${vmid}`, 'VM.Config.Options');
  if (call.may('/', 'Sys.Modify')) return;
  const before = new Set(parseList(call.world.guests.get(Number(vmid))?.config.tags ?? ''));
  const after = new Set(parseList(next));
  const allowed = new Set(allowedTags(call));
  const isFree = accessOf(call.world).allow === 'free';
  const registered = new Set(registeredTags(call.world));
  const denied = [...before.symmetricDifference(after)].find(
    (tag) => (!allowed.has(tag) && !isFree) || registered.has(tag),
  );
  if (denied !== undefined) throw permissionFailure(`/, Sys.Modify for modifying tag '${denied}'`);
}
