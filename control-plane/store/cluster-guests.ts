import type { ClusterGuest, ClusterTemplate } from '#shared/model.ts';
import type { Snapshot } from './store.ts';

type Reader = Pick<Snapshot, 'list'>;

/** Guests of a cluster that are ours, or were: each record is written before its guest is made. */
export const guestsOfCluster = (reader: Reader, cluster: string): ClusterGuest[] =>
  reader.list('cluster-guest').filter((each) => each.cluster === cluster);

/** Templates of a cluster that we made, or make. */
export const templatesOfCluster = (reader: Reader, cluster: string): ClusterTemplate[] =>
  reader.list('cluster-template').filter((each) => each.cluster === cluster);

/** A number is reserved until nothing is left of its guest. */
const keptGuests = (reader: Reader, cluster: string): ClusterGuest[] =>
  guestsOfCluster(reader, cluster).filter(({ intent }) => intent !== 'removed');

export const guestWithVmid = (reader: Reader, cluster: string, vmid: number): ClusterGuest | undefined =>
  keptGuests(reader, cluster).find((each) => each.vmid === vmid);

/** Of instances and of templates. */
export const claimedVmids = (reader: Reader, cluster: string): ReadonlySet<number> =>
  new Set([...keptGuests(reader, cluster), ...templatesOfCluster(reader, cluster)].map(({ vmid }) => vmid));
