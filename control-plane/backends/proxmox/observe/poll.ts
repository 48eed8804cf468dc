import { asDroverError, DroverError, wordsOf } from '#shared/errors.ts';
import { createBackoff } from '#shared/retry.ts';
import { nodesOfCluster } from '../../../store/put-cluster-node.ts';
import { templatesOfCluster } from '../../../store/cluster-guests.ts';
import { hostOf } from '../api/addresses.ts';
import { rowsOf } from '../api/answer-rows.ts';
import { type ClusterTools, withoutGone } from '../cluster-memory.ts';
import type { Fence } from '../identity/fence.ts';
import { textOf } from '../guests/properties.ts';
import { isLeftToHa } from '../life/guest-state.ts';
import { forgetHalfMade, halfMadeAmong } from '../life/half-made.ts';
import type { HaReader } from '../ha/ha-placement.ts';
import type { Missing } from '../life/missing.ts';
import { isOurTag, tagOf } from '../identity/marks.ts';
import type { Nodes } from './nodes.ts';
import {
  type GuestRow,
  indexGuests,
  type Membership,
  parseMembership,
  parseResources,
  parseVersion,
  withFigures,
} from './listings.ts';
import { type OwnGuests, youngCopies } from '../life/own-guests.ts';
import type { OwnTemplates } from '../templates/own-templates.ts';
import type { RefreshAddresses } from '../life/refresh-addresses.ts';
import { mayBePrivileged, rightsOf } from './rights.ts';
import type { Work } from '../life/work.ts';

export interface Pace {
  /** While something of ours changes. */
  readonly busyMs: number;
  readonly idleMs: number;
  /** What changes seldom is read anew after this. */
  readonly detailsMs: number;
}

export const usualPace: Pace = { busyMs: 2000, idleMs: 10_000, detailsMs: 300_000 };

const pollTimeoutMs = 15_000;
/** A failed poll is tried again so soon before the cluster counts as silent. */
const secondTryMs = 1000;
const longestSilenceMs = 60_000;

export interface Poll {
  /** Until the cluster is closed. */
  run(): Promise<void>;
  /** Now, and not when its time has come. */
  wake(): void;
}

