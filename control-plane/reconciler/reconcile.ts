import type { Clock } from '#shared/clock.ts';
import { asDroverError, type DroverError, isKind, wordsOf } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { Instance, NodeName, Volume, Workload } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { Backend } from '../backends/backend.ts';
import { type FleetView, isKnown } from '../fleet-view.ts';
import { rolloutWorld } from '../rollout-world.ts';
import { recordStepFailure } from '../store/record-step-failure.ts';
import { recordVolumeFailure } from '../store/remove-volume.ts';
import type { ReleasedInstance, Snapshot, Store } from '../store/store.ts';
import { applyRollout } from './apply-rollout.ts';
import { type Attempts, createAttempts } from './attempts.ts';
import { aboutStep, nextStep, resolveStep, type Step, volumeStep } from './plan.ts';
import { roomMark } from './room-mark.ts';
import { nextRolloutInMs, type RolloutWorld, rollout } from './rollout.ts';
import { runStep, type StepContext } from './steps.ts';
import { createTasks, type Group, type Tasks } from './tasks.ts';

export interface ReconcilerOptions {
  readonly store: Store;
  readonly view: FleetView;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** unavailable: nothing reaches that node now. */
  backendOf(node: NodeName): Backend;
}

export interface Reconciler {
  /** Something may have changed. Carries no data: a lost one costs time, never correctness. */
  wake(): void;
  /** Resolves when no pass is due and nothing is being done; what waits for a back-off does not count. */
  idle(): Promise<void>;
  /** Ends what is being done, and resolves when it has ended. */
  close(): Promise<void>;
}

/** Without any wake, everything is looked at this often. */
const sweepMs = 30_000;
/** An order that was taken is seen in the observations; until then it is not repeated. */
const ensureSettleMs = 10_000;
const backoff = { firstMs: 500, maxMs: 30_000 };
/** Each is a transaction of its own; their commits share a write. */
const placementsAtOnce = 32;
/** A node that fits may come at any time, and asking costs little. */
const placeBackoff = { firstMs: 500, maxMs: 5_000 };
/** A workload's share of a node is the smaller one: copies that hang leave room for the others there. */
const limits = { total: 512, perNode: 64, perWorkload: 16 };

/**
 * Brings the fleet to what the store wants: takes one snapshot, asks rollout() and nextStep() what is to be
 * done, and does it, a bounded number of things at a time, until they ask for nothing. Level-triggered:
 * every pass decides from the store and the view alone. What fails waits longer each time, for itself
 * alone.
 */
export function startReconciler(options: ReconcilerOptions): Reconciler {
  const { store, clock } = options;
  const closing = new AbortController();
  const state = createState(options, closing.signal, wake);
  let isDue = false;
  let passing: Promise<void> | undefined;
  let disarm = (): void => undefined;

  function wake(): void {
    isDue = true;
    if (closing.signal.aborted) return;
    passing ??= passUntilQuiet().finally(() => {
      passing = undefined;
      // Woken between the last look and here.
      if (isDue) wake();
    });
  }

  async function passUntilQuiet(): Promise<void> {
    while (isDue && !closing.signal.aborted) {
      // Whatever else is ready goes first: many wakes cost one pass.
      await clock.turn();
      isDue = false;
      const beganMs = clock.monotonicMs();
      const dueMs = pass(state, store.snapshot());
      disarm();
      disarm = clock.after(dueMs, wake);
      // In a large fleet a pass takes its time: it takes at most half of what there is.
      const tookMs = clock.monotonicMs() - beganMs;
      if (tookMs > 1) await clock.sleep(tookMs, closing.signal).catch(() => undefined);
    }
  }

  const unsubscribe = store.onCommit(wake);
  wake();
  return {
    wake,
    async idle() {
      while (passing !== undefined || state.tasks.running > 0) {
        await passing;
        await state.tasks.drained();
      }
    },
    async close() {
      closing.abort(new Error('the reconciler is closing'));
      unsubscribe();
      await passing;
      disarm();
      await state.tasks.drained();
    },
  };
}

