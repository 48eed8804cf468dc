import { DroverError } from '#shared/errors.ts';
import type { ClusterTemplate } from '#shared/model.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';
import { templatesOfCluster } from '../../../store/cluster-guests.ts';
import {
  beginTemplateRemoval,
  claimTemplate,
  forgetTemplate,
  patchTemplate,
  templateKey,
} from '../../../store/put-cluster-template.ts';
import type { TemplateSource } from '../../cluster-backend.ts';
import { type ClusterTools, withoutGone } from '../cluster-memory.ts';
import { nextVmid, vmidChooser } from '../identity/vmids.ts';
import { createSourceCheck } from './check-source.ts';
import { listLagMs } from '../life/own-guests.ts';
import { findGuest } from '../observe/read-guests.ts';
import { createTemplates, isForNow } from './make-template.ts';

/** What could not be asked is asked again so long after it failed. */
const retryAfterMs = 60_000;
/** The list by which specs find templates is some ten seconds old. */
const listedWithinMs = 30_000;
const listedEveryMs = 500;

/** The templates that we make of guests, and made. */
export interface OwnTemplates {
  /** Resolves when it is ready. It is made, too, where nobody waits, and after a start of ours. */
  create(source: TemplateSource, signal: AbortSignal): Promise<ClusterTemplate>;
  /**
   * By name or number; what is being made is given up. failed-precondition: it is not ours, or copies share
   * its disks. What the cluster cannot be asked now is done later.
   */
  remove(called: string, signal: AbortSignal): Promise<ClusterTemplate>;
  /** Goes on with what is not ready, or not gone. */
  resume(): void;
}

type Act = (record: ClusterTemplate, unwanted: AbortSignal) => Promise<ClusterTemplate>;

/** One thing at a time is done for each template. */
interface Doing {
  readonly act: Act;
  readonly end: Promise<ClusterTemplate>;
  readonly unwanted: AbortController;
}

