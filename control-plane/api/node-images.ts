import { asDroverError, DroverError, isKind, wordsOf } from '#shared/errors.ts';
import type {
  NodeImage,
  NodeImageRemoval,
  NodePullProgress,
  NodeServiceService,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Digest, Image, NodeName } from '#shared/model.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import {
  checkImage,
  checkName,
  collectFaults,
  optionalName,
  parseNodeName,
  isPinned,
  unpinned,
} from '#shared/wire/checks.ts';
import { formatImage } from '#shared/wire/node.ts';
import type { PullProgress } from '../backends/backend.ts';
import { foundNode } from '../store/put-node.ts';
import type { HandlerContext, HandlerDeps } from './handler.ts';
import { createMailbox } from './mailbox.ts';

type ImageMethod = 'listImages' | 'pullImage' | 'removeImage';

const listTimeoutMs = 10_000;
const resolveTimeoutMs = 60_000;
const removeTimeoutMs = 10 * 60_000;
/** So many nodes at once: a registry serves them all. */
const nodesAtOnce = 8;
const fewestDigits = 8;
const digestPrefix = new RegExp(`^sha256:[0-9a-f]{${fewestDigits},64}$`);

/** What people ask about the images of nodes; each promise is in the proto. */
export const nodeImageHandlers = (
  deps: HandlerDeps,
): Pick<Handlers<typeof NodeServiceService, HandlerContext>, ImageMethod> => ({
  listImages: ({ node }, { signal }) => listImages(node, signal, deps),
  pullImage: (request, { signal }) => pullImage(request, signal, deps),
  removeImage: ({ image, node }, { signal }) => removeImage(image, node, signal, deps),
});

async function* listImages(
  text: string,
  signal: AbortSignal,
  { store, backendOf, clock }: HandlerDeps,
): AsyncGenerator<NodeImage> {
  const snapshot = store.snapshot();
  const names =
    text === ''
      ? snapshot.list('node').map(({ metadata }) => metadata.name)
      : [foundNode(snapshot, parseNodeName(text)).metadata.name];
  for (const node of names.toSorted()) {
    const name = parseNodeName(node);
    try {
      const images = backendOf(name).listImages(name, clock.timeout(listTimeoutMs, signal));
      for await (const image of images) yield { node, image: formatImage(image), unreachable: '' };
    } catch (caught) {
      // Part of the answer: one host that is away must not hide the images of the others.
      yield { node, image: undefined, unreachable: wordsOf(caught) };
    }
  }
}

interface PullRequest {
  readonly reference: string;
  readonly credential: string;
  readonly node: string;
}

/** Resolved once, so that all nodes get the same; a node that fails is named, and the others go on. */
async function* pullImage(
  { reference, credential, node }: PullRequest,
  signal: AbortSignal,
  deps: HandlerDeps,
): AsyncGenerator<NodePullProgress> {
  const faults = collectFaults();
  checkImage(reference, 'reference', faults);
  optionalName(credential, 'credential', faults);
  faults.throwIfAny('the request');
  const nodes = chosenNodes(node, deps);
  const pinnedFor = pinByCluster({ reference, credential }, nodes, signal, deps);
  const { backendOf } = deps;
  // What no node understands is no answer of one of them.
  await Promise.any(nodes.map(pinnedFor)).catch(({ errors: [first] }: AggregateError) => {
    throw first;
  });
  yield* fromEach(
    nodes,
    signal,
    async function* (name, own) {
      const image = { reference: await pinnedFor(name), credential };
      for await (const progress of backendOf(name).pullImage(name, image, own)) {
        yield formatProgress(name, progress);
      }
    },
    pullFailure,
  );
}

/** The node that was named, or all that answer now. unavailable: none does. */
function chosenNodes(node: string, { store, view }: HandlerDeps): NodeName[] {
  if (node !== '') return [parseNodeName(foundNode(store.snapshot(), parseNodeName(node)).metadata.name)];
  const answering = [...view.nodes().values()].filter(({ connected }) => connected);
  if (answering.length === 0) throw new DroverError('unavailable', 'no node answers');
  return answering.map(({ name }) => name).toSorted();
}

/** A cluster knows an image by another digest than plain hosts: each is bound to its own, asked for once. */
function pinByCluster(
  { reference, credential }: Pick<PullRequest, 'reference' | 'credential'>,
  nodes: readonly NodeName[],
  signal: AbortSignal,
  deps: HandlerDeps,
): (node: NodeName) => Promise<string> {
  const clusterOf = (node: NodeName): string => deps.store.snapshot().named('node', node)?.cluster ?? '';
  const groups = Map.groupBy(nodes, clusterOf);
  const pinned = new Map<string, Promise<string>>();
  return (node) => {
    const cluster = clusterOf(node);
    const found =
      pinned.get(cluster) ?? pin(reference, credential, groups.get(cluster) ?? [node], signal, deps);
    pinned.set(cluster, found);
    return found;
  };
}

