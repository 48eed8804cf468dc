import { isKind } from '#shared/errors.ts';
import type { Event as WireEvent, ListEventsRequest } from '#shared/gen/drover/fleet/v1/fleet.ts';
import { checkCount, parseOne } from '#shared/wire/checks.ts';
import { formatEvent } from '#shared/wire/fleet.ts';
import type { HandlerContext, HandlerDeps } from '../handler.ts';
import { parseProject } from '../resolve-name.ts';

/**
 * The kept events after a revision, then new ones with follow. A reader that is too slow goes on from what
 * is kept.
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
    for (const event of snapshot.list('event', project)) if (event.revision > seen) yield formatEvent(event);
    seen = Math.max(seen, snapshot.revision);
    if (!request.follow) return;
    try {
      for await (const changes of store.watch(snapshot.revision, signal)) {
        for (const { kind, record, project: of } of changes)
          if (kind === 'event' && of === project && record !== undefined && record.revision > seen)
            yield formatEvent(record);
        seen = Math.max(seen, changes.at(-1)?.revision ?? 0);
      }
    } catch (error) {
      if (!isKind(error, 'failed-precondition')) throw error;
    }
  } while (!signal.aborted);
}
