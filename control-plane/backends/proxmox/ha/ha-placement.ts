import type { ClusterGuest, PlacementBond } from '#shared/model.ts';
import { type Row, rowsOf } from '../api/answer-rows.ts';
import { type ClusterMemory, type ClusterTools, nodeNameOf, versionOf } from '../cluster-memory.ts';
import { textOf } from '../guests/properties.ts';
import { isLeftToHa, type Sight } from '../life/guest-state.ts';
import { bondsOf } from './ha-bonds.ts';
import { type HaRules, rulesFromGroups, rulesFromRules, sidOf } from './ha-rules.ts';
import type { GuestRow } from '../observe/listings.ts';

type Tools = Pick<ClusterTools, 'api' | 'memory' | 'log' | 'name' | 'clock' | 'signal'>;

const readWithinMs = 10_000;
/** People change these seldom; a move reads them anew before it asks for anything. */
const everyMs = 60_000;

/** Knows what HA is told to heed, as long as it manages a guest of ours. */
export interface HaReader {
  /** After a poll: reads what is due, one request at a time but for the first time. Waits for nothing. */
  keep(isNeeded: boolean): void;
  /** All of it anew. Undefined: it cannot be read, so that its cluster has the last word. */
  read(signal: AbortSignal): Promise<HaRules | undefined>;
}

type Part = 'resources' | 'rules';

export function createHaReader(tools: Tools): HaReader {
  const { api, memory, log, name: cluster, clock, signal: closing } = tools;
  let resources: Row[] | undefined;
  let rules: { readonly rows: Row[]; readonly areGroups: boolean } | undefined;
  const dueAtMs = { resources: Number.NEGATIVE_INFINITY, rules: Number.NEGATIVE_INFINITY };
  let isReading = false;

  /** Groups are made rules once the last node has come to 9: until then resources are in groups still. */
  const areInGroups = (): boolean =>
    versionOf(memory).major < 9 || (resources ?? []).some((row) => textOf(row['group']) !== '');

  async function readPart(part: Part, signal: AbortSignal): Promise<void> {
    const options = { signal, timeoutMs: readWithinMs };
    if (part === 'resources') {
      resources = rowsOf(await api.call('GET /cluster/ha/resources', {}, options));
      return;
    }
    const areGroups = areInGroups();
    const list = areGroups ? 'GET /cluster/ha/groups' : 'GET /cluster/ha/rules';
    rules = { rows: rowsOf(await api.call(list, {}, options)), areGroups };
  }

  function takeIn(): void {
    if (resources === undefined || rules === undefined) return;
    memory.ha = (rules.areGroups ? rulesFromGroups : rulesFromRules)(resources, rules.rows);
  }

  async function readParts(parts: readonly Part[], signal: AbortSignal): Promise<boolean> {
    try {
      for (const part of parts) await readPart(part, signal);
      takeIn();
      return true;
    } catch (err) {
      if (closing.aborted || signal.aborted) return false;
      log.warn({ event: 'cluster.unread', cluster, err });
      return false;
    }
  }

  return {
    keep(isNeeded) {
      const nowMs = clock.monotonicMs();
      const due = (['resources', 'rules'] as const).filter((part) => dueAtMs[part] <= nowMs);
      if (!isNeeded || isReading || due.length === 0) return;
      const isFirst = memory.ha === undefined;
      const now = isFirst ? due : due.slice(0, 1);
      for (const part of now) dueAtMs[part] = nowMs + everyMs;
      isReading = true;
      void readParts(now, closing).finally(() => {
        isReading = false;
      });
    },
    async read(signal) {
      return (await readParts(['resources', 'rules'], signal)) ? memory.ha : undefined;
    },
  };
}

/** What HA's rules say of a guest of ours; none where it does not manage it. */
export function haBondsOf(
  tools: Pick<ClusterTools, 'memory' | 'name'>,
  { kind }: Pick<ClusterGuest, 'kind'>,
  sight: Sight,
  rules: HaRules | undefined = tools.memory.ha,
): PlacementBond[] {
  const { memory } = tools;
  if (rules === undefined || !isLeftToHa(sight)) return [];
  const bySid = listed(memory.guests);
  return bondsOf(rules, sidOf({ kind, vmid: sight.vmid }), {
    here: sight.node,
    nameOf: (node) => nodeNameOf(tools, node),
    counts: (node) => countsForHa(memory, node),
    find(sid) {
      const row = bySid.get(sid);
      return row && { node: row.node, called: row.name || sid };
    },
  });
}

function countsForHa({ nodes }: ClusterMemory, name: string): boolean {
  const node = nodes.get(name);
  return node?.online === true && (node.row?.haState ?? '') !== 'maintenance';
}

const lists = new WeakMap<readonly GuestRow[], Map<string, GuestRow>>();

/** Once for each list: it is asked for every guest that HA manages. */
function listed(guests: readonly GuestRow[]): Map<string, GuestRow> {
  const known = lists.get(guests);
  if (known !== undefined) return known;
  const made = new Map(guests.map((row) => [sidOf(row), row]));
  lists.set(guests, made);
  return made;
}
