import {
  type GetOperationRequest,
  type GetOperationResponse,
  type ListOperationsRequest,
  Operation,
  type OperationServiceService,
  OperationState,
  type WatchOperationRequest,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { changesAndTicks } from './changes.ts';
import type { HandlerContext, HandlerDeps } from './handler.ts';
import { operationMessage, presentMoment } from './messages.ts';
import { findOperation, parseProject } from './resolve-name.ts';

/** What people and programs ask about changes under way. */
export function operationService(
  deps: HandlerDeps,
): Handlers<typeof OperationServiceService, HandlerContext> {
  return {
    listOperations: (request) => listOperations(request, deps),
    getOperation: (request) => getOperation(request, deps),
    watchOperation: (request, context) => watchOperation(request, context, deps),
  };
}

async function* listOperations(
  { project, workload }: ListOperationsRequest,
  deps: HandlerDeps,
): AsyncGenerator<Operation> {
  const space = parseProject(project);
  const moment = presentMoment(deps);
  const operations = moment.snapshot.list('operation', space).toReversed();
  for (const operation of operations)
    if (workload === '' || operation.workload === workload) yield operationMessage(operation, moment);
}

async function getOperation({ id }: GetOperationRequest, deps: HandlerDeps): Promise<GetOperationResponse> {
  const moment = presentMoment(deps);
  return { operation: operationMessage(findOperation(moment.snapshot, id), moment) };
}

/** As it is, then whenever it looks different to a person, until it has ended. */
async function* watchOperation(
  { id }: WatchOperationRequest,
  { signal }: HandlerContext,
  deps: HandlerDeps,
): AsyncGenerator<Operation> {
  let shown = '';
  const look = (): { message: Operation; text: string } => {
    const moment = presentMoment(deps);
    const message = operationMessage(findOperation(moment.snapshot, id), moment);
    return { message, text: Buffer.from(Operation.encode(message).finish()).toString('base64') };
  };
  const isRunning = ({ state }: Operation): boolean => state === OperationState.OPERATION_STATE_RUNNING;
  for (;;) {
    const { revision } = deps.store.snapshot();
    const first = look();
    if (first.text !== shown) yield first.message;
    shown = first.text;
    if (!isRunning(first.message)) return;
    // Lost changes do no harm: the operation is read anew.
    for await (const _ of changesAndTicks(deps, revision, signal)) {
      const { message, text } = look();
      if (text !== shown) yield message;
      shown = text;
      if (!isRunning(message)) return;
    }
    if (signal.aborted) return;
  }
}
