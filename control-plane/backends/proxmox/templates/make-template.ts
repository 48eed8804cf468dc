import { DroverError, isKind, wordsOf } from '#shared/errors.ts';
import type { ClusterTemplate } from '#shared/model.ts';
import { noteTemplateBegun, patchTemplate, renumberTemplate } from '../../../store/put-cluster-template.ts';
import { begunSince, tasksOf, upidsOf } from '../tasks/begun-tasks.ts';
import { type ClusterTools, isApart } from '../cluster-memory.ts';
import { copyInTurn, createCopies } from '../images/copies.ts';
import { cloneCall } from '../guests/clone-call.ts';
import { type Configuration, type GuestCall, guestCall, type GuestPlace } from '../guests/guest-kind.ts';
import { isOn, textOf } from '../guests/properties.ts';
import { isMarkTag, parseTags } from '../identity/marks.ts';
import { vmidChooser } from '../identity/vmids.ts';
import { halfMadeError, isHalfMade } from '../life/half-made.ts';
import { listGuests, readConfig } from '../observe/read-guests.ts';
import { checkedAgain, perform } from '../tasks/perform.ts';
import { settleCopies, settleWhereKnown } from '../tasks/settle-tasks.ts';
import { taskTypeOf } from '../tasks/upid.ts';
import { isLostRace } from '../tasks/retry-lost-races.ts';

/** Of templates that we made: never the mark of an instance. */
const templateTag = 'drover-template';
const linePrefix = 'drover:template=';
/** Each step is looked for before it is made: more rounds than any template needs go in a circle. */
const mostRounds = 20;

interface Found {
  readonly kind: ClusterTemplate['kind'];
  readonly place: GuestPlace;
  readonly config: Configuration;
}

type Step = 'copy' | 'other number' | 'half made' | 'mark' | 'convert' | 'done';

export interface Templates {
  /** `unwanted` aborts what is under way. */
  make(record: ClusterTemplate, signal: AbortSignal, unwanted: AbortSignal): Promise<ClusterTemplate>;
  /** With its disks, if it is there and ours yet. failed-precondition, as its cluster refuses. */
  remove(record: ClusterTemplate, signal: AbortSignal): Promise<void>;
  /** It stands there under its number, and is ours. */
  isThere(record: ClusterTemplate, signal: AbortSignal): Promise<boolean>;
}

/** Passes, or can be asked again; half-made guests wait for a person. */
export const isForNow = (error: unknown): boolean =>
  isLostRace(error) ||
  (isKind(error, 'unavailable', 'deadline-exceeded') && error.reason !== 'half-made') ||
  (error instanceof DroverError && (error.reason === 'stale-epoch' || error.reason === 'too-many'));

const givenUp = (key: string): DroverError =>
  new DroverError('aborted', `template ${key} was removed while it was being made`);

/**
 * Goes on with a template from where it is: what is there tells which steps were made, also before a crash or
 * under a lost answer. What keeps it from being made for good stands in its record.
 */
