import { asDroverError, DroverError, isKind } from '#shared/errors.ts';
import type { Digest } from '#shared/model.ts';
import { type ClusterTools, versionOf } from '../cluster-memory.ts';
import type { ImageReference } from './image-references.ts';
import { isLost } from '../api/lost-answer.ts';
import { ociFileName, takesOci } from './oci-names.ts';
import { settleRunning } from '../tasks/settle-tasks.ts';
import { isUpid } from '../tasks/upid.ts';
import { textOf } from '../guests/properties.ts';
import { storageKey } from '../observe/storages.ts';
import { createSharedWork } from './shared-work.ts';
import type { StoredFile, StoredFiles } from './stored-files.ts';

/** A task that was asked for may be in no list yet when its answer was lost. */
const beginsWithinMs = 2000;

interface Target {
  readonly node: string;
  readonly storage: string;
  readonly reference: string;
}

/** Images of registries, which the nodes themselves pull: each once to a storage, whoever waits for it. */
export interface OciPull {
  /** On a storage of that node, where it is there. */
  find(node: string, reference: string, signal: AbortSignal): Promise<StoredFile | undefined>;
  /** As find; pulled where it is missing. unimplemented: before 9.1. The signal ends the waiting. */
  pull(node: string, reference: string, signal: AbortSignal): Promise<StoredFile>;
  /** As pull; one that is under way on another node of the cluster serves. */
  pullAnywhere(node: string, reference: string, signal: AbortSignal): Promise<StoredFile>;
  /** Why an image is not what a reference is bound to. `found`: what it is; undefined: not looked for. */
  otherDigest(image: Extract<ImageReference, { kind: 'oci' }>, found: Digest | undefined): DroverError;
}

export function createOciPull(tools: ClusterTools, files: StoredFiles): OciPull {
  const { api, tasks, memory, clock, limits, name: cluster } = tools;
  const pulling = createSharedWork<StoredFile>(tools.signal);
  const volidOf = ({ storage, reference }: Target): string =>
    `${storage}:vztmpl/${ociFileName(reference)}.tar`;

  async function on(target: Target, signal: AbortSignal): Promise<StoredFile | undefined> {
    const there = await files.on(target.node, target.storage, 'vztmpl', signal);
    return there.find(({ volid }) => volid === volidOf(target));
  }

  // Shared ones first: what is there is there for every node.
  const storagesOf = (node: string) => files.storages(node, 'vztmpl');

  async function find(node: string, reference: string, signal: AbortSignal): Promise<StoredFile | undefined> {
    for (const { storage } of storagesOf(node)) {
      const found = await on({ node, storage, reference }, signal);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** Of an order whose answer was lost, or that came before we were started. */
  const settlePulls = ({ node, reference }: Target, signal: AbortSignal): Promise<void> =>
    settleRunning(
      tools,
      { node, typefilter: 'ociregistrypull' },
      (row) => row['id'] === `${ociFileName(reference)}.tar`,
      signal,
    );

  async function send({ node, storage, reference }: Target, signal: AbortSignal): Promise<void> {
    const asked = { node, storage, reference, filename: ociFileName(reference) };
    const method = 'POST /nodes/{node}/storage/{storage}/oci-registry-pull';
    const upid = await api.call(method, asked, { signal });
    if (isUpid(upid)) await tasks.wait(upid, { signal });
  }

  async function bring(target: Target, signal: AbortSignal): Promise<StoredFile> {
    await settlePulls(target, signal);
    const before = await on(target, signal);
    if (before !== undefined) return before;
    let failure = new DroverError('unavailable', `${target.reference} was pulled, and is not there`);
    try {
      await send(target, signal);
    } catch (error) {
      if (signal.aborted || !(isLost(error) || isKind(error, 'already-exists')))
        throw await missingTag(target, error, signal);
      failure = asDroverError(error);
      await clock.sleep(beginsWithinMs, signal);
      await settlePulls(target, signal);
    }
    const file = await on(target, signal);
    if (file !== undefined) return file;
    throw failure;
  }

  /** What failed, or that there is no such tag, where the registry tells. */
  async function missingTag(
    { node, reference }: Target,
    failure: unknown,
    signal: AbortSignal,
  ): Promise<unknown> {
    const at = reference.lastIndexOf(':');
    const [repository, tag] = [reference.slice(0, at), reference.slice(at + 1)];
    try {
      const asked = { node, reference: repository };
      const answer = await api.call('GET /nodes/{node}/query-oci-repo-tags', asked, { signal });
      const tags = Array.isArray(answer) ? answer.map(textOf) : [];
      if (tags.length === 0 || tags.includes(tag)) return failure;
      const some = tags.slice(-10).join(', ');
      return new DroverError('not-found', `${repository} has no tag ${tag}`, {
        subject: { image: reference, node },
        nextStep: `name one that is there: ${some}`,
      });
    } catch {
      return failure;
    }
  }

  function check(node: string, reference: string): void {
    if (takesOci(versionOf(memory))) return;
    throw new DroverError(
      'unimplemented',
      `${cluster} runs Proxmox VE ${memory.version}: only from 9.1 on can its nodes pull ${reference}`,
      {
        subject: { image: reference, node },
        nextStep: 'name a template ("proxmox:STORAGE:vztmpl/NAME"), or upgrade the cluster',
      },
    );
  }

  async function pull(node: string, reference: string, signal: AbortSignal): Promise<StoredFile> {
    check(node, reference);
    const found = await find(node, reference, signal);
    if (found !== undefined) return found;
    const { storage } = files.target(node, 'vztmpl');
    const filesOf = storageKey(memory, node, storage);
    // What a node has begun to pull is pulled to its end: cut off, it would leave what no token may remove.
    return pulling.run(`${filesOf} ${reference}`, signal, (unwanted) =>
      limits.run({ filesOf }, AbortSignal.any([tools.signal, unwanted]), () =>
        bring({ node, storage, reference }, tools.signal).finally(() => files.changed()),
      ),
    );
  }

  return {
    find,
    pull,
    async pullAnywhere(node, reference, signal) {
      check(node, reference);
      return pulling.join((key) => key.endsWith(` ${reference}`), signal) ?? pull(node, reference, signal);
    },
    otherDigest: ({ reference }, found) =>
      new DroverError(
        found === undefined ? 'unimplemented' : 'failed-precondition',
        found === undefined
          ? `nodes of ${cluster} pull by tag: their API takes no digest of ${reference}, and tells none`
          : `${reference} is not what it was when it was resolved: it is ${found} now`,
        {
          subject: { image: reference },
          nextStep:
            found === undefined
              ? 'leave the digest out and name a tag that stays, or bring a tarball ("https://…@sha256:…")'
              : 'apply the workload again, to take the one that is there',
        },
      ),
  };
}
