import { DroverError, isKind } from '#shared/errors.ts';
import type { ClusterGuest } from '#shared/model.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import {
  type Configuration,
  type GuestCall,
  guestCall,
  type GuestKind,
  type GuestMark,
  type GuestPlace,
} from '../guests/guest-kind.ts';
import { readConfig } from '../observe/read-guests.ts';
import { textOf } from '../guests/properties.ts';
import type { FoundConfig, Look } from '../life/look.ts';
import {
  isMarkTag,
  markOf,
  parseTags,
  readMark,
  tagsOfMark,
  withMark,
  withoutMark,
  withoutTags,
  withTags,
} from './marks.ts';
import { ask, perform } from '../tasks/perform.ts';

/** Our mark on guests: what identifies them, and which control plane of the fleet wrote to them last. */
export interface Marking {
  markFor(record: ClusterGuest): GuestMark;
  /** Writes what is missing of it, or is an older control plane's. Whether anything was. */
  complete(record: ClusterGuest, found: FoundConfig, signal: AbortSignal): Promise<boolean>;
  /**
   * Description and tags alone: whatever else there is stays as it is. `change`: undefined where nothing is
   * to be done. aborted: its configuration is not the one of the digest any more.
   */
  write(
    kind: GuestKind,
    place: GuestPlace,
    change: (config: Configuration) => MarkChange | undefined,
    digest: string | undefined,
    signal: AbortSignal,
  ): Promise<void>;
  /** Takes it away: the guest is nobody's, and as it is otherwise. not-found: it is not ours. */
  clear(record: ClusterGuest, signal: AbortSignal): Promise<void>;
  /** As complete, before another write, where an older control plane's is on it; a lock stops nobody. */
  renew(record: ClusterGuest, found: FoundConfig, signal: AbortSignal): Promise<void>;
}

export interface MarkChange {
  readonly description: string;
  readonly tags: string;
}

/** Answers may be lost again and again. */
const mostTries = 5;

export function createMarking(tools: ClusterTools, look: Look): Marking {
  const { store, kinds, fleetId, fleetEpoch, name: cluster } = tools;

  const markFor = ({ instanceId, vmid, generation, spec }: ClusterGuest): GuestMark =>
    markOf({
      instanceId,
      fleetId,
      epoch: fleetEpoch,
      project: store.snapshot().get('instance', instanceId)?.metadata.project ?? 'default',
      workload: spec?.workload ?? '',
      vmid,
      generation,
    });

  /** The first epoch has nobody before it: what bears none is as good. */
  function isPresent(
    { instanceId }: ClusterGuest,
    { tag, epochTag }: GuestMark,
    found: FoundConfig,
  ): boolean {
    const ours = parseTags(found.config['tags']).filter(isMarkTag);
    const mark = readMark(textOf(found.config['description']));
    const isNewest = epochTag === undefined || mark?.epoch === fleetEpoch;
    const wanted = epochTag === undefined ? [tag] : [tag, epochTag];
    return (
      mark?.instanceId === instanceId &&
      isNewest &&
      ours.length === wanted.length &&
      wanted.every((each) => ours.includes(each))
    );
  }

  /** Undefined: it is there whole. */
  function missingOf(record: ClusterGuest, found: FoundConfig): Readonly<Record<string, string>> | undefined {
    const { config, place } = found;
    const mark = markFor({ ...record, vmid: place.vmid });
    if (isPresent(record, mark, found)) return undefined;
    return {
      tags: withTags(parseTags(config['tags']), mark),
      description: withMark(textOf(config['description']), mark),
    };
  }

  async function complete(record: ClusterGuest, found: FoundConfig, signal: AbortSignal): Promise<boolean> {
    const { place, digest } = found;
    const set = missingOf(record, found);
    if (set === undefined) return false;
    const call = kinds[record.kind].calls(place).configure({ set, unset: [] }, digest);
    await perform(tools, call, place, signal);
    return true;
  }

  async function write(
    kind: GuestKind,
    place: GuestPlace,
    change: (config: Configuration) => MarkChange | undefined,
    digest: string | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    let isFirst = true;
    /** Read anew each time: what somebody else wrote meanwhile stays. */
    const call = async (): Promise<GuestCall | undefined> => {
      const config = await readConfig(tools, { kind: kind.kind, ...place }, signal);
      const found = textOf(config['digest']);
      const next = change(config);
      if (next === undefined) return undefined;
      if (digest !== undefined && found !== digest && isFirst) throw changedSince(place.vmid);
      isFirst = false;
      const entries = Object.entries(next);
      const set = Object.fromEntries(entries.filter(([, text]) => text !== ''));
      const unset = Object.keys(next).filter((key) => !(key in set) && config[key] !== undefined);
      if (Object.keys(set).length + unset.length === 0) return undefined;
      // Without a task of its own, so that nobody comes between what was read and what is written.
      return markCall(kind, place, { set, unset }, found);
    };
    for (let tries = 0; tries < mostTries; tries += 1)
      if ((await perform(tools, call, place, signal)) === 'done') return;
    throw new DroverError('unavailable', `the mark of guest ${place.vmid} could not be written`);
  }

  const changedSince = (vmid: number): DroverError =>
    new DroverError('aborted', `guest ${vmid} was changed since it was looked at`, {
      subject: { cluster, vmid: String(vmid) },
      reason: 'digest',
      nextStep: 'look at it again, and adopt it then',
    });

  return {
    markFor,
    complete,
    write,
    async clear(record, signal) {
      const { place } = await look.config(record, signal);
      await write(kinds[record.kind], place, withoutAnyMark, undefined, signal);
    },
    async renew(record, found, signal) {
      const [epochTag] = tagsOfMark(markFor(record)).slice(1);
      if (epochTag === undefined || parseTags(found.config['tags']).includes(epochTag)) return;
      const { place, digest } = found;
      const set = missingOf(record, found);
      if (set === undefined) return;
      try {
        // Once: who waits for a lock keeps the other write waiting; all marks are renewed in the background.
        await ask(tools, markCall(kinds[record.kind], place, { set, unset: [] }, digest), signal);
      } catch (error) {
        if (signal.aborted || !isKind(error, 'aborted', 'unavailable', 'deadline-exceeded')) throw error;
      }
    },
  };
}

function withoutAnyMark(config: Configuration): MarkChange | undefined {
  const description = textOf(config['description']);
  const tags = parseTags(config['tags']);
  if (readMark(description) === undefined && !tags.some(isMarkTag)) return undefined;
  return { description: withoutMark(description), tags: withoutTags(tags) };
}

const markCall = (
  kind: GuestKind,
  { node, vmid }: GuestPlace,
  { set, unset }: { readonly set: Readonly<Record<string, string>>; readonly unset: readonly string[] },
  digest: string,
): GuestCall => {
  const parameters = { node, vmid, ...set, ...(unset.length > 0 && { delete: unset.join(',') }), digest };
  return kind.kind === 'lxc'
    ? guestCall('PUT /nodes/{node}/lxc/{vmid}/config', parameters)
    : guestCall('PUT /nodes/{node}/qemu/{vmid}/config', parameters);
};
