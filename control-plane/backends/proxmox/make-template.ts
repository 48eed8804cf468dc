import { DroverError, isKind, wordsOf } from '#shared/errors.ts';
import type { ClusterTemplate } from '#shared/model.ts';
import { patchTemplate, renumberTemplate } from '../../store/put-cluster-template.ts';
import type { ClusterTools } from './cluster-memory.ts';
import { createCopies } from './copies.ts';
import { begunSince, tasksOf } from './begun-tasks.ts';
import { type Configuration, type GuestCall, guestCall, type GuestPlace } from './guests/guest-kind.ts';
import { isOn, textOf } from './guests/properties.ts';
import { configurationOf, isHalfMade } from './look.ts';
import { isMarkTag, parseTags } from './identity/marks.ts';
import { parseResources } from './observe.ts';
import { ask, perform, settleCopies, settleTasks } from './perform.ts';
import { chooseVmid } from './identity/vmids.ts';

/** Of templates that we made: never the mark of an instance. */
export const templateTag = 'drover-template';
/** Each step is looked for before it is made: more rounds than any template needs go in a circle. */
const mostRounds = 20;

interface Found {
  readonly kind: ClusterTemplate['kind'];
  readonly place: GuestPlace;
  readonly config: Configuration;
}

type Step = 'copy' | 'other number' | 'wait' | 'mark' | 'convert' | 'done';

export interface Templates {
  make(record: ClusterTemplate, signal: AbortSignal): Promise<ClusterTemplate>;
  /** With its disks, where it is ours yet. failed-precondition: it is half made; as its cluster refuses. */
  remove(record: ClusterTemplate, signal: AbortSignal): Promise<void>;
}

/**
 * Goes on with a template from where it is: what is there tells which steps were made, also before a crash or
 * under a lost answer. What keeps it from being made for good stands in its record.
 */