export function createTemplates(tools: ClusterTools): Templates {
  const { kinds, store, clock, fleetId, memory, log, name: cluster } = tools;
  const copyOf = createCopies(tools);

  const lineOf = ({ key, vmid }: ClusterTemplate): string =>
    `${linePrefix}${key} fleet=${fleetId} vmid=${vmid}`;

  /** Its own guest, or whatever has its number by now; undefined: nothing has. It may have been moved. */
  async function read(record: ClusterTemplate, signal: AbortSignal): Promise<Found | undefined> {
    const { vmid, source } = record;
    const row = (await listGuests(tools, signal)).find((each) => each.vmid === vmid);
    const { kind, node } = row ?? { kind: record.kind, node: source.node };
    const place = { node, vmid };
    try {
      const config = await readConfig(tools, { kind, ...place }, signal);
      return { kind, place, config };
    } catch (error) {
      if (isKind(error, 'not-found') && !isApart(error, node, memory)) return undefined;
      throw error;
    }
  }

  /** By its line, or by its tag where somebody wrote another description; never against its line. */
  function isOurs(record: ClusterTemplate, { kind, config }: Found): boolean {
    if (kind !== record.kind) return false;
    const lines = textOf(config['description']).split('\n');
    const line = lines.find((each) => each.startsWith(linePrefix));
    return line === undefined ? parseTags(config['tags']).includes(templateTag) : line === lineOf(record);
  }

  /** What is half made may bear no mark yet. */
  const mayBeOurs = (record: ClusterTemplate, found: Found): boolean =>
    isOurs(record, found) || (isHalfMade(found) && record.begunVmid === record.vmid);

  const isTemplate = ({ config }: Found): boolean => isOn(config['template']);

  function nextStep(record: ClusterTemplate, found: Found | undefined): Step {
    if (found === undefined) return 'copy';
    if (!mayBeOurs(record, found)) return 'other number';
    if (isHalfMade(found)) return 'half made';
    const tags = parseTags(found.config['tags']);
    if (!tags.includes(templateTag) || tags.some(isMarkTag)) return 'mark';
    return isTemplate(found) ? 'done' : 'convert';
  }

  async function copy(record: ClusterTemplate, signal: AbortSignal, unwanted: AbortSignal): Promise<void> {
    const { key, source, kind, vmid, name, begunVmid } = record;
    const begun = (number: number): Promise<unknown> =>
      store.transact((tx) => noteTemplateBegun(tx, key, number, clock.nowMs()));
    const copied = await copyOf({ ...source, kind }, source.node, { rootPool: '' }, signal);
    const description = lineOf(record);
    const call = cloneCall(kind, copied, { node: source.node, vmid, name, description, isFull: true });
    const either = AbortSignal.any([signal, unwanted]);
    try {
      const make = async () => {
        await begun(vmid);
        return perform(tools, call, source, signal, unwanted);
      };
      await copyInTurn(tools, copied, source.node, either, make);
    } catch (error) {
      if (!isKind(error, 'already-exists')) throw error;
      // Whoever was quicker has it, unless it is what we began before.
      if (begunVmid !== vmid) await begun(0);
      await settleCopies(tools, source, signal);
    }
  }

  /** Ours still, as it is this moment: a write that waited for a lock goes to nobody else's guest. */
  async function again(record: ClusterTemplate, signal: AbortSignal): Promise<Found> {
    const found = await read(record, signal);
    if (found !== undefined && isOurs(record, found)) return found;
    throw new DroverError('unavailable', `guest ${record.vmid} is not template ${record.key} any more`, {
      subject: { cluster, vmid: String(record.vmid), acted: 'no' },
    });
  }

  async function mark(record: ClusterTemplate, place: GuestPlace, signal: AbortSignal): Promise<void> {
    const call = async (): Promise<GuestCall> => {
      const found = await again(record, signal);
      const { config } = found;
      const tags = parseTags(config['tags']).filter((tag) => !isMarkTag(tag) && tag !== templateTag);
      const set = { tags: [...tags, templateTag].join(';') };
      const digest = textOf(config['digest']);
      return kinds[found.kind].calls(found.place).configure({ set, unset: [] }, digest);
    };
    await perform(tools, call, place, signal);
  }

  /** Containers answer with nothing, and go on: their task alone tells how it ended. */
  async function convert(record: ClusterTemplate, found: Found, signal: AbortSignal): Promise<void> {
    const { kind, place } = found;
    const isContainer = kind === 'lxc';
    const type = taskTypeOf(kind, 'template');
    const before = upidsOf(await tasksOf(tools, place, type, signal));
    const call = isContainer
      ? guestCall('POST /nodes/{node}/lxc/{vmid}/template', place)
      : guestCall('POST /nodes/{node}/qemu/{vmid}/template', place);
    await perform(
      tools,
      checkedAgain(call, () => again(record, signal)),
      place,
      signal,
    );
    const begun = begunSince(before, await tasksOf(tools, place, type, signal));
    if (begun !== undefined) await tools.tasks.wait(begun, { signal });
  }

  async function renumber({ key, vmid }: ClusterTemplate): Promise<void> {
    const choose = vmidChooser(memory, vmid + 1);
    const { result } = await store.transact((tx) => renumberTemplate(tx, key, choose, clock.nowMs()));
    log.info({ event: 'template.renumbered', cluster, key, from: vmid, to: result.vmid });
  }

  /** Until nothing is under way any more that makes it, or is done to it. */
  async function settle({ source, vmid }: ClusterTemplate, signal: AbortSignal): Promise<void> {
    await settleCopies(tools, source, signal);
    await settleWhereKnown(tools, { node: source.node, vmid }, signal);
  }

  async function steps(key: string, signal: AbortSignal, unwanted: AbortSignal): Promise<void> {
    for (let round = 0; round < mostRounds; round += 1) {
      unwanted.throwIfAborted();
      const record = store.snapshot().get('cluster-template', key);
      if (record === undefined) return;
      if (round === 0) await settle(record, signal);
      const found = await read(record, signal);
      const step = nextStep(record, found);
      if (step === 'done') return;
      if (step === 'copy') await copy(record, signal, unwanted);
      if (step === 'other number') await renumber(record);
      if (found === undefined) continue;
      if (step === 'half made') await endHalfMade(record, signal);
      if (step === 'mark') await mark(record, found.place, signal);
      if (step === 'convert') await convert(record, found, signal);
    }
    throw new DroverError(
      'unavailable',
      `template ${key} of ${cluster} is not ready after ${mostRounds} steps`,
    );
  }

  /** Nothing makes it any more, and no token may take away what a lock holds: a person has to. */
  async function endHalfMade(record: ClusterTemplate, signal: AbortSignal): Promise<void> {
    await settle(record, signal);
    const found = await read(record, signal);
    if (found === undefined || !isHalfMade(found) || !mayBeOurs(record, found)) return;
    throw halfMadeError(found, found);
  }

  async function note(
    { key }: ClusterTemplate,
    patch: Pick<ClusterTemplate, 'state' | 'message'>,
  ): Promise<ClusterTemplate> {
    const { result } = await store.transact((tx) => patchTemplate(tx, key, 'making', patch, clock.nowMs()));
    if (result !== undefined) return result;
    throw givenUp(key);
  }

  async function make(record: ClusterTemplate, signal: AbortSignal, unwanted: AbortSignal) {
    try {
      await steps(record.key, signal, unwanted);
    } catch (error) {
      // Whoever comes after goes on.
      if (signal.aborted) throw error;
      if (unwanted.aborted) throw givenUp(record.key);
      await note(record, { state: isForNow(error) ? 'making' : 'failed', message: wordsOf(error) });
      throw error;
    }
    return note(record, { state: 'ready', message: '' });
  }

  async function remove(record: ClusterTemplate, signal: AbortSignal): Promise<void> {
    await settle(record, signal);
    const found = await read(record, signal);
    if (found === undefined) return;
    if (isHalfMade(found) && (record.wasReady === true ? isOurs : mayBeOurs)(record, found))
      throw halfMadeError(found, found);
    if (!isOurs(record, found)) return refuseUnmarked(record, found);
    const destroy = kinds[found.kind].calls(found.place).destroy();
    await perform(
      tools,
      checkedAgain(destroy, () => again(record, signal)),
      found.place,
      signal,
    );
    const left = await read(record, signal);
    if (left !== undefined && isOurs(record, left))
      throw new DroverError('unavailable', `template ${record.vmid} is there still`, {
        subject: { cluster },
      });
  }

  /** Somebody else's guest stays under its number, whatever becomes of our record; ours is not forgotten. */
  function refuseUnmarked({ key, vmid, name }: ClusterTemplate, found: Found): void {
    const called = textOf(found.config[found.kind === 'lxc' ? 'hostname' : 'name']);
    if (called !== name) return;
    throw new DroverError(
      'failed-precondition',
      `guest ${vmid} is called as template ${key} is, and does not say any more that Drover made it`,
      {
        subject: { cluster, vmid: String(vmid), acted: 'no' },
        reason: 'not-ours',
        nextStep: `remove ${vmid} in the cluster itself, then this once more`,
      },
    );
  }

  return {
    make,
    remove,
    async isThere(record, signal) {
      const found = await read(record, signal);
      return found !== undefined && isOurs(record, found);
    },
  };
}