/**
 * Asks one node after the other what the reference stands for: a path may be on one of them alone. Of several
 * failures the one that says more than that a node is away.
 */
async function pin(
  reference: string,
  credential: string,
  nodes: readonly NodeName[],
  signal: AbortSignal,
  { backendOf, clock }: HandlerDeps,
): Promise<string> {
  if (isPinned(reference)) return reference;
  let failure: DroverError | undefined;
  for (const node of nodes) {
    try {
      const timeout = clock.timeout(resolveTimeoutMs, signal);
      const { digest } = await backendOf(node).resolveImage(node, reference, credential, timeout);
      return `${reference}@${digest}`;
    } catch (caught) {
      signal.throwIfAborted();
      if (failure === undefined || isKind(failure, 'unavailable')) failure = asDroverError(caught);
    }
  }
  throw failure ?? new DroverError('unavailable', 'no node answers');
}

/** All nodes' streams as one, a few nodes at a time; a failure is a node's last message. */
async function* fromEach<T>(
  nodes: readonly NodeName[],
  signal: AbortSignal,
  work: (node: NodeName, signal: AbortSignal) => AsyncIterable<T>,
  failed: (node: NodeName, error: DroverError) => T,
): AsyncGenerator<T> {
  const mailbox = createMailbox<T>();
  const leaving = new AbortController();
  const own = AbortSignal.any([signal, leaving.signal]);
  const pending = [...nodes];

  async function serve(node: NodeName): Promise<void> {
    try {
      for await (const item of work(node, own)) if (!(await mailbox.put(item))) return;
    } catch (caught) {
      if (!own.aborted) await mailbox.put(failed(node, asDroverError(caught)));
    }
  }
  async function serveSome(): Promise<void> {
    for (let node = pending.shift(); node !== undefined && !own.aborted; node = pending.shift()) {
      await serve(node);
    }
  }
  const lanes = Array.from({ length: Math.min(nodesAtOnce, nodes.length) }, serveSome);
  Promise.all(lanes).then(
    () => mailbox.end(signal.aborted ? signal.reason : undefined),
    (error: unknown) => mailbox.end(error),
  );
  try {
    yield* mailbox.read();
  } finally {
    leaving.abort(new DroverError('aborted', 'nobody reads on'));
  }
}

const pullFailure = (node: NodeName, error: DroverError): NodePullProgress => ({
  node,
  step: '',
  bytesDone: 0n,
  bytesTotal: 0n,
  done: false,
  digest: '',
  error: wordsOf(error),
});

const formatProgress = (
  node: NodeName,
  { step, bytesDone, bytesTotal, done, digest }: PullProgress,
): NodePullProgress => ({
  node,
  step,
  bytesDone: BigInt(bytesDone),
  bytesTotal: BigInt(bytesTotal),
  done,
  digest: digest ?? '',
  error: '',
});

/** not-found where no node that answered has it. */
async function* removeImage(
  image: string,
  node: string,
  signal: AbortSignal,
  deps: HandlerDeps,
): AsyncGenerator<NodeImageRemoval> {
  const faults = collectFaults();
  if (!digestPrefix.test(image)) checkImage(image, 'image', faults);
  if (node !== '') checkName(node, 'node', faults);
  faults.throwIfAny('the request');
  const { backendOf, clock } = deps;
  let told = 0;
  const removals = fromEach(
    chosenNodes(node, deps),
    signal,
    async function* (name, own): AsyncGenerator<NodeImageRemoval> {
      const timeout = clock.timeout(removeTimeoutMs, own);
      const found = await digestsOn(name, image, timeout, deps);
      let freed = 0;
      for (const digest of found) freed += await backendOf(name).removeImage(name, digest, timeout);
      if (found.length > 0) yield { node: name, freedBytes: BigInt(Math.round(freed)), error: '' };
    },
    (name, error) => ({ node: name, freedBytes: 0n, error: wordsOf(error) }),
  );
  for await (const removal of removals) {
    told += 1;
    yield removal;
  }
  if (told > 0) return;
  const nobody = node === '' ? 'no node that answers has' : `node ${node} does not have`;
  throw new DroverError('not-found', `${nobody} image ${image}`);
}

/** What the text means on a node. invalid-argument: a digest cut so short that it means several. */
async function digestsOn(
  node: NodeName,
  text: string,
  signal: AbortSignal,
  { backendOf }: HandlerDeps,
): Promise<Digest[]> {
  const found: Digest[] = [];
  for await (const image of backendOf(node).listImages(node, signal)) {
    if (isMeant(image, text)) found.push(image.digest);
  }
  if (found.length > 1 && digestPrefix.test(text)) {
    throw new DroverError(
      'invalid-argument',
      `${text} means ${found.length} images; give more of the digest`,
    );
  }
  return found;
}

const isMeant = ({ digest, references }: Image, text: string): boolean =>
  digestPrefix.test(text)
    ? digest.startsWith(text)
    : references.some((reference) => reference === text || unpinned(reference) === text) ||
      text.endsWith(`@${digest}`);
