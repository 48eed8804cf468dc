import { DroverError } from '#shared/errors.ts';
import type {
  FreezeInstanceRequest,
  FreezeInstanceResponse,
  GetInstanceRequest,
  GetInstanceResponse,
  Instance as WireInstance,
  ListInstancesRequest,
  PauseInstanceRequest,
  PauseInstanceResponse,
  SignalInstanceRequest,
  SignalInstanceResponse,
  ThawInstanceRequest,
  ThawInstanceResponse,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Instance, InstanceId, NodeName } from '#shared/model.ts';
import { checkRange, parseOne } from '#shared/wire/checks.ts';
import { formatInstanceState } from '#shared/wire/instance.ts';
import { runningState } from '../../reconciler/rollout.ts';
import { instanceMessage } from '../../status.ts';
import type { OrderHead } from '../../backends/backend.ts';
import type { HandlerContext, HandlerDeps } from '../handler.ts';
import { instanceMessageOf, type Moment, presentMoment } from '../messages.ts';
import { findInstance, parseProject } from '../resolve-name.ts';

export async function getInstance(
  { instance, project }: GetInstanceRequest,
  deps: HandlerDeps,
): Promise<GetInstanceResponse> {
  const moment = presentMoment(deps);
  const found = findInstance(moment.snapshot, instance, parseProject(project));
  return { instance: instanceMessageOf(found, moment) };
}

export async function* listInstances(
  { project, workload, node }: ListInstancesRequest,
  deps: HandlerDeps,
): AsyncGenerator<WireInstance> {
  const space = parseProject(project);
  const moment = presentMoment(deps);
  const { snapshot } = moment;
  const all =
    workload === '' ? snapshot.list('instance', space) : snapshot.instancesOfWorkload(workload, space);
  const chosen = all.filter((each) => node === '' || each.node === node).toSorted(byWorkloadAndName);
  for (const instance of chosen) yield instanceMessageOf(instance, moment);
}

const sortKey = ({ workload, metadata }: Instance): string => `${workload}\0${metadata.name}`;
const byWorkloadAndName = (a: Instance, b: Instance): number => (sortKey(a) < sortKey(b) ? -1 : 1);

export async function signalInstance(
  { instance, project, signal }: SignalInstanceRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<SignalInstanceResponse> {
  parseOne('signal', (faults) => checkRange(signal, [1, 64], 'signal', faults));
  const moment = presentMoment(deps);
  const found = findInstance(moment.snapshot, instance, parseProject(project));
  const node = nodeOfRunning(found, moment);
  const order = {
    node,
    instanceId: found.metadata.id as InstanceId,
    generation: found.metadata.generation,
    requestId: deps.random.uuidV4(),
  };
  await deps.backendOf(node).signalInstance(order, signal, context.signal);
  return {};
}

export const pauseInstance = (
  request: PauseInstanceRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<PauseInstanceResponse> => switchGuest('pauseInstance', request, context, deps);

export const resumeInstance = (
  request: PauseInstanceRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<PauseInstanceResponse> => switchGuest('resumeInstance', request, context, deps);

async function switchGuest(
  method: 'pauseInstance' | 'resumeInstance',
  { instance, project }: PauseInstanceRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<PauseInstanceResponse> {
  const moment = presentMoment(deps);
  const found = findInstance(moment.snapshot, instance, parseProject(project));
  const order = orderFor(found, nodeOfReachable(found, moment), deps);
  const state = await deps.backendOf(order.node)[method](order, context.signal);
  return { state: formatInstanceState(state) };
}

export async function freezeInstance(
  { instance, project }: FreezeInstanceRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<FreezeInstanceResponse> {
  const moment = presentMoment(deps);
  const found = findInstance(moment.snapshot, instance, parseProject(project));
  const order = orderFor(found, nodeOfRunning(found, moment), deps);
  return { already: await deps.backendOf(order.node).freezeInstance(order, context.signal) };
}

export async function thawInstance(
  { instance, project }: ThawInstanceRequest,
  context: HandlerContext,
  deps: HandlerDeps,
): Promise<ThawInstanceResponse> {
  const moment = presentMoment(deps);
  const found = findInstance(moment.snapshot, instance, parseProject(project));
  const order = orderFor(found, nodeOfReachable(found, moment), deps);
  await deps.backendOf(order.node).thawInstance(order, context.signal);
  return {};
}

/** No desired field changes by it. */
const orderFor = ({ metadata }: Instance, node: NodeName, { random }: HandlerDeps): OrderHead => ({
  node,
  instanceId: metadata.id as InstanceId,
  generation: 0,
  requestId: random.uuidV4(),
});

/**
 * The node that can be asked about an instance. failed-precondition without a node; unavailable when it is
 * silent.
 */
export function nodeOfReachable(instance: Instance, { world, snapshot }: Moment): NodeName {
  const { node, metadata } = instance;
  const subject = { instance: metadata.name, ...(node === undefined ? {} : { node }) };
  if (node === undefined) {
    const workload = snapshot.named('workload', instance.workload, metadata.project);
    const why = instanceMessage(instance, workload, world);
    throw new DroverError('failed-precondition', `${metadata.name} is on no node: ${why}`, {
      subject,
      reason: 'not-placed',
      nextStep: `drover explain ${metadata.name}`,
    });
  }
  if (world.stale(instance))
    throw new DroverError('unavailable', `${node}, the node of ${metadata.name}, does not answer`, {
      subject,
      reason: 'node-away',
      nextStep: `drover describe node ${node}`,
    });
  return node;
}

/** As nodeOfReachable, for what needs a running guest. failed-precondition when it does not run. */
export function nodeOfRunning(instance: Instance, moment: Moment): NodeName {
  const node = nodeOfReachable(instance, moment);
  if (runningState(instance) !== undefined) return node;
  const { name, project } = instance.metadata;
  const workload = moment.snapshot.named('workload', instance.workload, project);
  const why = instanceMessage(instance, workload, moment.world);
  throw new DroverError('failed-precondition', `${name} does not run: ${why}`, {
    subject: { instance: name, node },
    reason: 'not-running',
    nextStep: `drover describe instance ${name}`,
  });
}
