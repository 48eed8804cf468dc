import { DroverError, isKind } from '#shared/errors.ts';
import { guestsOfCluster } from '../../../store/cluster-guests.ts';
import type { ClusterApi } from '../cluster-api.ts';
import type { ClusterTools, Holder } from '../cluster-memory.ts';
import { textOf } from '../guests/properties.ts';
import { epochAmong, isOurTag, type Mark, readMark, tagOf } from './marks.ts';
import type { GuestRow } from '../observe/listings.ts';
import { readConfig } from '../observe/read-guests.ts';

/** Whose turn it is to write to a cluster, as agents see to it on their hosts. */
export interface Fence {
  /** failed-precondition, reason stale-epoch, where a mark is of a newer control plane of our fleet. */
  check(mark: Mark | undefined, vmid: number): void;
  /** Looks for newer control planes where the list of all guests tells of them: usually asks nothing. */
  watch(rows: readonly GuestRow[], signal: AbortSignal): Promise<void>;
}

/** Guests to look at in one poll: one that tells is enough. */
const mostLooks = 3;

/** Marks that cannot be read are taken for true until they can. */
type Verdict = 'newer' | 'other' | 'unread';

export function createFence(tools: ClusterTools): Fence {
  const { memory, fleetId, fleetEpoch, store, clock, log, name: cluster } = tools;
  /** Guests whose tag tells of an epoch, and whose mark does not. */
  const others = new Set<string>();
  let isCertain = false;

  const isNewer = (mark: Mark | undefined): boolean =>
    mark !== undefined && mark.fleetId === fleetId && mark.epoch > fleetEpoch;

  function hold(holder: Holder): void {
    const isTold = isCertain && memory.heldBy?.epoch === holder.epoch;
    isCertain = true;
    if (isTold) return;
    memory.heldBy = holder;
    const message = heldWords(cluster, holder, fleetEpoch);
    log.error({ event: 'cluster.held', cluster, epoch: holder.epoch, vmid: holder.vmid });
    const event = { type: 'cluster.held', severity: 'warning', subject: { cluster }, message } as const;
    store
      .transact((tx) => tx.event({ ...event, atMs: clock.nowMs() }))
      .catch((err: unknown) => log.warn({ event: 'event.unrecorded', cluster, err }));
  }

  const keyOf = ({ vmid, tags }: GuestRow): string => `${vmid} ${tags.join(' ')}`;

  /** Ids are our fleet's alone. */
  function ownTags(): ReadonlySet<string> {
    return new Set(guestsOfCluster(store.snapshot(), cluster).map(({ instanceId }) => tagOf(instanceId)));
  }

  async function verdictOn(row: GuestRow, signal: AbortSignal): Promise<Verdict> {
    if (memory.nodes.get(row.node)?.online === false) return 'unread';
    try {
      const config = await readConfig(tools, row, signal);
      const mark = readMark(textOf(config['description']));
      if (!isNewer(mark)) return 'other';
      hold({ epoch: mark?.epoch ?? 0, vmid: row.vmid });
      return 'newer';
    } catch (error) {
      if (signal.aborted) throw error;
      return isKind(error, 'not-found') && error.reason !== 'node' ? 'other' : 'unread';
    }
  }

  return {
    check(mark, vmid) {
      if (mark === undefined || !isNewer(mark)) return;
      const holder = { epoch: mark.epoch, vmid };
      hold(holder);
      throw heldError(cluster, holder, fleetEpoch);
    },
    async watch(rows, signal) {
      if (isCertain) return;
      const told = rows.filter(
        (row) => row.tags.some(isOurTag) && epochAmong(row.tags) > fleetEpoch && !others.has(keyOf(row)),
      );
      const tags = told.length === 0 ? new Set<string>() : ownTags();
      let suspect: Holder | undefined;
      let looks = 0;
      for (const row of told) {
        const verdict = looks < mostLooks ? await verdictOn(row, signal) : 'unread';
        looks += 1;
        if (verdict === 'newer') return;
        if (verdict === 'other') others.add(keyOf(row));
        else if (row.tags.some((tag) => tags.has(tag)))
          suspect ??= { epoch: epochAmong(row.tags), vmid: row.vmid };
      }
      memory.heldBy = suspect;
    },
  };
}

export const heldWords = (cluster: string, { epoch, vmid }: Holder, own: number): string =>
  `a newer control plane of this fleet has ${cluster}: guest ${vmid} bears epoch ${epoch}, ours is ${own}; ` +
  'nothing is written there';

const heldError = (cluster: string, holder: Holder, own: number): DroverError =>
  new DroverError('failed-precondition', heldWords(cluster, holder, own), {
    subject: { cluster, vmid: String(holder.vmid), acted: 'no' },
    reason: 'stale-epoch',
    nextStep:
      'stop this control plane; or stop the other one for good, and start this one with ' +
      `--fleet-epoch ${holder.epoch + 1}`,
  });

/** failed-precondition, reason stale-epoch: nothing is to be written to the cluster by us. */
export function checkHolder({
  memory,
  name,
  fleetEpoch,
}: Pick<ClusterTools, 'memory' | 'name' | 'fleetEpoch'>): void {
  if (memory.heldBy !== undefined) throw heldError(name, memory.heldBy, fleetEpoch);
}

/** Nothing but reads goes to a cluster that a newer control plane has, whoever wants it. */
export function fencedApi(
  api: ClusterApi,
  tools: Pick<ClusterTools, 'memory' | 'name' | 'fleetEpoch'>,
): ClusterApi {
  return {
    ...api,
    async call(method, parameters, options) {
      if (!method.startsWith('GET ')) checkHolder(tools);
      return api.call(method, parameters, options);
    },
    async upload(target, file, checks, options) {
      checkHolder(tools);
      return api.upload(target, file, checks, options);
    },
  };
}
