import { DroverError, isKind } from '#shared/errors.ts';
import type { StreamLogsRequest } from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { LogLine as WireLogLine } from '#shared/gen/drover/model/v1/model.ts';
import type { Instance, InstanceId, NodeName } from '#shared/model.ts';
import type { LogLine, LogOptions } from '#shared/streams.ts';
import { formatLogLine, parseLogOptions } from '#shared/wire/exec.ts';
import { nodeNames } from '../../status.ts';
import { nextChange } from '../changes.ts';
import type { HandlerContext, HandlerDeps } from '../handler.ts';
import { presentMoment } from '../messages.ts';
import { noSuchTarget, parseProject } from '../resolve-name.ts';
import { nodeOfReachable } from './instances.ts';
import { mergeLive, mergeSorted, type Source } from './merge-streams.ts';

interface LogCall {
  readonly options: LogOptions;
  readonly signal: AbortSignal;
  readonly deps: HandlerDeps;
}

/**
 * Output of one instance, or of all instances of a workload in the order of time; with follow, of new ones
 * too.
 */
export async function* streamLogs(
  request: StreamLogsRequest,
  { signal }: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<WireLogLine> {
  const project = parseProject(request.project);
  const options = parseLogOptions(request.options);
  const { snapshot } = presentMoment(deps);
  const { target } = request;
  const call = { options, signal, deps };
  const instance = snapshot.get('instance', target, project) ?? snapshot.named('instance', target, project);
  if (instance !== undefined) {
    yield* linesOf(instance, call);
    return;
  }
  if (snapshot.named('workload', target, project) === undefined)
    throw noSuchTarget(snapshot, target, project);
  yield* options.follow ? followWorkload(target, project, call) : readWorkload(target, project, call);
}

async function* linesOf(instance: Instance, { options, signal, deps }: LogCall): AsyncGenerator<WireLogLine> {
  const node = nodeOfReachable(instance, presentMoment(deps));
  const { id, name } = instance.metadata;
  const lines = deps.backendOf(node).logs(node, id as InstanceId, options, signal);
  for await (const line of lines) yield formatLogLine(line, name);
}

/** What can be read is read first; a node that does not answer is told at the end. */
async function* readWorkload(name: string, project: string, call: LogCall): AsyncGenerator<WireLogLine> {
  const { snapshot, world } = presentMoment(call.deps);
  const placed = snapshot.instancesOfWorkload(name, project).filter(({ node }) => node !== undefined);
  const away = placed.filter((each) => world.stale(each));
  const sources = placed.filter((each) => !away.includes(each)).map((each) => sourceOf(each, call));
  for await (const { name: from, item } of mergeSorted(sources, ({ atNs }) => atNs))
    yield formatLogLine(item, from);
  if (away.length === 0) return;
  const nodes = nodeNames(away);
  const names = away.map(({ metadata }) => metadata.name).join(', ');
  throw new DroverError('unavailable', `the output of ${names} is missing: ${nodes} does not answer`, {
    subject: { workload: name, node: nodes },
    reason: 'node-away',
  });
}

function sourceOf({ metadata, node }: Instance, { options, signal, deps }: LogCall): Source<LogLine> {
  const { id, name } = metadata;
  const on = node as NodeName;
  return { name, items: untilGone(deps.backendOf(on).logs(on, id as InstanceId, options, signal)) };
}

/** An instance that was removed while its output was read has ended; that is no fault of the others. */
async function* untilGone(lines: AsyncIterable<LogLine>): AsyncGenerator<LogLine> {
  try {
    yield* lines;
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
  }
}

/** Copies that come later are joined as soon as they have a node that answers; ends with the workload. */
async function* followWorkload(name: string, project: string, call: LogCall): AsyncGenerator<WireLogLine> {
  const { deps, signal } = call;
  const exists = (): boolean => deps.store.snapshot().named('workload', name, project) !== undefined;
  const last = new Map<string, bigint>();
  const more = (): Source<LogLine>[] => {
    const { snapshot, world } = presentMoment(deps);
    return snapshot
      .instancesOfWorkload(name, project)
      .filter((each) => each.node !== undefined && !world.stale(each) && typeof each.observed === 'object')
      .map((each) => {
        const { name: from } = each.metadata;
        const lastNs = last.get(from);
        return lastNs === undefined
          ? sourceOf(each, call)
          : { name: from, items: resumed(each, call, lastNs) };
      });
  };
  const changed = async (): Promise<boolean> => {
    await nextChange(deps, signal);
    return !signal.aborted && exists();
  };
  for await (const { name: from, item } of mergeLive(more, changed)) {
    last.set(from, item.atNs);
    yield formatLogLine(item, from);
  }
}

/** After a node was away: what came since the last line that was read of the copy. */
async function* resumed(each: Instance, call: LogCall, lastNs: bigint): AsyncGenerator<LogLine> {
  const sinceMs = Number(lastNs / 1_000_000n);
  const { items } = sourceOf(each, { ...call, options: { ...call.options, tail: undefined, sinceMs } });
  for await (const line of items) if (line.atNs > lastNs) yield line;
}
