import type { Instance, InstanceState, Workload } from '#shared/model.ts';
import {
  type InstanceTemplate,
  instanceTemplate,
  isExclusive,
  isOutdated,
  type SpecChange,
} from '../store/instance-template.ts';
import { nextChange, type RolloutWorld } from './copy-change.ts';

export type { CopyChange, RolloutWorld } from './copy-change.ts';

/** What is to be decided about one workload's instances. Each may be repeated on a newer snapshot. */
export type RolloutAction =
  /** Make so many new instances, with new ids, of the present generation. */
  | { readonly kind: 'add'; readonly count: number; readonly template: InstanceTemplate }
  /** Set the intent of the instance to remove. */
  | { readonly kind: 'retire'; readonly instance: Instance; readonly because: string }
  /** Give the instance the template where it is. */
  | {
      readonly kind: 'update';
      readonly instance: Instance;
      readonly template: InstanceTemplate;
      readonly change: Exclude<SpecChange, 'replace'>;
    }
  /** Nothing of a workload that is being deleted is left: delete its record, and finish its operation. */
  | { readonly kind: 'forget-workload' }
  /**
   * All is as wanted: running operations of the workload have succeeded. Given again and again while it is
   * so.
   */
  | { readonly kind: 'finish' };

/**
 * Which instances there should be, one small decision at a time. Pure: every case is a row in
 * rollout.test.ts.
 *
 * A change updates copies where they are, or replaces them, one at a time: the one before must be done. A
 * replacement comes before the old copy goes, but where no node has room for a copy more and there are
 * several, and for copies that are exclusive: there the old one must be gone first. What is silent is never
 * replaced, and holds up nobody else. What its node held and holds no more is replaced: an id that was
 * removed on a node is refused there for good.
 */
export function rollout(
  workload: Workload,
  instances: readonly Instance[],
  world: RolloutWorld,
): RolloutAction[] {
  const alive = instances.filter(({ intent }) => intent === 'run');
  if (workload.deletingSinceMs !== undefined) {
    if (instances.length === 0) return [{ kind: 'forget-workload' }];
    return alive.map((instance) => retire(instance, 'the workload is being deleted'));
  }

  const vanished = alive.filter((each) => each.observed === 'absent' && !world.stale(each));
  if (vanished.length > 0) return vanished.map((each) => retire(each, 'its node holds it no more'));
  const template = instanceTemplate(workload);
  const decided =
    template === undefined
      ? shrink(workload, alive, world, 0)
      : changeCopies(workload, instances, alive, world, template);
  if (decided.length > 0) return decided;
  return isSettled(workload, instances, world) ? [{ kind: 'finish' }] : [];
}

function changeCopies(
  workload: Workload,
  instances: readonly Instance[],
  alive: readonly Instance[],
  world: RolloutWorld,
  template: InstanceTemplate,
): RolloutAction[] {
  const wanted = workload.spec.replicas;
  const old = alive.filter((instance) => isOutdated(instance, workload));
  const unplaced = old.filter(({ node }) => node === undefined);
  if (unplaced.length > 0) return unplaced.map((instance) => retire(instance, 'an older generation'));

  const isOneForOne = isExclusive(workload.spec);
  // A copy more is one that came to replace another; where all are old, there is none yet.
  const isReplacing = !isOneForOne && old.length > 0 && old.length < alive.length;
  const tooMany = shrink(workload, alive, world, isReplacing ? 1 : 0);
  if (tooMany.length > 0) return tooMany;
  // What is on its way out still has what is its own.
  const there = isOneForOne ? instances.length : alive.length;
  if (there < wanted) return [{ kind: 'add', count: wanted - there, template }];
  return changeOne(workload, alive, old, world, template);
}

/** An old copy that cannot become what is wanted, and why, where nothing else can be done. */
export function blockedChange(
  workload: Workload,
  instances: readonly Instance[],
  world: RolloutWorld,
): { readonly instance: Instance; readonly because: string } | undefined {
  const template = instanceTemplate(workload);
  if (template === undefined || workload.deletingSinceMs !== undefined) return undefined;
  const old = instances.filter(
    (each) => each.intent === 'run' && each.node !== undefined && isOutdated(each, workload),
  );
  const next = nextChange(workload, inTurn(old, world), world, template);
  return next?.way.kind === 'blocked' ? { instance: next.instance, because: next.way.because } : undefined;
}

function changeOne(
  workload: Workload,
  alive: readonly Instance[],
  old: readonly Instance[],
  world: RolloutWorld,
  template: InstanceTemplate,
): RolloutAction[] {
  const { instance: next, way } = nextChange(workload, inTurn(old, world), world, template) ?? {};
  if (next === undefined || way === undefined || way.kind === 'blocked') return [];
  const waiting = alive.filter(
    (each) => !old.includes(each) && !world.stale(each) && !isDone(each, workload, world),
  );
  if (way.kind === 'update') {
    // A copy more that fits nowhere is not waited for: with this one updated it may not be needed.
    if (!waiting.every(isUnplaceable)) return [];
    return [{ kind: 'update', instance: next, template, change: way.change }];
  }
  if (!isExclusive(workload.spec))
    return replaceOne(workload, { alive, old, waiting, next }, world, template);
  const isComplete = alive.length >= workload.spec.replicas && waiting.length === 0;
  return isComplete ? [retire(next, 'its replacement needs what it has')] : [];
}

interface Replacement {
  readonly alive: readonly Instance[];
  readonly old: readonly Instance[];
  /** Of the present generation, and not done. */
  readonly waiting: readonly Instance[];
  readonly next: Instance;
}

