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
  describeAll,
  describeChanged,
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
  const shown = new Map<string, string>();
  while (!signal.aborted) {
    if (from === 0) from = yield* sendAll(call, shown);
    else remember(call, shown);
    const reason = yield* sendChanges(call, shown, from);
    if (reason === undefined) return;
    yield resync(reason);
    shown.clear();
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

async function* sendAll(call: WatchCall, shown: Map<string, string>): AsyncGenerator<WatchResponse, number> {
  const moment = presentMoment(call.deps);
  const { revision } = moment.snapshot;
  for (const described of describeAll(call, moment)) {
    shown.set(described.key, described.text);
    yield { revision: BigInt(revision), event: described.event };
  }
  yield bookmark(revision);
  return revision;
}

/** A reader that resumes has seen what is; only what differs from now on is sent again. */
function remember(call: WatchCall, shown: Map<string, string>): void {
  for (const { key, text } of describeAll(call, presentMoment(call.deps))) shown.set(key, text);
}

/** Answers why changes were lost; undefined when the call has ended. */
async function* sendChanges(
  call: WatchCall,
  shown: Map<string, string>,
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

function afterChanges(
  call: WatchCall,
  shown: Map<string, string>,
  changes: readonly StoreChange[],
): WatchResponse[] {
  const moment = presentMoment(call.deps);
  const revision = BigInt(changes.at(-1)?.revision ?? 0);
  return describeChanged(call, moment, changes).map(({ key, text, event }) => {
    if (event?.$case === 'removed') shown.delete(key);
    else shown.set(key, text);
    return { revision, event };
  });
}

/** What looks different though the store is the same: a node came or went, an instance got ready. */
function afterTick(call: WatchCall, shown: Map<string, string>, revision: number): WatchResponse[] {
  const isNews = ({ key, text }: Described): boolean => shown.has(key) && shown.get(key) !== text;
  const news = [...describeAll(call, presentMoment(call.deps))].filter(isNews);
  for (const { key, text } of news) shown.set(key, text);
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
