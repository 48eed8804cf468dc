import type { Clock } from '#shared/clock.ts';
import { asDroverError, DroverError, isKind, wordsOf } from '#shared/errors.ts';
import type { Instance, InstanceId, NodeName, Volume, VolumeId, Workload } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { Backend } from '../backends/backend.ts';
import { bridgesOf, demandOf } from '../demand.ts';
import { type FleetView, isKnown } from '../fleet-view.ts';
import { hasImage, withImagePlaces } from '../image-places.ts';
import { buildNodeViews } from '../node-views.ts';
import { runtimeOf } from '../scheduler/choose-runtime.ts';
import { schedule } from '../scheduler/schedule.ts';
import { freeLeft } from '../store/assign-addresses.ts';
import { recordOperationStep } from '../store/finish-operation.ts';
import { forgetInstance, forgetReleased } from '../store/forget-instance.ts';
import { pinImage } from '../store/instance-template.ts';
import { recordObservation } from '../store/record-observation.ts';
import { storedRouting } from '../store/put-routing.ts';
import { forgetVolume, isAbandoned, retireVolume } from '../store/remove-volume.ts';
import { recordUnresolved, resolveWorkload } from '../store/resolve-workload.ts';
import type { Store } from '../store/store.ts';
import { orderedSpec } from './ordered-spec.ts';
import { runPlace } from './place-instance.ts';
import type { Step } from './plan.ts';

export interface StepContext {
  readonly store: Store;
  readonly view: FleetView;
  readonly clock: Clock;
  readonly random: Random;
  /** Ends every step: the reconciler closes. */
  readonly signal: AbortSignal;
  /** unavailable: nothing reaches that node now. */
  backendOf(node: NodeName): Backend;
}

/** One executor for each kind of step: a new kind does not compile until it has one. A failure is thrown. */
type Executors = {
  readonly [Kind in Step['kind']]: (
    step: Extract<Step, { kind: Kind }>,
    context: StepContext,
  ) => Promise<void>;
};

const ensureTimeoutMs = 30_000;
/** On top of the grace that the guest has. */
const removeTimeoutMs = 30_000;
const resolveTimeoutMs = 60_000;
const nodesAskedForImage = 3;

const executors: Executors = {
  'resolve-image': ({ workload }, context) => resolveImage(workload, context),
  place: ({ instance }, context) => runPlace(instance, context),
  async ensure({ instance, node }, { store, backendOf, clock, random, signal }) {
    const order = { ...orderHead(instance, node), requestId: random.uuidV4() };
    const timeout = clock.timeout(ensureTimeoutMs, signal);
    try {
      await backendOf(node).ensureInstance(order, orderedSpec(instance.spec), timeout);
    } catch (error) {
      if (!(error instanceof DroverError) || error.reason !== 'removed') throw error;
      // Removed on its host before it was ever reported: no listing will tell that it is gone.
      const { id } = instance.metadata;
      await store.transact((tx) => recordObservation(tx, { node, id, observed: 'absent' }, clock.nowMs()));
    }
  },
  async 'let-go'({ instance }, { store }) {
    const { id, project, generation } = instance.metadata;
    await store.transact((tx) => {
      const record = tx.get('instance', id, project);
      // Another update may have come: its guest of before is still to go.
      if (record?.metadata.generation === generation) freeLeft(tx, record);
    });
  },
  async remove({ instance, node }, context) {
    await removeFromNode(targetOf(instance, node), context);
    await forget(instance, `nothing is left of it on ${node}`, context);
  },
  async forget({ instance }, context) {
    // An order to run it may still be on its way to the node: the remove leaves a mark there that refuses it.
    if (instance.node !== undefined && isKnown(context.view.node(instance.node)))
      await removeFromNode(targetOf(instance, instance.node), context);
    const { node } = instance;
    const because = node === undefined ? 'it never had a node' : `nothing of it is on ${node}`;
    await forget(instance, because, context);
  },
  async clear({ released }, context) {
    const { store, clock } = context;
    const { id, project } = released;
    await removeFromNode({ ...released, instanceId: id }, context);
    await store.transact((tx) => forgetReleased(tx, id, project, clock.nowMs()));
  },
  'remove-volume': ({ volume }, context) => removeVolume(volume, context),
};

export function runStep(step: Step, context: StepContext): Promise<void> {
  const execute = executors[step.kind] as (step: Step, context: StepContext) => Promise<void>;
  return execute(step, context);
}

