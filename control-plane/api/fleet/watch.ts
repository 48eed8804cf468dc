import { DroverError } from '#shared/errors.ts';
import { ObjectKind, type WatchRequest, type WatchResponse } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { checkCount, parseOne } from '#shared/wire/checks.ts';
import type { StoreChange } from '../../store/store.ts';
import { changesAndTicks } from '../changes.ts';
import type { HandlerContext, HandlerDeps } from '../handler.ts';
import { presentMoment } from '../messages.ts';
import { parseProject } from '../resolve-name.ts';
import {
  type Described,
  describeAgain,
  describeAll,
  describeChanged,
  nodesText,
  type WatchedKind,
  watchedKinds,
} from './watched-objects.ts';

const bookmarkMs = 30_000;

interface WatchCall {
  readonly project: string;
  readonly kinds: ReadonlySet<WatchedKind>;
  readonly signal: AbortSignal;
  readonly deps: HandlerDeps;
}

/** What the reader was told last, by key, and how the nodes were then. */
interface Shown {
  readonly objects: Map<string, Pick<Described, 'text' | 'isSettled'>>;
  nodes: string;
}

/**
 * All objects, a bookmark, then what changes. What is derived from live nodes and from time is looked at
 * once a second. Where changes were lost, everything follows anew after a resync.
 */
export async function* watch(
  request: WatchRequest,
  { signal }: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<WatchResponse> {
  const call = { project: parseProject(request.project), kinds: parseKinds(request.kinds), signal, deps };
  let from = parseOne('watch', (faults) => checkCount(request.fromRevision, 'fromRevision', faults));
  if (from > deps.store.snapshot().revision) {
    // A revision that is still to come is one of another time: the store was restored.
    yield resync('compacted');
    from = 0;
  }
  while (!signal.aborted) {
    const shown: Shown = { objects: new Map(), nodes: '' };
    if (from === 0) from = yield* sendAll(call, shown);
    else yield* sendDerived(call, shown, from);
    const reason = yield* sendChanges(call, shown, from);
    if (reason === undefined) return;
    yield resync(reason);
    from = 0;
  }
}

function parseKinds(kinds: readonly ObjectKind[]): ReadonlySet<WatchedKind> {
  const parsed = kinds.map((kind) => watchedKinds.get(kind));
  const known = parsed.filter((kind) => kind !== undefined);
  if (known.length === kinds.length && known.length > 0) return new Set(known);
  throw new DroverError(
    'invalid-argument',
    kinds.length === 0 ? 'no kinds are asked for; wanted at least one' : 'a kind is not known here',
    { subject: { field: 'kinds' } },
  );
}

async function* sendAll(call: WatchCall, shown: Shown): AsyncGenerator<WatchResponse, number> {
  const moment = presentMoment(call.deps);
  const { revision } = moment.snapshot;
  shown.nodes = nodesText(moment);
  for (const described of describeAll(call, moment)) {
    keep(shown, described);
    yield { revision: BigInt(revision), event: described.event };
  }
  yield bookmark(revision);
  return revision;
}

/**
 * A reader that resumes has seen the records, but what the nodes were like then is not kept: what depends
 * on them is sent again, the rest is not.
 */
async function* sendDerived(
  call: WatchCall,
  shown: Shown,
  revision: number,
): AsyncGenerator<WatchResponse, void> {
  const moment = presentMoment(call.deps);
  shown.nodes = nodesText(moment);
  for (const described of describeAll(call, moment)) {
    keep(shown, described);
    const { event, isSettled } = described;
    const isStale = event?.$case === 'instance' && event.value.stale;
    if (event?.$case === 'node' || isStale || !isSettled) yield { revision: BigInt(revision), event };
  }
}

/** Not the message: a reader costs the control plane a few words an object. */
function keep({ objects }: Shown, { key, text, isSettled, event }: Described): void {
  if (event?.$case === 'removed') objects.delete(key);
  else objects.set(key, { text, isSettled });
}

/** Answers why changes were lost; undefined when the call has ended. */
async function* sendChanges(
  call: WatchCall,
  shown: Shown,
  afterRevision: number,
): AsyncGenerator<WatchResponse, string | undefined> {
  const { deps, signal } = call;
  let revision = afterRevision;
  let sentAtMs = deps.clock.monotonicMs();
  for await (const heard of changesAndTicks(deps, afterRevision, signal)) {
    if (heard.kind === 'lost') return heard.reason;
    const changed = heard.kind === 'changes' ? heard.changes : [];
    const responses =
      heard.kind === 'changes' ? afterChanges(call, shown, changed) : afterTick(call, shown, revision);
    revision = changed.at(-1)?.revision ?? revision;
    for (const response of responses) {
      sentAtMs = deps.clock.monotonicMs();
      yield response;
    }
    if (deps.clock.monotonicMs() - sentAtMs < bookmarkMs) continue;
    sentAtMs = deps.clock.monotonicMs();
    yield bookmark(revision);
  }
  return undefined;
}

function afterChanges(call: WatchCall, shown: Shown, changes: readonly StoreChange[]): WatchResponse[] {
  const revision = BigInt(changes.at(-1)?.revision ?? 0);
  return describeChanged(call, presentMoment(call.deps), changes).map((described) => {
    keep(shown, described);
    return { revision, event: described.event };
  });
}

/** What looks different though the store is the same: a node came or went, a workload got ready. */
function afterTick(call: WatchCall, shown: Shown, revision: number): WatchResponse[] {
  const moment = presentMoment(call.deps);
  const nodes = nodesText(moment);
  const unsettled = [...shown.objects].flatMap(([key, { isSettled }]) => (isSettled ? [] : [key]));
  const looked =
    nodes === shown.nodes ? describeAgain(call, moment, unsettled) : [...describeAll(call, moment)];
  shown.nodes = nodes;
  const isNews = ({ key, text }: Described): boolean => {
    const before = shown.objects.get(key);
    return before !== undefined && before.text !== text;
  };
  const news = looked.filter(isNews);
  for (const described of news) keep(shown, described);
  return news.map(({ event }) => ({ revision: BigInt(revision), event }));
}

const bookmark = (revision: number): WatchResponse => ({
  revision: BigInt(revision),
  event: {
    $case: 'bookmark',
    value: { incarnation: '', sequence: 0n, revision: BigInt(revision) },
  },
});

const resync = (reason: string): WatchResponse => ({
  revision: 0n,
  event: { $case: 'resync', value: { reason } },
});
