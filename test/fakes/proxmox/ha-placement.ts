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

/** Where the manager takes it back to: it is not on a node of the highest priority that is present. */
export function homeOf(
  world: World,
  sid: string,
  here: string,
  present: readonly string[],
): string | undefined {
  const preference = preferenceOf(world, sid);
  const fields = world.ha.resources.get(sid)?.fields ?? {};
  const group = world.ha.groups.get(fields['group'] ?? '');
  const stays = fields['failback'] === '0' || group?.['nofailback'] === '1';
  if (preference === undefined || stays) return undefined;
  const rank = (name: string): number => preference.priorities.get(name) ?? -1;
  const [best] = nodesOf(world, sid, present);
  return best === undefined || rank(best) <= rank(here) ? undefined : best;
}

/** "ct:101": those that a rule of resource affinity ties to it, or keeps away. */
export function companionsOf(world: World, sid: string, affinity: 'positive' | 'negative'): string[] {
  const rules = [...world.ha.rules.values()].filter(
    (one) => one['type'] === 'resource-affinity' && one['affinity'] === affinity && one['disable'] !== '1',
  );
  const sids = rules.map((one) => parseList(one['resources'] ?? '')).filter((some) => some.includes(sid));
  const managed = (one: string): boolean => (world.ha.resources.get(one)?.state ?? 'ignored') !== 'ignored';
  return [...new Set(sids.flat())].filter((one) => one !== sid && managed(one)).sort();
}

/** Those on that node that are to be kept apart from it. */
export const blockingOn = (world: World, sid: string, node: string): string[] =>
  companionsOf(world, sid, 'negative').filter((one) => world.guests.get(Number(one.slice(3)))?.node === node);
