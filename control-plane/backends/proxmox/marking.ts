import { isKind } from '#shared/errors.ts';
import type { ClusterGuest } from '#shared/model.ts';
import type { ClusterTools } from './cluster-memory.ts';
import type { GuestMark } from './guests/guest-kind.ts';
import { textOf } from './guests/properties.ts';
import type { FoundConfig } from './look.ts';
import { isMarkTag, markOf, parseTags, readMark, tagsOfMark, withMark, withTags } from './marks.ts';
import { perform } from './perform.ts';

/** Our mark on guests: what identifies them, and which control plane of the fleet wrote to them last. */
export interface Marking {
  markFor(record: ClusterGuest): GuestMark;
  /** Writes what is missing of it, or is an older control plane's. Whether anything was. */
  complete(record: ClusterGuest, found: FoundConfig, signal: AbortSignal): Promise<boolean>;
  /** As complete, before another write, where an older control plane's mark is on it; a lock stops nobody. */
  renew(record: ClusterGuest, found: FoundConfig, signal: AbortSignal): Promise<void>;
}

export function createMarking(tools: ClusterTools): Marking {
  const { store, kinds, fleetId, fleetEpoch } = tools;

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

  async function complete(record: ClusterGuest, found: FoundConfig, signal: AbortSignal): Promise<boolean> {
    const { config, place, digest } = found;
    const mark = markFor({ ...record, vmid: place.vmid });
    if (isPresent(record, mark, found)) return false;
    const set = {
      tags: withTags(parseTags(config['tags']), mark),
      description: withMark(textOf(config['description']), mark),
    };
    const call = kinds[record.kind].calls(place).configure({ set, unset: [] }, digest);
    await perform(tools, call, place, signal);
    return true;
  }

  return {
    markFor,
    complete,
    async renew(record, found, signal) {
      const [epochTag] = tagsOfMark(markFor(record)).slice(1);
      if (epochTag === undefined || parseTags(found.config['tags']).includes(epochTag)) return;
      try {
        await complete(record, found, signal);
      } catch (error) {
        if (signal.aborted || !isKind(error, 'aborted', 'unavailable', 'deadline-exceeded')) throw error;
      }
    },
  };
}
