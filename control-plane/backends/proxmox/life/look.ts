import { DroverError, isKind } from '#shared/errors.ts';
import { rowOf } from '../api/answer-rows.ts';
import type { ClusterGuest, InstanceId } from '#shared/model.ts';
import { type ClusterTools, isApart, nodeCalled } from '../cluster-memory.ts';
import type { Configuration, GuestPlace } from '../guests/guest-kind.ts';
import { numberOf, textOf } from '../guests/properties.ts';
import type { Fence } from '../identity/fence.ts';
import { type Mark, parseTags, readMark, tagOf } from '../identity/marks.ts';
import { listGuests, readConfig } from '../observe/read-guests.ts';
import { stateOfGuest } from '../observe/listings.ts';
import type { OwnGuests } from './own-guests.ts';
import { ask } from '../tasks/perform.ts';

/** A configuration, where it was found. `digest`: of this very one. */
export interface FoundConfig {
  readonly place: GuestPlace;
  readonly config: Configuration;
  readonly digest: string;
}

/** Looks at guests themselves, where the list of all resources may be old. */
export interface Look {
  /**
   * The configuration of a guest of ours, wherever it is by now. not-found: nowhere, or what has its number
   * is not ours; unavailable: that cannot be known; failed-precondition: a newer control plane has it.
   */
  config(record: ClusterGuest, signal: AbortSignal): Promise<FoundConfig>;
  /** As config; where that finds none, whatever guest has its number. Undefined: none has. */
  atItsNumber(
    record: ClusterGuest,
    signal: AbortSignal,
  ): Promise<(FoundConfig & { readonly kind: ClusterGuest['kind']; readonly isOurs: boolean }) | undefined>;
  /** As it is this moment; kept as our own sight. not-found as config. */
  status(record: ClusterGuest, signal: AbortSignal): Promise<void>;
}

export function createLook(tools: ClusterTools, own: OwnGuests, fence: Fence): Look {
  const { kinds, memory, clock, fleetId, name: cluster } = tools;

  const notOurs = (record: ClusterGuest): DroverError =>
    new DroverError('not-found', `there is no guest of instance ${record.instanceId} in ${cluster}`, {
      subject: { instance: record.instanceId, cluster },
      reason: 'guest',
    });

  /** Where it was seen last, else where it was to be. */
  function knownPlace(record: ClusterGuest): GuestPlace {
    const { sight } = own.of(record.instanceId);
    if (sight.node !== '') return { node: sight.node, vmid: sight.vmid };
    return { node: nodeCalled(memory, record.node)?.node ?? '', vmid: record.vmid };
  }

  /** The list is right about where guests are, and late only in how they are. */
  async function resolveAnew(record: ClusterGuest, signal: AbortSignal): Promise<GuestPlace | undefined> {
    const { vmid } = knownPlace(record);
    const rows = await listGuests(tools, signal);
    const there = rows.find((row) => row.vmid === vmid && row.kind === record.kind);
    return there === undefined ? undefined : { node: there.node, vmid };
  }

  async function read(record: ClusterGuest, place: GuestPlace, signal: AbortSignal): Promise<FoundConfig> {
    const config = await readConfig(tools, { kind: record.kind, ...place }, signal);
    return { place, config, digest: textOf(config['digest']) };
  }

  /** Its own node first; where it is not there, it may have moved. */
  async function anywhere<Result>(
    record: ClusterGuest,
    act: (place: GuestPlace) => Promise<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    const known = knownPlace(record);
    try {
      if (known.node !== '') return await act(known);
    } catch (error) {
      if (!isKind(error, 'not-found')) throw error;
      if (isApart(error, known.node, memory)) throw notAnswered(record, known.node);
    }
    const place = await resolveAnew(record, signal);
    if (place === undefined) throw notOurs(record);
    try {
      return await act(place);
    } catch (error) {
      if (!isKind(error, 'not-found')) throw error;
      throw onTheWay(record);
    }
  }

  /** It is listed, and not where it is listed: it moves this moment, or goes. Neither is the same as gone. */
  const onTheWay = ({ instanceId, vmid }: ClusterGuest): DroverError =>
    new DroverError(
      'unavailable',
      `guest ${vmid} of ${cluster} is not where it is listed: it may be moving`,
      {
        subject: { instance: instanceId, cluster, acted: 'no' },
        reason: 'moving',
      },
    );

  const notAnswered = ({ instanceId, vmid }: ClusterGuest, node: string): DroverError =>
    new DroverError(
      'unavailable',
      `nobody could tell of guest ${vmid}: who was asked does not know ${node}`,
      {
        subject: { instance: instanceId, cluster, acted: 'no' },
        reason: 'apart',
      },
    );

  /** By its line, or by its tag where somebody wrote another description; never against its line. */
  function isOurs(id: InstanceId, mark: Mark | undefined, config: Configuration): boolean {
    if (mark === undefined) return parseTags(config['tags']).includes(tagOf(id));
    return mark.instanceId === id && (mark.fleetId === fleetId || mark.fleetId === '');
  }

  async function config(record: ClusterGuest, signal: AbortSignal): Promise<FoundConfig> {
    const found = await anywhere(record, (place) => read(record, place, signal), signal);
    const mark = readMark(textOf(found.config['description']));
    if (!isOurs(record.instanceId, mark, found.config)) throw notOurs(record);
    fence.check(mark, found.place.vmid);
    return found;
  }

  return {
    config,
    async atItsNumber(record, signal) {
      const { vmid, kind } = record;
      try {
        return { ...(await config(record, signal)), kind, isOurs: true };
      } catch (error) {
        if (!isKind(error, 'not-found')) throw error;
      }
      const row = (await listGuests(tools, signal)).find((each) => each.vmid === vmid);
      if (row === undefined) return undefined;
      try {
        const found = await read({ ...record, kind: row.kind }, { node: row.node, vmid }, signal);
        return { ...found, kind: row.kind, isOurs: false };
      } catch (error) {
        if (isKind(error, 'not-found') && !isApart(error, row.node, memory)) return undefined;
        throw error;
      }
    },
    async status(record, signal) {
      const { place, status } = await anywhere(
        record,
        async (at) => ({
          place: at,
          status: rowOf(await ask(tools, kinds[record.kind].calls(at).status(), signal)),
        }),
        signal,
      );
      const ha = rowOf(status['ha']);
      own.see(record.instanceId, {
        ...place,
        presence: 'present',
        trouble: undefined,
        ...stateOfGuest(status),
        startedAtMs: clock.nowMs() - numberOf(status['uptime']) * 1000,
        haState: numberOf(ha['managed']) === 0 ? '' : textOf(ha['state']) || 'managed',
        lock: textOf(status['lock']),
      });
    },
  };
}
