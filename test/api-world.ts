import { systemClock } from '#shared/clock.ts';
import type { NodeFacts } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type { HandlerContext, HandlerDeps } from '../control-plane/api/handler.ts';
import type { Backend } from '../control-plane/backends/backend.ts';
import { createMemoryJournal } from '../control-plane/store/memory.ts';
import { createFakeFleet, type FakeFleet } from './fakes/backend.ts';
import { type SimulatedControlPlane, startControlPlane } from './simulation/control-plane.ts';
import { until } from './until.ts';

/** A control plane over nodes in memory, as handlers see it, in real time. */
export interface ApiWorld {
  readonly fleet: FakeFleet;
  readonly control: SimulatedControlPlane;
  readonly deps: HandlerDeps;
  /** An administrator's call, which ends with the world at the latest. */
  contextOf(method: string): HandlerContext;
  close(): Promise<void>;
}

export async function startApiWorld(
  options: {
    readonly nodes?: readonly string[];
    readonly facts?: Partial<NodeFacts>;
    /** What handlers reach nodes through, made of the fake one. */
    readonly through?: (backend: Backend) => Backend;
  } = {},
): Promise<ApiWorld> {
  const { nodes = ['h1', 'h2'], facts, through = (backend) => backend } = options;
  const fleet = createFakeFleet({ clock: systemClock });
  const base = { clock: systemClock, random: systemRandom, backend: fleet.backend };
  const control = await startControlPlane({ ...base, journal: createMemoryJournal() });
  for (const name of nodes) {
    await control.enroll(name);
    fleet.addNode(name, { startMs: 5, ...(facts && { facts }) });
  }
  const { store, view, reconciler } = control;
  const backend = through(fleet.backend);
  const calls = new AbortController();
  await until(() => view.nodes().size === nodes.length, { what: 'all nodes' });
  return {
    fleet,
    control,
    deps: { store, view, wake: reconciler.wake, backendOf: () => backend, ...base },
    contextOf: (method) => ({
      signal: calls.signal,
      method: `/drover.fleet.v1.${method.includes('/') ? method : `FleetService/${method}`}`,
      peer: undefined,
      deadlineMs: undefined,
      caller: { role: 'admin', name: 'root' },
      certificateSerial: '',
    }),
    async close() {
      calls.abort(new Error('the test has ended'));
      await control.close();
      await fleet.backend.close();
    },
  };
}
