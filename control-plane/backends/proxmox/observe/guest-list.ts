import type { ClusterGuest, ClusterGuestView, InstanceId } from '#shared/model.ts';
import { guestsOfCluster } from '../../../store/cluster-guests.ts';
import { type ClusterTools, nodeNameOf } from '../cluster-memory.ts';
import { tagOf } from '../identity/marks.ts';
import type { GuestRow } from './listings.ts';
import { listLagMs, type OwnGuests } from '../life/own-guests.ts';

export interface GuestList {
  /** All guests as last listed; ours as we saw them where that is newer. */
  all(): ClusterGuestView[];
  /** Of one: as `all`. */
  view(row: GuestRow): ClusterGuestView;
  /** Undefined: not ours. */
  ownerOf(row: GuestRow): InstanceId | undefined;
}

/** The guests of a cluster for people. The cluster's own list is some ten seconds old. */
export function createGuestList(tools: ClusterTools, own: OwnGuests): GuestList {
  const { memory, clock, store, name: cluster } = tools;

  function vmidOf({ instanceId, vmid }: ClusterGuest): number {
    const { sight } = own.of(instanceId);
    return sight.vmid === 0 ? vmid : sight.vmid;
  }

  const owners = (): Map<number, ClusterGuest> =>
    new Map(
      own
        .records()
        .filter(({ made }) => made === true)
        .map((record) => [vmidOf(record), record]),
    );

  const viewOf = (row: GuestRow, instanceId: InstanceId | undefined): ClusterGuestView => ({
    cluster,
    vmid: row.vmid,
    kind: row.kind,
    name: row.name,
    node: nodeNameOf(tools, row.node),
    status: row.status,
    template: row.template,
    tags: row.tags,
    cpuCount: row.cpuCount,
    memoryMib: Math.round(row.memoryBytes / 1024 ** 2),
    diskMib: Math.round(row.diskBytes / 1024 ** 2),
    instanceId,
    haState: row.haState,
    message: memory.halfMade.find(({ vmid }) => vmid === row.vmid)?.message ?? '',
  });

  /** What the list does not have yet, and we have seen. */
  function fresh(record: ClusterGuest): ClusterGuestView | undefined {
    const { sight, ownSightUntilMs } = own.of(record.instanceId);
    if (sight.presence !== 'present' || clock.monotonicMs() >= ownSightUntilMs) return undefined;
    const { resources, displayName = '' } = record.spec ?? {};
    return {
      cluster,
      vmid: vmidOf(record),
      kind: record.kind,
      name: displayName,
      node: nodeNameOf(tools, sight.node),
      status: sight.status,
      template: false,
      tags: [tagOf(record.instanceId)],
      cpuCount: Math.ceil((resources?.cpuMillicores ?? 0) / 1000),
      memoryMib: resources?.memoryMib ?? 0,
      diskMib: resources?.diskMib ?? 0,
      instanceId: record.instanceId,
      haState: sight.haState,
      message: '',
    };
  }

  function withSight(row: GuestRow, record: ClusterGuest | undefined): ClusterGuestView {
    const view = viewOf(row, record?.instanceId);
    const seen = record === undefined ? undefined : fresh(record);
    return seen === undefined ? view : { ...view, node: seen.node, status: seen.status };
  }

  /** Tags of ours whose guests were removed a moment ago: the list may still have them. */
  const goneTags = (): ReadonlySet<string> =>
    new Set(
      guestsOfCluster(store.snapshot(), cluster)
        .filter(({ intent }) => intent === 'removed')
        .filter(({ changedAtMs }) => clock.nowMs() - changedAtMs < listLagMs)
        .map(({ instanceId }) => tagOf(instanceId)),
    );

  return {
    all() {
      const ours = owners();
      const gone = goneTags();
      const listed = memory.guests.filter(
        ({ vmid, tags }) => ours.has(vmid) || !tags.some((tag) => gone.has(tag)),
      );
      const rows = listed.map((row) => withSight(row, ours.get(row.vmid)));
      const numbers = new Set(listed.map(({ vmid }) => vmid));
      const others = [...ours].filter(([vmid]) => !numbers.has(vmid)).map(([, record]) => fresh(record));
      return [...rows, ...others.filter((each) => each !== undefined)];
    },
    view: (row) => withSight(row, owners().get(row.vmid)),
    ownerOf: ({ vmid }) => owners().get(vmid)?.instanceId,
  };
}
