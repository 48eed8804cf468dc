import type { Digest, Instance, InstanceId, InstanceState, NodeName, Workload } from '#shared/model.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import { isPinned } from '#shared/wire/checks.ts';
import { demandOf } from '../demand.ts';
import type { LiveNode } from '../fleet-view.ts';
import { rolloutWorld } from '../rollout-world.ts';
import { placeInstance } from '../placement.ts';
import { nextStep, resolveStep } from '../reconciler/plan.ts';
import { blockedChange, type RolloutAction, type RolloutWorld, rollout } from '../reconciler/rollout.ts';
import type { NodeVerdict, NodeView } from '../scheduler/plugin.ts';
import { runtimeOf } from '../scheduler/choose-runtime.ts';
import { freeAddresses, freeLeft } from '../store/assign-addresses.ts';
import { freeVolumes, type Slot, slotsFor } from '../store/assign-volumes.ts';
import { pinImage } from '../store/instance-template.ts';
import { storedRouting } from '../store/put-routing.ts';
import type { Transaction } from '../store/store.ts';
import { updateDetail, updateInstance } from '../store/update-instance.ts';
import { withDemand, withoutDemand } from './node-room.ts';

export interface PlannedStep {
  readonly kind: 'resolve-image' | 'place' | 'ensure' | 'update' | 'remove';
  /** What people call it; "web-+1" for one that has no name yet. */
  readonly instance: string;
  /** Empty when no node fits. */
  readonly node: string;
  readonly detail: string;
}

export interface PlannedPlacement {
  readonly instance: string;
  readonly node: string;
  /** Of the first copies, and of those that fit nowhere; the others are decided the same way. */
  readonly verdicts: readonly NodeVerdict[];
  readonly summary: string;
}

export interface SimulationWorld {
  /** Takes the outcome; never committed. */
  readonly tx: Transaction;
  readonly nodes: NodeView[];
  readonly live: ReadonlyMap<NodeName, LiveNode>;
  readonly nowMs: number;
}

export interface Simulation {
  readonly steps: PlannedStep[];
  readonly placements: PlannedPlacement[];
  /** The nodes as they would be. */
  readonly nodes: NodeView[];
}

const explainedPlacements = 10;
/**
 * What comes after so many is more of the same; the plan of a thousand copies must not hold up other
 * callers.
 */
const maxRounds = 100;
const noDigest = `sha256:${'0'.repeat(64)}` as Digest;

/**
 * Plays rollout and reconciler on a scratch transaction until nothing is left to do: every order succeeds,
 * every guest that is ordered gets ready, and nodes that do not answer stay so. Pure.
 */
export function simulateRollout(workload: Workload, world: SimulationWorld): Simulation {
  const run = startRun(workload, world);
  assumeResolved(run);
  for (let round = 0; ; round += 1) {
    assumeProgress(run);
    const decided = rollout(workloadOf(run), instancesOf(run), run.world);
    const actions = decided.filter(({ kind }) => kind === 'add' || kind === 'retire' || kind === 'update');
    if (actions.length === 0) {
      tellBlocked(run);
      break;
    }
    if (round === maxRounds) {
      const detail = 'and so on, one at a time, until no older copy is left';
      run.steps.push({ kind: 'ensure', instance: `${run.name}-…`, node: '', detail });
      break;
    }
    for (const action of actions) act(run, action);
    settle(run);
  }
  const { steps, placements, nodes } = run;
  return { steps, placements, nodes };
}

interface Run extends Simulation {
  readonly id: string;
  readonly name: string;
  readonly project: string;
  readonly tx: Transaction;
  readonly world: RolloutWorld;
  nodes: NodeView[];
  added: number;
  volumes: number;
}

function startRun({ metadata }: Workload, { tx, nodes, live, nowMs }: SimulationWorld): Run {
  const { id, name, project } = metadata;
  const view = { node: (node: NodeName) => live.get(node), nodes: () => live };
  const world = rolloutWorld(view, tx, nowMs);
  return { id, name, project, tx, world, steps: [], placements: [], nodes, added: 0, volumes: 0 };
}

const workloadOf = ({ tx, id, project }: Run): Workload => tx.get('workload', id, project) as Workload;
const instancesOf = ({ tx, name, project }: Run): readonly Instance[] =>
  tx.instancesOfWorkload(name, project);
const put = ({ tx, project }: Run, instance: Instance): void =>
  tx.put('instance', instance.metadata.id, instance, project);

/** The digest stays what it was where the reference did; a new one is not known before an agent has asked. */
function assumeResolved(run: Run): void {
  const workload = workloadOf(run);
  if (resolveStep(workload) === undefined) return;
  const { spec, resolved, metadata } = workload;
  const isSame = resolved !== undefined && resolved.reference === spec.image;
  const digest = isSame ? resolved.digest : noDigest;
  const choice = runtimeOf(workload, storedRouting(run.tx));
  const assumed = {
    generation: metadata.generation,
    image: isPinned(spec.image) ? spec.image : pinImage(spec.image, digest, choice.runtime),
    digest,
    ...choice,
  };
  run.tx.put('workload', run.id, { ...workload, resolved: assumed, resolveMessage: '' }, run.project);
  const detail = `find the digest of ${spec.image}`;
  run.steps.push({ kind: 'resolve-image', instance: '', node: '', detail });
}

