import { isKind } from '#shared/errors.ts';
import type { Event as WireEvent, ListEventsRequest } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { FleetEvent } from '#shared/model.ts';
import { checkCount, parseOne } from '#shared/wire/checks.ts';
import { formatEvent } from '#shared/wire/fleet.ts';
import type { StoreChange } from '../../store/store.ts';
import type { HandlerContext, HandlerDeps } from '../handler.ts';
import { parseProject } from '../resolve-name.ts';

/**
 * The kept events after a revision, then new ones with follow. A reader that is too slow goes on from what is
 * kept.
 */
export async function* listEvents(
  request: ListEventsRequest,
  { signal }: HandlerContext,
  { store }: Pick<HandlerDeps, 'store'>,
): AsyncGenerator<WireEvent> {
  const project = parseProject(request.project);
  let seen = parseOne('events', (faults) => checkCount(request.sinceRevision, 'sinceRevision', faults));
  do {
    const snapshot = store.snapshot();
    const after = seen;
    const kept = snapshot.list('event', project).filter(({ revision }) => revision > after);
    for (const event of kept) yield formatEvent(event);
    seen = snapshot.revision;
    if (!request.follow) return;
    for await (const event of newEvents(store.watch(seen, signal), project)) {
      seen = event.revision;
      yield formatEvent(event);
    }
  } while (!signal.aborted);
}

/** Ends when changes were lost. */
async function* newEvents(
  watch: AsyncIterable<readonly StoreChange[]>,
  project: string,
): AsyncGenerator<FleetEvent> {
  try {
    for await (const changes of watch) yield* eventsOf(changes, project);
  } catch (error) {
    if (!isKind(error, 'failed-precondition')) throw error;
  }
}

const eventsOf = (changes: readonly StoreChange[], project: string): FleetEvent[] =>
  changes.flatMap(({ kind, record, project: of }) =>
    kind === 'event' && of === project && record !== undefined ? [record] : [],
  );