export function createOwnTemplates(tools: ClusterTools): OwnTemplates {
  const { api, store, clock, memory, log, name: cluster } = tools;
  const { make, remove, isThere } = createTemplates(tools);
  const check = createSourceCheck(tools);
  const doing = new Map<string, Doing>();
  const failedAtMs = new Map<string, number>();

  const records = (): ClusterTemplate[] => templatesOfCluster(store.snapshot(), cluster);

  /** Joins what is under way already. */
  function begin(record: ClusterTemplate, act: Act): Promise<ClusterTemplate> {
    const { key } = record;
    const before = doing.get(key);
    if (before?.act === act) return before.end;
    const unwanted = new AbortController();
    const end = act(record, unwanted.signal)
      .catch((err: unknown) => {
        failedAtMs.set(key, clock.monotonicMs());
        if (!tools.signal.aborted) log.warn({ event: 'template.failed', cluster, key, err });
        throw err;
      })
      .finally(() => {
        if (doing.get(key) === now) doing.delete(key);
      });
    end.catch(() => undefined);
    const now = { act, end, unwanted };
    doing.set(key, now);
    return end;
  }

  const makeIt = (record: ClusterTemplate, unwanted: AbortSignal): Promise<ClusterTemplate> =>
    make(record, tools.signal, unwanted);

  async function removeIt(record: ClusterTemplate): Promise<ClusterTemplate> {
    const { key } = record;
    try {
      await remove(record, tools.signal);
    } catch (error) {
      if (tools.signal.aborted || isForNow(error)) throw error;
      const state = record.wasReady === true ? 'ready' : 'failed';
      const message = state === 'ready' ? '' : 'it could not be removed';
      await store.transact((tx) => patchTemplate(tx, key, 'removing', { state, message }, clock.nowMs()));
      throw error;
    }
    const { vmid, name } = record;
    memory.goneTemplates.set(vmid, { name, untilMs: clock.monotonicMs() + listLagMs });
    memory.guests = withoutGone(memory, memory.guests, clock.monotonicMs());
    await store.transact((tx) => forgetTemplate(tx, key, clock.nowMs()));
    failedAtMs.delete(key);
    return record;
  }

  async function sourceOf(
    { vmid, snapshot }: TemplateSource,
    signal: AbortSignal,
  ): Promise<Pick<ClusterTemplate, 'kind' | 'source'>> {
    const { kind, node } = await findGuest(tools, vmid, signal);
    return { kind, source: { node, vmid, snapshot } };
  }

  /** A spec names it by its name. */
  function checkName(name: string): void {
    if (!memory.guests.some((row) => row.template && row.name === name)) return;
    throw new DroverError('already-exists', `there is a template ${name} in ${cluster} already`, {
      subject: { cluster },
      nextStep: 'name it otherwise',
    });
  }

  /** Specs can name it from then on. A list that comes later still has it: nothing is wrong then. */
  async function waitUntilListed({ vmid, name }: ClusterTemplate, signal: AbortSignal): Promise<void> {
    const untilMs = clock.monotonicMs() + listedWithinMs;
    const isListed = (): boolean =>
      memory.guests.some((row) => row.vmid === vmid && row.template && row.name === name);
    while (!isListed() && clock.monotonicMs() < untilMs) await clock.sleep(listedEveryMs, signal);
  }

  function recordOf(called: string): ClusterTemplate {
    const found = records().find(({ name, vmid }) => name === called || `${vmid}` === called);
    if (found !== undefined) return found;
    const isListed = memory.guests.some(
      (row) => row.template && (row.name === called || `${row.vmid}` === called),
    );
    if (!isListed)
      throw new DroverError('not-found', `there is no template ${called} in ${cluster}`, {
        subject: { cluster },
        nextStep: 'drover template list',
      });
    throw new DroverError('failed-precondition', `Drover did not make ${cluster}/${called}`, {
      subject: { cluster },
      reason: 'not-ours',
      nextStep: 'remove it in the cluster itself',
    });
  }

  /** Before anything is kept of it; a repetition was looked at the first time. */
  async function checkWish(
    { name }: TemplateSource,
    { kind, source }: Pick<ClusterTemplate, 'kind' | 'source'>,
    signal: AbortSignal,
  ): Promise<{ readonly goneVmid: number | undefined }> {
    const before = store.snapshot().get('cluster-template', templateKey({ cluster, name }));
    const isGone = before?.state === 'ready' && !(await isThere(before, signal));
    if (before === undefined) checkName(name);
    if (before === undefined || isGone) await check(source, kind, signal);
    return { goneVmid: isGone ? before.vmid : undefined };
  }

  return {
    async create(wanted, signal) {
      const { name } = wanted;
      const { kind, source } = await sourceOf(wanted, signal);
      const { goneVmid } = await checkWish(wanted, { kind, source }, signal);
      const chooseVmid = vmidChooser(memory, await nextVmid(api, signal));
      const { result } = await store.transact((tx) =>
        claimTemplate(tx, { cluster, name, kind, source, goneVmid, chooseVmid }, clock.nowMs()),
      );
      const made = await unlessAborted(begin(result, makeIt), signal);
      await waitUntilListed(made, AbortSignal.any([signal, tools.signal]));
      return made;
    },
    async remove(called, signal) {
      const { key } = recordOf(called);
      const { result } = await store.transact((tx) => beginTemplateRemoval(tx, key, clock.nowMs()));
      const before = doing.get(key);
      if (before?.act === makeIt) {
        before.unwanted.abort(new DOMException('it is to be removed', 'AbortError'));
        await unlessAborted(
          before.end.catch(() => undefined),
          signal,
        );
      }
      return unlessAborted(begin(result, removeIt), signal);
    },
    resume() {
      if (memory.heldBy !== undefined) return;
      for (const record of records()) {
        const { key, state } = record;
        const atMs = failedAtMs.get(key) ?? Number.NEGATIVE_INFINITY;
        if (doing.has(key) || clock.monotonicMs() - atMs < retryAfterMs) continue;
        if (state === 'making') void begin(record, makeIt);
        if (state === 'removing') void begin(record, removeIt);
      }
    },
  };
}