export function createTemplates(tools: ClusterTools): Templates {
  const { api, kinds, limits, store, clock, fleetId, memory, name: cluster } = tools;
  const copyOf = createCopies(tools);

  const lineOf = ({ key, vmid }: ClusterTemplate): string =>
    `drover:template=${key} fleet=${fleetId} vmid=${vmid}`;

  /** Its own guest, or whatever has its number by now; undefined: nothing has. It may have been moved. */
  async function read(record: ClusterTemplate, signal: AbortSignal): Promise<Found | undefined> {
    const { vmid, source } = record;
    const answer = await api.call('GET /cluster/resources', { type: 'vm' }, { signal });
    const row = parseResources(answer).guests.find((each) => each.vmid === vmid);
    const { kind, node } = row ?? { kind: record.kind, node: source.node };
    const place = { node, vmid };
    try {
      const config = configurationOf(await ask(tools, kinds[kind].calls(place).config(), signal));
      return { kind, place, config };
    } catch (error) {
      if (isKind(error, 'not-found')) return undefined;
      throw error;
    }
  }

  const isOurs = (record: ClusterTemplate, { kind, config }: Found): boolean =>
    kind === record.kind && textOf(config['description']).split('\n').includes(lineOf(record));

  function nextStep(record: ClusterTemplate, found: Found | undefined): Step {
    if (found === undefined) return 'copy';
    const { config } = found;
    if (isHalfMade({ config })) return 'wait';
    if (!isOurs(record, found)) return 'other number';
    const tags = parseTags(config['tags']);
    if (!tags.includes(templateTag) || tags.some(isMarkTag)) return 'mark';
    return isOn(config['template']) ? 'done' : 'convert';
  }

  async function copy(record: ClusterTemplate, signal: AbortSignal): Promise<void> {
    const { source, kind, vmid, name } = record;
    const image = await copyOf({ ...source, kind }, source.node, { rootPool: '' }, signal);
    const snapname = image.kind === 'guest' && image.snapshot !== '' ? { snapname: image.snapshot } : {};
    const basis = { node: source.node, vmid: source.vmid, newid: vmid, full: true, ...snapname };
    const description = lineOf(record);
    const call =
      kind === 'lxc'
        ? guestCall('POST /nodes/{node}/lxc/{vmid}/clone', { ...basis, description, hostname: name })
        : guestCall('POST /nodes/{node}/qemu/{vmid}/clone', { ...basis, description, name });
    try {
      const make = () =>
        limits.run({ node: source.node }, signal, () => perform(tools, call, source, signal));
      await (kind === 'lxc' ? limits.run({ copyOf: source.vmid }, signal, make) : make());
    } catch (error) {
      if (!isKind(error, 'already-exists')) throw error;
      await settleCopies(tools, source, signal);
    }
  }

  function markCall({ kind, place, config }: Found): GuestCall {
    const tags = parseTags(config['tags']).filter((tag) => !isMarkTag(tag) && tag !== templateTag);
    const set = { tags: [...tags, templateTag].join(';'), digest: textOf(config['digest']) };
    const parameters = { ...place, ...set };
    return kind === 'lxc'
      ? guestCall('PUT /nodes/{node}/lxc/{vmid}/config', parameters)
      : guestCall('PUT /nodes/{node}/qemu/{vmid}/config', parameters);
  }

  /** Containers answer with nothing, and go on: their task alone tells how it ended. */
  async function convert({ kind, place }: Found, signal: AbortSignal): Promise<void> {
    const isContainer = kind === 'lxc';
    const type = isContainer ? 'vztemplate' : 'qmtemplate';
    const before = await tasksOf(tools, place, type, signal);
    const call = isContainer
      ? guestCall('POST /nodes/{node}/lxc/{vmid}/template', place)
      : guestCall('POST /nodes/{node}/qemu/{vmid}/template', place);
    await perform(tools, call, place, signal);
    const begun = begunSince(before, await tasksOf(tools, place, type, signal));
    if (begun !== undefined) await tools.tasks.wait(begun, { signal });
  }

  async function renumber({ key, vmid }: ClusterTemplate): Promise<void> {
    const isTaken = (number: number): boolean => memory.guests.some((row) => row.vmid === number);
    const choose = (claimed: ReadonlySet<number>): number =>
      chooseVmid(vmid + 1, (number) => claimed.has(number) || isTaken(number));
    await store.transact((tx) => renumberTemplate(tx, key, choose, clock.nowMs()));
  }

  async function settle(record: ClusterTemplate, signal: AbortSignal): Promise<void> {
    await settleCopies(tools, record.source, signal);
    await settleTasks(tools, { node: record.source.node, vmid: record.vmid }, signal);
  }

  async function steps(key: string, signal: AbortSignal): Promise<void> {
    for (let round = 0; round < mostRounds; round += 1) {
      const record = store.snapshot().get('cluster-template', key);
      if (record === undefined) return;
      if (round === 0) await settle(record, signal);
      const found = await read(record, signal);
      const step = nextStep(record, found);
      if (step === 'done') return;
      if (step === 'copy') await copy(record, signal);
      if (step === 'other number') await renumber(record);
      if (step === 'wait') await settle(record, signal);
      if (found === undefined) continue;
      if (step === 'mark') await perform(tools, markCall(found), found.place, signal);
      if (step === 'convert') await convert(found, signal);
    }
    throw new DroverError(
      'unavailable',
      `template ${key} of ${cluster} is not ready after ${mostRounds} steps`,
    );
  }

  async function note(
    { key }: ClusterTemplate,
    patch: Pick<ClusterTemplate, 'state' | 'message'>,
  ): Promise<ClusterTemplate> {
    const { result } = await store.transact((tx) => patchTemplate(tx, key, patch, clock.nowMs()));
    if (result !== undefined) return result;
    throw new DroverError('aborted', `template ${key} was removed meanwhile`);
  }

  async function make(record: ClusterTemplate, signal: AbortSignal): Promise<ClusterTemplate> {
    try {
      await steps(record.key, signal);
    } catch (error) {
      // Ended with us: whoever comes after goes on.
      if (signal.aborted) throw error;
      // What the cluster could not be asked is asked again.
      const isForNow = isKind(error, 'unavailable', 'deadline-exceeded');
      await note(record, { state: isForNow ? 'making' : 'failed', message: wordsOf(error) });
      throw error;
    }
    return note(record, { state: 'ready', message: '' });
  }

  async function remove(record: ClusterTemplate, signal: AbortSignal): Promise<void> {
    const { key, vmid } = record;
    if (record.state !== 'ready') await settle(record, signal);
    const found = await read(record, signal);
    if (found !== undefined && isHalfMade(found))
      throw new DroverError(
        'failed-precondition',
        `guest ${vmid} on ${found.place.node} is half made and locked`,
        {
          subject: { cluster, vmid: String(vmid) },
          reason: 'half-made',
        },
      );
    if (found !== undefined && isOurs(record, found)) {
      await perform(tools, kinds[found.kind].calls(found.place).destroy(), found.place, signal);
      const left = await read(record, signal);
      if (left !== undefined && isOurs(record, left))
        throw new DroverError('unavailable', `template ${vmid} is there still`, { subject: { cluster } });
    }
    await store.transact((tx) => tx.delete('cluster-template', key));
  }

  return { make, remove };
}
