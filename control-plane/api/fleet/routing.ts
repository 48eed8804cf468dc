import {
  type GetRoutingResponse,
  PutRoutingRequest,
  type PutRoutingResponse,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { checkCount, collectFaults, optionalName } from '#shared/wire/checks.ts';
import { checkRoutingRules, formatRoutingRule } from '#shared/wire/routing.ts';
import { checkRouting } from '../../scheduler/check-routing.ts';
import { plainRouting } from '../../scheduler/choose-runtime.ts';
import { putRouting as put, storedRouting } from '../../store/put-routing.ts';
import { decide, headOf } from '../decide.ts';
import { callerName, type HandlerContext, type HandlerDeps } from '../handler.ts';

export async function getRouting({ store }: HandlerDeps): Promise<GetRoutingResponse> {
  const { rules, defaultRuntime, revision } = storedRouting(store.snapshot()) ?? plainRouting;
  return { rules: rules.map(formatRoutingRule), defaultRuntime, revision: BigInt(revision) };
}

/** The whole set or none of it. */
export async function putRouting(
  request: PutRoutingRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<PutRoutingResponse> {
  const { store, view, clock } = deps;
  const faults = collectFaults();
  const rules = checkRoutingRules(request.rules, faults);
  const defaultRuntime =
    optionalName(request.defaultRuntime, 'default', faults) || plainRouting.defaultRuntime;
  const expectedRevision = checkCount(request.revision, 'revision', faults);
  faults.throwIfAny('routing');
  const runtimes = [...view.nodes().values()].flatMap(({ facts }) => facts.runtimes);
  const offered = new Set(runtimes.map(({ name }) => name));
  const report = checkRouting({ rules, defaultRuntime }, offered);
  for (const { field, message } of report.faults) faults.add(field, message);
  faults.throwIfAny('routing');
  const caller = callerName(context.caller);
  const head = headOf(request.requestId, PutRoutingRequest.encode(request).finish(), context);
  const answer = { warnings: [...report.warnings] };
  await decide(deps, head, (tx) => {
    put(tx, { rules, defaultRuntime, expectedRevision, caller }, clock.nowMs());
    return answer;
  });
  const { revision = 0 } = storedRouting(store.snapshot()) ?? {};
  return { ...answer, revision: BigInt(revision) };
}