/** What lasts from pass to pass. Losing it costs repeated orders, which change nothing. */
interface State extends ReconcilerOptions {
  readonly context: StepContext;
  readonly tasks: Tasks;
  readonly attempts: Attempts;
  readonly placing: Attempts;
  roomMark: string;
  wake(): void;
}

function createState(options: ReconcilerOptions, signal: AbortSignal, wake: () => void): State {
  const { clock, random } = options;
  return {
    ...options,
    context: { ...options, signal },
    tasks: createTasks(limits.total),
    attempts: createAttempts({ clock, random, ...backoff }),
    placing: createAttempts({ clock, random, ...placeBackoff }),
    roomMark: '',
    wake,
  };
}

/** Looks at everything once, starts what can be started, and says when to look again. */
function pass(state: State, snapshot: Snapshot): number {
  const world = worldOf(state, snapshot);
  const changing = new Set<string>();
  for (const { state: phase, workload, project } of snapshot.list('operation'))
    if (phase === 'running') changing.add(`${project}/${workload}`);

  tryAllAgainWhenRoomChanged(state, snapshot);
  let dueMs = sweepMs;
  for (const workload of snapshot.list('workload')) {
    const { name, project } = workload.metadata;
    const instances = snapshot.instancesOfWorkload(name, project);
    passWorkload(state, workload, instances, { world, isChanging: changing.has(`${project}/${name}`) });
    dueMs = Math.min(dueMs, nextRolloutInMs(workload, instances, world) ?? sweepMs);
  }
  for (const instance of snapshot.list('instance')) passInstance(state, instance, world);
  for (const released of snapshot.list('released-instance')) passReleased(state, released);
  for (const volume of snapshot.list('volume')) passVolume(state, volume, snapshot);
  const waits = [state.attempts.nextInMs(), state.placing.nextInMs()];
  state.attempts.prune();
  state.placing.prune();
  return Math.max(1, Math.min(dueMs, ...waits.map((waitMs) => waitMs ?? sweepMs)));
}

const worldOf = ({ view, clock }: State, snapshot: Snapshot): RolloutWorld =>
  rolloutWorld(view, snapshot, clock.nowMs());

/** What found no node is asked for again at once when a node came, changed, or got room. */
function tryAllAgainWhenRoomChanged(state: State, snapshot: Snapshot): void {
  const mark = roomMark(snapshot, state.view);
  if (mark === state.roomMark) return;
  state.roomMark = mark;
  state.placing.clear();
}

function passWorkload(
  state: State,
  workload: Workload,
  instances: readonly Instance[],
  { world, isChanging }: { readonly world: RolloutWorld; readonly isChanging: boolean },
): void {
  const { id, generation } = workload.metadata;
  const resolve = resolveStep(workload);
  if (resolve !== undefined) startStep(state, resolve, `resolve-image/${id}/${generation}`, []);

  const unplaced = instances.filter(({ intent, node }) => intent === 'run' && node === undefined);
  if (unplaced.length > 0) startPlacing(state, workload, unplaced);

  const actions = rollout(workload, instances, world);
  // Nothing changes for a workload that is as wanted and of which nobody waits to hear so.
  if (actions.every(({ kind }) => kind === 'finish' && !isChanging)) return;
  const key = `rollout/${id}/${generation}`;
  const about = { workload: workload.metadata.name, step: 'rollout' };
  start(state, { key, groups: [], attempts: state.attempts, about, settleMs: 0 }, () =>
    applyRollout(workload, (tx) => worldOf(state, tx), state),
  );
}

/**
 * All of a workload's copies that have no node ask for the same: when one finds none, the others need not
 * ask.
 */
