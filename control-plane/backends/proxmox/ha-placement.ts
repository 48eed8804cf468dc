import type { ClusterGuest } from '#shared/model.ts';
import { rowsOf } from './answer-rows.ts';
import { type ClusterTools, versionOf } from './cluster-memory.ts';
import { isOn, parseList, textOf } from './guests/properties.ts';

/** What keeps a guest to some nodes, whatever happens to them. */
export interface HaBond {
  /** As people made it: 'group "near"' before 9, 'rule "near"' from 9 on. */
  readonly called: string;
  readonly nodes: readonly string[];
}

type Tools = Pick<ClusterTools, 'api' | 'memory' | 'log' | 'name'>;

const readWithinMs = 10_000;

/** "pve1:2,pve2": with priorities. */
const nodesIn = (text: unknown): string[] => parseList(text).map((each) => each.replace(/:.*$/, ''));

/**
 * Read when it is asked for: guests that HA manages are moved seldom, and what people change about HA counts
 * at once. Undefined: nothing strict is said of it, or that cannot be read, so that its cluster has the last
 * word.
 */
export async function haBondOf(
  tools: Tools,
  { kind, vmid }: Pick<ClusterGuest, 'kind' | 'vmid'>,
  signal: AbortSignal,
): Promise<HaBond | undefined> {
  const sid = `${kind === 'lxc' ? 'ct' : 'vm'}:${vmid}`;
  const read = versionOf(tools.memory).major < 9 ? groupOf : ruleOf;
  try {
    return await read(tools, sid, signal);
  } catch (err) {
    if (signal.aborted) throw err;
    tools.log.warn({ event: 'cluster.unread', cluster: tools.name, err });
    return undefined;
  }
}

async function groupOf({ api }: Tools, sid: string, signal: AbortSignal): Promise<HaBond | undefined> {
  const options = { signal, timeoutMs: readWithinMs };
  const [resources, groups] = await Promise.all([
    api.call('GET /cluster/ha/resources', {}, options),
    api.call('GET /cluster/ha/groups', {}, options),
  ]);
  const name = textOf(rowsOf(resources).find((row) => textOf(row['sid']) === sid)?.['group']);
  const group = rowsOf(groups).find((row) => name !== '' && textOf(row['group']) === name);
  if (group === undefined || !isOn(group['restricted'])) return undefined;
  return { called: `group "${name}"`, nodes: nodesIn(group['nodes']) };
}

async function ruleOf({ api }: Tools, sid: string, signal: AbortSignal): Promise<HaBond | undefined> {
  const rules = await api.call('GET /cluster/ha/rules', {}, { signal, timeoutMs: readWithinMs });
  const rule = rowsOf(rules).find(
    (row) =>
      textOf(row['type']) === 'node-affinity' &&
      isOn(row['strict']) &&
      !isOn(row['disable']) &&
      parseList(row['resources']).includes(sid),
  );
  return rule === undefined
    ? undefined
    : { called: `rule "${textOf(rule['rule'])}"`, nodes: nodesIn(rule['nodes']) };
}