function replaceOne(
  workload: Workload,
  { alive, old, waiting, next }: Replacement,
  world: RolloutWorld,
  template: InstanceTemplate,
): RolloutAction[] {
  const wanted = workload.spec.replicas;
  const surging = alive.length > wanted;
  if (waiting.length === 0) {
    if (!surging) return [{ kind: 'add', count: 1, template }];
    // What went silent counts as a copy more, but is not known to have been ready.
    const isReplaced = alive.some((each) => !old.includes(each) && isDone(each, workload, world));
    const because = next.evicting === true ? 'its node is being emptied' : 'a newer copy is ready';
    return isReplaced ? [retire(next, because)] : [];
  }
  const noRoom = waiting.every(isUnplaceable);
  // From a node that is being emptied it would go to nowhere.
  const isGivingRoom = next.evicting !== true;
  if (surging && noRoom && wanted > 1 && isGivingRoom)
    return [retire(next, 'no node has room for a copy more')];
  return [];
}

function shrink(
  workload: Workload,
  alive: readonly Instance[],
  world: RolloutWorld,
  surge: number,
): RolloutAction[] {
  const { replicas } = workload.spec;
  const excess = alive.length - replicas - (replicas === 0 ? 0 : surge);
  if (excess <= 0) return [];
  const rank = (instance: Instance): number => {
    if (instance.node === undefined) return 0;
    if (world.stale(instance)) return 2;
    if (runningState(instance) === undefined) return 1;
    return isOutdated(instance, workload) ? 3 : 4;
  };
  // The highest slots go first: those below the number of replicas keep their volumes in use.
  const hasSlots = workload.spec.volumes.length > 0;
  const slot = (instance: Instance): number => (hasSlots ? (world.slotOf?.(instance) ?? -1) : -1);
  const isAdopted = (instance: Instance): number => Number(world.isAdopted?.(instance) ?? false);
  const isPlaced = ({ node }: Instance): number => Number(node !== undefined);
  // What was adopted goes last of all: its data is not ours.
  const byTurn = (a: Instance, b: Instance): number =>
    isAdopted(a) - isAdopted(b) || isPlaced(a) - isPlaced(b) || slot(b) - slot(a) || rank(a) - rank(b);
  return alive
    .toSorted((a, b) => byTurn(a, b) || (a.metadata.id < b.metadata.id ? 1 : -1))
    .slice(0, excess)
    .map((instance) => retire(instance, `${replicas} wanted`));
}

const retire = (instance: Instance, because: string): RolloutAction => ({
  kind: 'retire',
  instance,
  because,
});

/** Silent ones have no turn. */
const inTurn = (old: readonly Instance[], world: RolloutWorld): readonly Instance[] =>
  old.filter((each) => !world.stale(each)).toSorted(byReplacement);

/** What does not run goes first, then the oldest. */
function byReplacement(a: Instance, b: Instance): number {
  const running = Number(runningState(a) !== undefined) - Number(runningState(b) !== undefined);
  return running || (a.metadata.id < b.metadata.id ? -1 : 1);
}

/** No node fitted when the scheduler was last asked: placedBecause then tells why not. */
export const isUnplaceable = ({ node, placedBecause }: Instance): boolean =>
  node === undefined && placedBecause !== '';

/** What its agent last said of the generation that is wanted now. */
export function currentState(instance: Instance): InstanceState | undefined {
  const { observed, metadata } = instance;
  if (observed === undefined || observed === 'absent') return undefined;
  return observed.generation >= metadata.generation ? observed : undefined;
}

/** As currentState, while the guest runs. */
export function runningState(instance: Instance): InstanceState | undefined {
  const state = currentState(instance);
  return state?.phase === 'running' ? state : undefined;
}

/** It ended well and its restart policy lets it be. */
export function isComplete(instance: Instance): boolean {
  const state = currentState(instance);
  return state?.phase === 'exited' && state.exit?.code === 0 && !state.exit.unknown;
}

/** Milliseconds until the instance counts as ready; zero when it does, undefined while it does not run. */
export function readyInMs(instance: Instance, workload: Workload, world: RolloutWorld): number | undefined {
  const state = runningState(instance);
  if (state === undefined || world.stale(instance)) return undefined;
  const ranMs = world.nowMs + (world.skewMs?.(instance) ?? 0) - state.startedAtMs;
  return Math.max(0, workload.spec.update.readyAfterMs - Math.max(0, ranMs));
}

/** Nothing more is expected of it: it has been running for long enough, or it has done its work. */
export function isDone(instance: Instance, workload: Workload, world: RolloutWorld): boolean {
  if (world.stale(instance)) return false;
  return isComplete(instance) || readyInMs(instance, workload, world) === 0;
}

/**
 * Milliseconds until rollout may decide otherwise with nothing but time having passed; undefined: it will
 * not.
 */
export function nextRolloutInMs(
  workload: Workload,
  instances: readonly Instance[],
  world: RolloutWorld,
): number | undefined {
  const waits = instances
    .filter(({ intent }) => intent === 'run')
    .map((instance) => readyInMs(instance, workload, world))
    .filter((waitMs) => waitMs !== undefined && waitMs > 0);
  return waits.length === 0 ? undefined : Math.min(...(waits as number[]));
}

/**
 * As many copies as wanted, all of the present generation and done, and nothing left to remove that can be
 * reached.
 */
export function isSettled(workload: Workload, instances: readonly Instance[], world: RolloutWorld): boolean {
  const alive = instances.filter(({ intent }) => intent === 'run');
  if (alive.length !== workload.spec.replicas) return false;
  if (instances.some((each) => each.intent === 'remove' && !world.stale(each))) return false;
  return alive.every((each) => !isOutdated(each, workload) && isDone(each, workload, world));
}