function startPlacing(state: State, workload: Workload, unplaced: readonly Instance[]): void {
  const { id, name, generation } = workload.metadata;
  const key = `place/${id}/${generation}`;
  const about = { workload: name, step: 'place' };
  start(state, { key, groups: [], attempts: state.placing, about, settleMs: 0 }, async () => {
    for (let from = 0; from < unplaced.length; from += placementsAtOnce) {
      const some = unplaced.slice(from, from + placementsAtOnce);
      await Promise.all(some.map((instance) => runStep({ kind: 'place', instance }, state.context)));
    }
  });
}

function passInstance(state: State, instance: Instance, world: RolloutWorld): void {
  const { node, metadata } = instance;
  const step = nextStep(instance, world);
  if (step === undefined || step.kind === 'place') return;
  const ofWorkload = `workload ${metadata.project}/${instance.workload}`;
  const groups = [{ name: ofWorkload, limit: limits.perWorkload }];
  if (node !== undefined) groups.push(groupOfNode(node));
  // What an order has settled does not hold up what follows from it.
  const about = step.kind === 'let-go' ? 'left' : 'instance';
  startStep(state, step, `${about}/${metadata.id}/${metadata.generation}`, groups);
}

function passReleased(state: State, released: ReleasedInstance): void {
  const { id, node } = released;
  if (!isKnown(state.view.node(node))) return;
  startStep(state, { kind: 'clear', released }, `released/${id}`, [groupOfNode(node)]);
}

function passVolume(state: State, volume: Volume, snapshot: Snapshot): void {
  const { id, project } = volume.metadata;
  const workload = snapshot.named('workload', volume.workload, project);
  const step = volumeStep(volume, workload, (node) => isKnown(state.view.node(node)));
  if (step === undefined) return;
  startStep(state, step, `volume/${id}`, volume.node === undefined ? [] : [groupOfNode(volume.node)]);
}

const groupOfNode = (node: NodeName): Group => ({ name: `node ${node}`, limit: limits.perNode });

function startStep(state: State, step: Step, key: string, groups: readonly Group[]): void {
  const about = aboutStep(step);
  const settleMs = step.kind === 'ensure' ? ensureSettleMs : 0;
  start(state, { key, groups, attempts: state.attempts, about, settleMs }, async () => {
    try {
      await runStep(step, state.context);
    } catch (caught) {
      await tellFailure(state, step, key, asDroverError(caught));
      throw caught;
    }
  });
}

/** People hear once that an order failed; a node that just did not answer is no news. */
async function tellFailure(state: State, step: Step, key: string, failure: DroverError): Promise<void> {
  if (step.kind !== 'ensure' && step.kind !== 'remove' && step.kind !== 'remove-volume') return;
  if (isKind(failure, 'unavailable', 'deadline-exceeded') || state.attempts.hasFailed(key)) return;
  const { store, clock, context } = state;
  if (context.signal.aborted) return;
  const message = wordsOf(failure);
  await store.transact((tx) => {
    if (step.kind === 'remove-volume') recordVolumeFailure(tx, step.volume, message, clock.nowMs());
    else recordStepFailure(tx, step.instance, { step: step.kind, message }, clock.nowMs());
  });
}

interface Start {
  readonly key: string;
  readonly groups: readonly Group[];
  readonly attempts: Attempts;
  readonly about: Readonly<Record<string, string>>;
  /** How long it is not repeated once it went well. */
  readonly settleMs: number;
}

function start(
  state: State,
  { key, groups, attempts, about, settleMs }: Start,
  run: () => Promise<void>,
): void {
  if (!attempts.ready(key)) return;
  const { context, log, wake } = state;
  state.tasks.start({
    key,
    groups,
    async run() {
      try {
        await run();
        attempts.settling(key, settleMs);
      } catch (caught) {
        if (context.signal.aborted) return;
        const err = asDroverError(caught);
        const waitMs = attempts.failed(key);
        log.warn({ event: 'step.failed', ...about, kind: err.kind, waitMs, err });
      } finally {
        wake();
      }
    },
  });
}
