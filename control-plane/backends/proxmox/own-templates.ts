import { DroverError } from '#shared/errors.ts';
import type { ClusterTemplate } from '#shared/model.ts';
import { unlessAborted } from '#shared/unless-aborted.ts';
import { claimTemplate, templateKey } from '../../store/put-cluster-template.ts';
import type { TemplateSource } from '../cluster-backend.ts';
import type { ClusterTools } from './cluster-memory.ts';
import { createTemplates } from './make-template.ts';
import { parseResources } from './observe.ts';
import { chooseVmid, nextVmid } from './identity/vmids.ts';

/** What could not be asked is asked again so soon, at most. */
const retryAfterMs = 60_000;
/** The list by which specs find templates is some ten seconds old. */
const listedWithinMs = 30_000;
const listedEveryMs = 500;

/** The templates that we make of guests, and made. */
export interface OwnTemplates {
  /** Resolves when it is ready. It is made, too, where nobody waits, and after a start of ours. */
  create(source: TemplateSource, signal: AbortSignal): Promise<ClusterTemplate>;
  /** By name or number. failed-precondition: it is not ours, is being made, or copies share its disks. */
  remove(called: string, signal: AbortSignal): Promise<ClusterTemplate>;
  /** Goes on with what is not ready. */
  resume(): void;
}

export function createOwnTemplates(tools: ClusterTools): OwnTemplates {
  const { api, store, clock, memory, log, name: cluster } = tools;
  const { make, remove } = createTemplates(tools);
  const running = new Map<string, Promise<ClusterTemplate>>();
  const triedAtMs = new Map<string, number>();

  const records = (): ClusterTemplate[] =>
    store
      .snapshot()
      .list('cluster-template')
      .filter((each) => each.cluster === cluster);

  function begin(record: ClusterTemplate): Promise<ClusterTemplate> {
    const { key } = record;
    const before = running.get(key);
    if (before !== undefined) return before;
    triedAtMs.set(key, clock.monotonicMs());
    const made = make(record, tools.signal).finally(() => running.delete(key));
    running.set(key, made);
    return made;
  }

  async function sourceOf(
    { vmid, snapshot }: TemplateSource,
    signal: AbortSignal,
  ): Promise<Pick<ClusterTemplate, 'kind' | 'source'>> {
    const answer = await api.call('GET /cluster/resources', { type: 'vm' }, { signal });
    const row = parseResources(answer).guests.find((each) => each.vmid === vmid);
    if (row === undefined)
      throw new DroverError('not-found', `there is no guest ${vmid} in ${cluster}`, { subject: { cluster } });
    return { kind: row.kind, source: { node: row.node, vmid, snapshot } };
  }

  /** A spec names it by its name. */
  function checkName(name: string, key: string): void {
    const isOurs = store.snapshot().get('cluster-template', key) !== undefined;
    if (isOurs || !memory.guests.some((row) => row.template && row.name === name)) return;
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
    const isThere = memory.guests.some(
      (row) => row.template && (row.name === called || `${row.vmid}` === called),
    );
    if (!isThere)
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

  return {
    async create(wanted, signal) {
      const { name } = wanted;
      const key = templateKey({ cluster, name });
      checkName(name, key);
      const { kind, source } = await sourceOf(wanted, signal);
      const from = await nextVmid(api, signal);
      const taken = new Set(memory.guests.map(({ vmid }) => vmid));
      const choose = (claimed: ReadonlySet<number>): number =>
        chooseVmid(from, (vmid) => claimed.has(vmid) || taken.has(vmid));
      const { result } = await store.transact((tx) =>
        claimTemplate(tx, { cluster, name, kind, source, chooseVmid: choose }, clock.nowMs()),
      );
      const made = await unlessAborted(begin(result), signal);
      await waitUntilListed(made, AbortSignal.any([signal, tools.signal]));
      return made;
    },
    async remove(called, signal) {
      const record = recordOf(called);
      if (running.has(record.key))
        throw new DroverError('failed-precondition', `${record.key} is being made`, {
          subject: { cluster },
          nextStep: 'wait until it is ready: drover template list',
        });
      await remove(record, AbortSignal.any([signal, tools.signal]));
      triedAtMs.delete(record.key);
      return record;
    },
    resume() {
      for (const record of records()) {
        const { key, state } = record;
        const atMs = triedAtMs.get(key) ?? Number.NEGATIVE_INFINITY;
        if (state !== 'making' || running.has(key) || clock.monotonicMs() - atMs < retryAfterMs) continue;
        begin(record).catch((err: unknown) => log.warn({ event: 'template.failed', cluster, key, err }));
      }
    },
  };
}