const orderHead = ({ metadata }: Instance, node: NodeName) => ({
  node,
  instanceId: metadata.id as InstanceId,
  generation: metadata.generation,
});
const targetOf = (instance: Instance, node: NodeName) => ({
  ...orderHead(instance, node),
  stopGraceMs: instance.spec.stopGraceMs,
});

async function removeFromNode(
  target: ReturnType<typeof targetOf>,
  { backendOf, clock, random, signal }: StepContext,
): Promise<void> {
  const { node, instanceId, generation, stopGraceMs } = target;
  const order = { node, instanceId, generation, requestId: random.uuidV4() };
  const timeout = clock.timeout(stopGraceMs + removeTimeoutMs, signal);
  try {
    await backendOf(node).removeInstance(order, stopGraceMs, timeout);
  } catch (error) {
    if (!isKind(error, 'not-found')) throw error;
  }
}

/** Marked first: from there on no instance can get it. */
async function removeVolume(volume: Volume, context: StepContext): Promise<void> {
  const { store, backendOf, clock, signal } = context;
  const { id, project } = volume.metadata;
  const { result: doomed } = await store.transact((tx) => {
    const record = tx.get('volume', id, project);
    if (record === undefined || !isAbandoned(record, tx.named('workload', record.workload, project)))
      return undefined;
    retireVolume(tx, record, 'no workload claims it, and it is not to be kept', clock.nowMs());
    return record;
  });
  if (doomed === undefined) return;
  const { node } = doomed;
  if (node !== undefined) {
    const timeout = clock.timeout(removeTimeoutMs, signal);
    try {
      await backendOf(node).removeVolume(node, id as VolumeId, timeout);
    } catch (error) {
      if (!isKind(error, 'not-found')) throw error;
    }
  }
  await store.transact((tx) => forgetVolume(tx, { id, project }, clock.nowMs()));
}

async function forget(
  { metadata, workload }: Instance,
  because: string,
  { store, clock }: StepContext,
): Promise<void> {
  const { id, name, project } = metadata;
  await store.transact((tx) => {
    if (tx.get('instance', id, project) === undefined) return;
    forgetInstance(tx, { id, project }, because, clock.nowMs());
    recordOperationStep(tx, { workload, project, message: `${name} removed` }, clock.nowMs());
  });
}

/**
 * Asks the node where a copy would go, then others that offer the runtime: one that is away or broken stops
 * nobody.
 */
async function resolveImage(workload: Workload, context: StepContext): Promise<void> {
  const { store, backendOf, clock, signal } = context;
  const { spec, metadata } = workload;
  const choice = runtimeOf(workload, storedRouting(store.snapshot()));
  const { runtime } = choice;
  const found = { ...choice, reference: spec.image };
  let failure = new DroverError('unavailable', `no connected node offers ${runtime}`);
  for (const node of nodesToAsk(workload, runtime, context)) {
    try {
      const timeout = clock.timeout(resolveTimeoutMs, signal);
      const { image: reference, imageCredential } = spec;
      const asked = backendOf(node).resolveImage(node, reference, imageCredential, timeout, runtime);
      const { digest } = await asked;
      const image = pinImage(spec.image, digest, runtime);
      const { generation } = metadata;
      await store.transact((tx) => resolveWorkload(tx, workload, { ...found, generation, image, digest }));
      return;
    } catch (caught) {
      failure = asDroverError(caught);
    }
  }
  await store.transact((tx) => {
    recordUnresolved(tx, workload, wordsOf(failure));
    const message = `image ${spec.image} is not resolved: ${wordsOf(failure)}`;
    const { name, project } = metadata;
    recordOperationStep(tx, { workload: name, project, message }, clock.nowMs());
  });
  throw failure;
}

function nodesToAsk(workload: Workload, runtime: string, { store, view }: StepContext): NodeName[] {
  const { spec, metadata } = workload;
  const { placement } = spec;
  const snapshot = store.snapshot();
  const asked = { workload: metadata.name, spec: { ...spec, runtime }, placement };
  const nodes = buildNodeViews(snapshot, view.nodes());
  const demand = demandOf(asked, undefined, bridgesOf(snapshot, spec, metadata.project));
  const best = schedule({ ...withImagePlaces(demand, nodes), image: '' }, nodes).node;
  const offering = [...view.nodes().values()]
    .filter(
      (node) => isKnown(node) && node.facts.runtimes.some((each) => each.name === runtime && each.healthy),
    )
    .toSorted((a, b) => Number(hasImage(b, spec.image)) - Number(hasImage(a, spec.image)))
    .map(({ name }) => name);
  const all = best === undefined ? offering : [best, ...offering.filter((name) => name !== best)];
  return all.slice(0, nodesAskedForImage);
}
