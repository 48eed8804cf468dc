/** Where a resource may run: groups before 9, node-affinity rules from 9 on. */
import { parseList } from './guest-property.ts';
import type { World } from './world.ts';

interface Preference {
  readonly priorities: ReadonlyMap<string, number>;
  readonly strict: boolean;
}

/** "pve1:2,pve2" → priorities; none counts as 0. */
export function parsePriorities(text: string): Map<string, number> {
  return new Map(
    parseList(text).map((part) => {
      const [name = '', priority] = part.split(':');
      return [name, Number(priority ?? 0)];
    }),
  );
}

function preferenceOf(world: World, sid: string): Preference | undefined {
  const group = world.ha.groups.get(world.ha.resources.get(sid)?.fields['group'] ?? '');
  if (group !== undefined)
    return { priorities: parsePriorities(group['nodes'] ?? ''), strict: group['restricted'] === '1' };
  const rule = [...world.ha.rules.values()].find(
    (one) =>
      one['type'] === 'node-affinity' &&
      one['disable'] !== '1' &&
      parseList(one['resources'] ?? '').includes(sid),
  );
  if (rule === undefined) return undefined;
  return { priorities: parsePriorities(rule['nodes'] ?? ''), strict: rule['strict'] === '1' };
}

/** The nodes of `present` that it may run on, best first: by priority, then by how many resources they have. */
export function nodesOf(world: World, sid: string, present: readonly string[]): string[] {
  const preference = preferenceOf(world, sid);
  const services = [...world.ha.resources.keys()].map((one) => world.guests.get(Number(one.slice(3)))?.node);
  const load = (name: string): number => services.filter((node) => node === name).length;
  const rank = (name: string): number => preference?.priorities.get(name) ?? -1;
  const allowed = preference?.strict === true ? present.filter((name) => rank(name) >= 0) : [...present];
  return allowed.sort((one, other) => rank(other) - rank(one) || load(one) - load(other));
}