/** What is on its way gets there: only then does the next copy's turn come. */
function assumeProgress(run: Run): void {
  for (const instance of instancesOf(run)) {
    const { observed, node, intent } = instance;
    if (intent !== 'run' || node === undefined || run.world.stale(instance)) continue;
    const isOrdered = observed === undefined || (observed !== 'absent' && observed.phase === 'preparing');
    const isYoung = typeof observed === 'object' && observed.phase === 'running' && observed.startedAtMs > 0;
    const isBehind = typeof observed === 'object' && observed.generation < instance.metadata.generation;
    if (isOrdered || isYoung || isBehind) put(run, { ...instance, observed: readyState(instance) });
  }
}

function act(run: Run, action: RolloutAction): void {
  if (action.kind === 'retire') {
    const { instance, because } = action;
    put(run, { ...instance, intent: 'remove' });
    if (instance.node === undefined) return;
    const { name } = instance.metadata;
    const detail =
      run.tx.get('cluster-guest', instance.metadata.id)?.adopted === true
        ? `${because}; it was adopted: apply wants --destroy-adopted for that`
        : because;
    run.steps.push({ kind: 'remove', instance: name, node: instance.node, detail });
  }
  if (action.kind === 'update') update(run, action);
  if (action.kind !== 'add') return;
  for (let count = 0; count < action.count; count += 1) {
    run.added += 1;
    put(run, newInstance(workloadOf(run), action.template, run.added));
  }
}

function update(run: Run, { instance, template, change }: Extract<RolloutAction, { kind: 'update' }>): void {
  const { metadata, spec } = workloadOf(run);
  const { id, name } = instance.metadata;
  const before = demandOf(instance, slotOf(run, instance));
  const made = {
    id,
    project: run.project,
    template,
    placement: spec.placement,
    newId: () => newVolumeId(run),
  };
  updateInstance(run.tx, { ...made, workloadGeneration: metadata.generation }, run.world.nowMs);
  const updated = run.tx.get('instance', id, run.project);
  if (updated?.node === undefined || change === 'none') return;
  const freed = withoutDemand(run.nodes, updated.node, before);
  run.nodes = withDemand(freed, updated.node, demandOf(updated, slotOf(run, updated)));
  run.steps.push({
    kind: 'update',
    instance: name,
    node: updated.node,
    detail: updateDetail(change, template),
  });
}

/** What cannot be done, once all that can is. */
function tellBlocked(run: Run): void {
  const blocked = blockedChange(workloadOf(run), instancesOf(run), run.world);
  if (blocked === undefined) return;
  const { metadata, node } = blocked.instance;
  const detail = `stays as it is: ${blocked.because}`;
  run.steps.push({ kind: 'update', instance: metadata.name, node: node ?? '', detail });
}

const slotOf = ({ tx }: Run, instance: Instance): Slot | undefined => slotsFor(tx, instance)?.[0];

function newVolumeId(run: Run): string {
  run.volumes += 1;
  return `~${String(run.volumes).padStart(6, '0')}`;
}

function settle(run: Run): void {
  for (const instance of instancesOf(run)) {
    const step = nextStep(instance, run.world);
    if (step?.kind === 'let-go') freeLeft(run.tx, instance);
    if (step?.kind !== 'remove' && step?.kind !== 'forget') continue;
    const { node, metadata } = instance;
    if (node !== undefined)
      run.nodes = withoutDemand(run.nodes, node, demandOf(instance, slotOf(run, instance)));
    freeVolumes(run.tx, instance, run.world.nowMs);
    freeAddresses(run.tx, instance);
    run.tx.delete('instance', metadata.id, run.project);
  }
  // After the removals: what found no room before may find it now.
  for (const instance of instancesOf(run))
    if (nextStep(instance, run.world)?.kind === 'place') place(run, instance);
}

function place(run: Run, instance: Instance): void {
  const { name } = instance.metadata;
  const { nowMs } = run.world;
  const placed = placeInstance(run.tx, instance, run.nodes, { newId: () => newVolumeId(run), nowMs });
  const { because, demand } = placed;
  if (placed.node !== undefined) run.nodes = withDemand(run.nodes, placed.node, demand);
  if (instance.placedBecause === because) return;
  const node = placed.node ?? '';
  const isExplained = placed.node === undefined || run.placements.length < explainedPlacements;
  const verdicts = isExplained ? placed.explain() : [];
  run.placements.push({ instance: name, node, verdicts, summary: because });
  run.steps.push({ kind: 'place', instance: name, node, detail: because });
  if (placed.node === undefined) return;
  run.steps.push({ kind: 'ensure', instance: name, node, detail: `start it on ${node}` });
}

function newInstance(
  { metadata, spec }: Workload,
  template: Extract<RolloutAction, { kind: 'add' }>['template'],
  count: number,
): Instance {
  const name = `${metadata.name}-+${count}`;
  // "~" sorts after every real id: what is new is newest.
  const id = `~${String(count).padStart(6, '0')}-${metadata.name}`;
  return {
    metadata: { ...metadata, name, id, generation: 1 },
    workload: metadata.name,
    workloadGeneration: metadata.generation,
    intent: 'run',
    spec: { ...template, displayName: name, assigned: emptyAssignment },
    placement: spec.placement,
    node: undefined,
    boundAtMs: 0,
    placedBecause: '',
    observed: undefined,
  };
}

/** It runs, and has been running for long enough. */
const readyState = ({ metadata, spec }: Instance): InstanceState => ({
  instanceId: metadata.id as InstanceId,
  generation: metadata.generation,
  phase: 'running',
  pid: 0,
  startedAtMs: 0,
  exit: undefined,
  restarts: 0,
  nextStartAtMs: 0,
  message: '',
  limits: undefined,
  notEnforced: [],
  displayName: spec.displayName,
  addresses: [],
  rootPool: '',
});
