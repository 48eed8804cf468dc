import { DroverError } from '#shared/errors.ts';
import { currentState } from '../../reconciler/rollout.ts';
import { restoreWorkload } from '../../store/restore-workload.ts';
import { nextChange } from '../changes.ts';
import { decide, headOf } from '../decide.ts';
import { callerName, type HandlerContext, type HandlerDeps } from '../handler.ts';
import { findWorkload, parseProject } from '../resolve-name.ts';

/**
 * Sets a workload's spec back and waits until the nodes of these instances have taken it in, so that old data
 * never meets the spec that spoilt it. not-found; failed-precondition.
 */
export async function restoreSpec(
  request: {
    readonly requestId: string;
    readonly project: string;
    /** A workload. */
    readonly target: string;
    /** The encoded request. */
    readonly message: Uint8Array;
    /** Ids. */
    readonly instances: readonly string[];
  },
  context: HandlerContext,
  deps: HandlerDeps,
  signal: AbortSignal,
): Promise<void> {
  const { store, clock, random } = deps;
  const project = parseProject(request.project);
  const name = request.target;
  findWorkload(store.snapshot(), name, project);
  const head = headOf(request.requestId, request.message, context);
  const restore = { project, name, operationId: random.uuidV7(), caller: callerName(context.caller) };
  await decide(deps, head, (tx) => restoreWorkload(tx, restore, clock.nowMs()));
  const generation = store.snapshot().named('workload', name, project)?.metadata.generation ?? 0;
  const isTaken = (id: string): boolean => {
    const instance = store.snapshot().get('instance', id, project);
    // One that is replaced or gone has no data to set back.
    if (instance === undefined || instance.intent !== 'run') return true;
    return instance.workloadGeneration >= generation && currentState(instance) !== undefined;
  };
  while (!request.instances.every(isTaken)) {
    if (signal.aborted) {
      const message =
        `${name} has its earlier spec again, but not all of its copies have taken it in; ` +
        'no data was set back';
      throw new DroverError('deadline-exceeded', message, {
        subject: { workload: name },
        nextStep: `drover describe workload ${name}, then the same command again`,
      });
    }
    await nextChange(deps, signal);
  }
}
