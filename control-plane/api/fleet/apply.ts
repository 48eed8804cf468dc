import {
  ApplyRequest,
  type ApplyResponse,
  type ApplyResult,
  DeleteWorkloadRequest,
  type DeleteWorkloadResponse,
  type NetworkResult,
  ScaleWorkloadRequest,
  type ScaleWorkloadResponse,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { isKind } from '#shared/errors.ts';
import { checkCount, checkProject, checkRange, parseOne } from '#shared/wire/checks.ts';
import { formatApplyResult } from '#shared/wire/fleet.ts';
import { parseApplyDocuments } from '#shared/wire/apply-documents.ts';
import { workloadLimits } from '#shared/wire/workload.ts';
import { checkNetworkUses } from '../../store/check-network-uses.ts';
import { deleteWorkload } from '../../store/delete-workload.ts';
import { putDocuments } from '../../store/put-documents.ts';
import type { PutNetworkResult } from '../../store/put-network.ts';
import type { PutResult } from '../../store/put-workload.ts';
import { scaleWorkload } from '../../store/scale-workload.ts';
import { decide, headOf } from '../decide.ts';
import { callerName, type HandlerContext, type HandlerDeps } from '../handler.ts';
import { networkMessage, presentMoment, workloadMessage } from '../messages.ts';
import { findWorkload } from '../resolve-name.ts';

/** All documents or none, in one transaction. */
export async function apply(
  request: ApplyRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<ApplyResponse> {
  const documents = parseApplyDocuments(request);
  const planRevision = parseOne('apply', (faults) =>
    checkCount(request.planRevision, 'planRevision', faults),
  );
  const { clock, random } = deps;
  const caller = callerName(context.caller);
  const head = headOf(request.requestId, ApplyRequest.encode(request).finish(), context);
  const networks = documents.networks.map((document) => ({
    document,
    networkId: random.uuidV7(),
    caller,
  }));
  const workloads = documents.workloads.map((document) => ({
    document,
    workloadId: random.uuidV7(),
    operationId: random.uuidV7(),
    caller,
    planRevision,
    destroyAdopted: request.destroyAdopted,
  }));
  const decided = await decide(deps, head, (tx) => putDocuments(tx, { networks, workloads }, clock.nowMs()));
  return {
    results: decided.workloads.map((result) => resultMessage(result, deps)),
    networks: decided.networks.map((result) => networkResult(result, deps)),
  };
}

export async function scale(
  request: ScaleWorkloadRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<ScaleWorkloadResponse> {
  const { project, replicas } = parseOne('scale', (faults) => ({
    project: checkProject(request.project, 'project', faults),
    replicas: checkRange(request.replicas, [0, workloadLimits.replicas], 'replicas', faults),
  }));
  const { name, destroyAdopted } = request;
  const caller = callerName(context.caller);
  const head = headOf(request.requestId, ScaleWorkloadRequest.encode(request).finish(), context);
  const operationId = deps.random.uuidV7();
  const result = await withNearestName(deps, name, project, () =>
    decide(deps, head, (tx) => {
      const wish = { project, name, replicas, operationId, caller, destroyAdopted };
      const scaled = scaleWorkload(tx, wish, deps.clock.nowMs());
      checkNetworkUses(tx, [{ name, project, prefix: '' }]);
      return scaled;
    }),
  );
  return { result: resultMessage(result, deps) };
}

export async function remove(
  request: DeleteWorkloadRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<DeleteWorkloadResponse> {
  const project = parseOne('delete', (faults) => checkProject(request.project, 'project', faults));
  const { name, destroyAdopted } = request;
  const caller = callerName(context.caller);
  const head = headOf(request.requestId, DeleteWorkloadRequest.encode(request).finish(), context);
  const drawnId = deps.random.uuidV7();
  const operationId = await withNearestName(deps, name, project, () =>
    decide(deps, head, (tx) =>
      deleteWorkload(tx, { project, name, operationId: drawnId, caller, destroyAdopted }, deps.clock.nowMs()),
    ),
  );
  return { operationId };
}

/** What was decided is the first answer's; the workload beside it is as it is now. */
function resultMessage(result: PutResult, deps: HandlerDeps): ApplyResult {
  const moment = presentMoment(deps);
  const workload = moment.snapshot.get('workload', result.workloadId);
  return formatApplyResult(workload && workloadMessage(workload, moment), result);
}

function networkResult({ networkId, change }: PutNetworkResult, { store }: HandlerDeps): NetworkResult {
  const snapshot = store.snapshot();
  const network = snapshot.get('network', networkId);
  return { network: network && networkMessage(network, snapshot), change };
}

async function withNearestName<T>(
  { store }: HandlerDeps,
  name: string,
  project: string,
  act: () => Promise<T>,
): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (isKind(error, 'not-found')) findWorkload(store.snapshot(), name, project);
    throw error;
  }
}