/** Reads a cluster again and again: two requests, whatever its size; more where it is new or came back. */
export function createPoll(
  tools: ClusterTools,
  parts: {
    readonly own: OwnGuests;
    readonly fence: Fence;
    readonly missing: Missing;
    readonly addresses: RefreshAddresses;
    readonly renewMarks: (rows: readonly GuestRow[]) => void;
    readonly nodes: Nodes;
    readonly work: Work;
    readonly templates: OwnTemplates;
    readonly ha: HaReader;
    readonly pace: Pace;
  },
): Poll {
  const { api, clock, random, memory, signal, log, name: cluster } = tools;
  const { own, fence, nodes, work, templates, ha, pace, missing, addresses, renewMarks } = parts;
  const backoff = createBackoff({ firstMs: pace.busyMs, maxMs: longestSilenceMs, random });
  let wakeUp = new AbortController();
  let failures = 0;
  let detailsAtMs = Number.NEGATIVE_INFINITY;

  async function pollOnce(): Promise<void> {
    const options = { signal, timeoutMs: pollTimeoutMs };
    const [list, status] = await Promise.all([
      api.call('GET /cluster/resources', {}, options),
      api.call('GET /cluster/status', {}, options),
    ]);
    const resources = parseResources(list);
    const membership = parseMembership(status);
    refuseApart(membership);
    const isNew = !memory.connected;
    const wasAway = isNew || !memory.quorate;
    const isDue = isNew || clock.monotonicMs() - detailsAtMs > pace.detailsMs;
    if (isDue) await readOnce();
    memory.clusterName = membership.name;
    memory.quorate = membership.quorate;
    const rows = withFigures(resources.guests, memory.guests);
    memory.guests = withoutGone(memory, rows, clock.monotonicMs());
    memory.lastSeenAtMs = Math.round(clock.nowMs());
    await fence.watch(resources.guests, signal);
    await nodes.take(membership, resources);
    if (isNew) await refreshSeldom();
    await takeGuests(resources.guests, membership.quorate);
    memory.connected = true;
    memory.message = '';
    if (wasAway && memory.quorate) work.retryAll();
    renewMarks(resources.guests);
    ha.keep(own.records().some(({ instanceId }) => isLeftToHa(own.of(instanceId).sight)));
    tell();
    if (isDue && !isNew) void refreshSeldom();
  }

  /** A node whose corosync does not run, or not yet, tells of itself as if it were in no cluster. */
  function refuseApart({ name, nodes: members }: Membership): void {
    const known = nodesOfCluster(tools.store.snapshot(), cluster);
    if (name !== '' || known.length <= Math.max(1, members.length)) return;
    const who = members[0]?.node ?? 'who answers';
    throw new DroverError(
      'unavailable',
      `${who} says that it is in no cluster, and ${cluster} has ${known.length} nodes`,
      {
        subject: { cluster, acted: 'no' },
        reason: 'apart',
        nextStep: 'see that corosync runs on it; nodes that left for good: `drover node remove`',
      },
    );
  }

  function tell(): void {
    nodes.tell();
    for (const { instanceId } of own.records()) own.tell(instanceId);
    work.kickAll();
    if (!memory.quorate) return;
    addresses.refresh();
    templates.resume();
  }

  /** What everything else is understood by. */
  async function readOnce(): Promise<void> {
    const options = { signal, timeoutMs: pollTimeoutMs };
    const [version, permissions, datacenter] = await Promise.all([
      api.call('GET /version', {}, options),
      api.call('GET /access/permissions', {}, options),
      // Where it cannot be read, a refusal tells what would have been told beforehand.
      api.call('GET /cluster/options', {}, options).catch(() => undefined),
    ]);
    memory.version = parseVersion(version);
    memory.rights = rightsOf(permissions, memory.version, datacenter);
    memory.mayBePrivileged = mayBePrivileged(permissions);
    detailsAtMs = clock.monotonicMs();
  }

  async function refreshSeldom(): Promise<void> {
    await Promise.all([nodes.refreshDetails(), learnEndpoints()]);
  }

  /** Every node serves the whole cluster, each with a certificate of its own. */
  async function learnEndpoints(): Promise<void> {
    try {
      const answer = await api.call('GET /nodes', {}, { signal, timeoutMs: pollTimeoutMs });
      const rows = rowsOf(answer);
      const fingerprints = new Map(rows.map((row) => [textOf(row['node']), textOf(row['ssl_fingerprint'])]));
      const members = [...memory.nodes.values()].filter(({ address }) => address !== '');
      api.learn(
        members.map(({ node, address }) => {
          const fingerprint = fingerprints.get(node) ?? '';
          return { address: hostOf(address), node, ...(fingerprint !== '' && { fingerprint }) };
        }),
      );
    } catch (err) {
      if (!signal.aborted) log.warn({ event: 'cluster.unread', cluster, err });
    }
  }

  /**
   * Until it is marked as one, a copy that is to be a template bears the tags of its source. A number that is
   * an instance's by now, as of a guest that was adopted, is no template's any more.
   */
  function templateVmids(): ReadonlySet<number> {
    const instances = new Set(own.records().map(({ vmid }) => vmid));
    const templates = templatesOfCluster(tools.store.snapshot(), cluster).map(({ vmid }) => vmid);
    return new Set(templates.filter((vmid) => !instances.has(vmid)));
  }

  async function takeGuests(all: readonly GuestRow[], isQuorate: boolean): Promise<void> {
    const templates = templateVmids();
    const rows = all.filter(({ vmid }) => !templates.has(vmid));
    const index = indexGuests(rows);
    const absent = own.take(index);
    memory.copies = copiesAmong(rows);
    memory.halfMade = halfMadeAmong(all, tools, own);
    // Only a whole list of a cluster that has its majority says that something is not there.
    if (!isQuorate) return;
    await forgetHalfMade(tools);
    work.retryUnlocked();
    await missing.lookAt(absent.map(({ record }) => record));
  }

  /** Those that are there beside their original; what was a copy stays one when its original is gone. */
  function copiesAmong(rows: readonly GuestRow[]): GuestRow[] {
    const numbers = new Map(
      own.records().map(({ instanceId, vmid }) => [tagOf(instanceId), own.of(instanceId).sight.vmid || vmid]),
    );
    const tagsOf = new Map(rows.map(({ vmid, tags }) => [vmid, tags]));
    const stored = own.records().flatMap(({ copies = [] }) => copies);
    const before = new Set([...stored, ...memory.copies.map(({ vmid }) => vmid)]);
    const young = youngCopies(own.records());
    const isCopy = (row: GuestRow, tag: string): boolean => {
      const original = numbers.get(tag);
      if (young.has(row.vmid) || original === row.vmid || !isOurTag(tag)) return false;
      return before.has(row.vmid) || (original !== undefined && tagsOf.get(original)?.includes(tag) === true);
    };
    return rows.filter((row) => row.tags.some((tag) => isCopy(row, tag)));
  }

  function fellSilent(error: unknown): void {
    memory.message = wordsOf(error);
    if (memory.connected) log.warn({ event: 'cluster.silent', cluster, err: asDroverError(error) });
    memory.connected = false;
    nodes.tellSilent(`${cluster} does not answer: ${memory.message}`);
  }

  /** Milliseconds until the next poll. */
  async function attempt(): Promise<number> {
    try {
      await pollOnce();
      failures = 0;
      backoff.reset();
      return work.isBusy() ? pace.busyMs : pace.idleMs;
    } catch (error) {
      if (signal.aborted) return 0;
      failures += 1;
      if (failures === 1 && memory.connected) return Math.min(secondTryMs, pace.busyMs);
      fellSilent(error);
      return backoff.nextMs();
    }
  }

  return {
    async run() {
      while (!signal.aborted) {
        wakeUp = new AbortController();
        const waitMs = await attempt();
        if (signal.aborted) return;
        const either = AbortSignal.any([signal, wakeUp.signal]);
        await clock.sleep(waitMs, either).catch(() => undefined);
      }
    },
    wake: () => wakeUp.abort(),
  };
}
