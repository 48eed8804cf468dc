import type { Backend } from '../../control-plane/backends/backend.ts';
import { createFleetView, type FleetView } from '../../control-plane/fleet-view.ts';
import { startObserver } from '../../control-plane/reconciler/observe.ts';
import { type Reconciler, startReconciler } from '../../control-plane/reconciler/reconcile.ts';
import { deleteWorkload } from '../../control-plane/store/delete-workload.ts';
import type { Journal } from '../../control-plane/store/journal.ts';
import { openStore } from '../../control-plane/store/open-store.ts';
import { putWorkload } from '../../control-plane/store/put-workload.ts';
import { giveUpNode, releaseInstances, removeNode } from '../../control-plane/store/remove-node.ts';
import { loseVolumes } from '../../control-plane/store/remove-volume.ts';
import { scaleWorkload } from '../../control-plane/store/scale-workload.ts';
import type { Store, Transaction } from '../../control-plane/store/store.ts';
import type { Clock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { Instance, NodeName, Operation, Workload, WorkloadSpec } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';

/**
 * The control plane without its listener: store, observer and reconciler, on a clock and chance that a test
 * owns.
 */
export interface SimulatedControlPlane {
  readonly store: Store;
  readonly view: FleetView;
  readonly reconciler: Reconciler;
  /** Resolves when the change is acknowledged. The rest of the spec is as `simpleSpec` says. */
  apply(name: string, spec?: Partial<WorkloadSpec>): Promise<void>;
  scale(name: string, replicas: number): Promise<void>;
  remove(name: string): Promise<void>;
  /** Makes a node known, as joining does. */
  enroll(name: string): Promise<void>;
  /** Takes a node out, as an operator's proof of death does. */
  expel(name: string): Promise<void>;
  workload(name: string): Workload | undefined;
  instances(name: string): readonly Instance[];
  operations(name: string): readonly Operation[];
  close(): Promise<void>;
}

export const simpleSpec: WorkloadSpec = {
  image: 'registry.example/web:1',
  runtime: 'crun',
  replicas: 1,
  command: [],
  env: {},
  resources: { cpuMillicores: 100, memoryMib: 256, diskMib: 100, pids: 64 },
  network: 'none',
  restart: { policy: 'always', maxAttempts: 0 },
  placement: { require: [], strategy: 'spread' },
  update: { readyAfterMs: 1000 },
  stopGraceMs: 1000,
  user: '',
  workingDir: '',
  imageCredential: '',
  ...plainGuestConfig,
};

export async function startControlPlane(options: {
  readonly clock: Clock;
  readonly random: Random;
  readonly journal: Journal;
  readonly backend: Backend;
}): Promise<SimulatedControlPlane> {
  const { clock, random, journal, backend } = options;
  const store = await openStore({ journal, clock });
  const view = createFleetView();
  const ending = new AbortController();
  const log = silentLog;
  const reconciler = startReconciler({ store, view, clock, random, log, backendOf: () => backend });
  const { wake } = reconciler;
  const { signal } = ending;
  const observer = startObserver({ backends: [backend], store, view, clock, log, signal, wake });
  const caller = 'operator/test';
  const project = 'default';

  async function apply(name: string, spec: Partial<WorkloadSpec> = {}): Promise<void> {
    const document = {
      project,
      name,
      labels: {},
      annotations: {},
      expectedRevision: 0,
      spec: { ...simpleSpec, ...spec },
    };
    const ids = { workloadId: random.uuidV7(), operationId: random.uuidV7() };
    await store.transact((tx) =>
      putWorkload(tx, { document, ...ids, caller, planRevision: 0 }, clock.nowMs()),
    );
  }

  return {
    store,
    view,
    reconciler,
    apply,
    async scale(name, replicas) {
      const operationId = random.uuidV7();
      await store.transact((tx) =>
        scaleWorkload(tx, { project, name, replicas, operationId, caller }, clock.nowMs()),
      );
    },
    async remove(name) {
      const operationId = random.uuidV7();
      await store.transact((tx) => deleteWorkload(tx, { project, name, operationId, caller }, clock.nowMs()));
    },
    async enroll(name) {
      await store.transact((tx) => {
        const id = random.uuidV7();
        const metadata = {
          project,
          name: name as NodeName,
          id,
          labels: {},
          annotations: {},
          revision: 0,
          generation: 1,
          createdAtMs: clock.nowMs(),
        };
        const facts = undefined;
        const unknown = { facts, incarnation: '', bootId: '', certificateSerial: '00' };
        tx.put('node', id, { metadata, cordoned: false, ...unknown });
      });
    },
    async expel(name) {
      const removal = { node: name, caller, certificateLifeMs: 1 };
      const act = <T>(body: (tx: Transaction) => T) => store.transact(body);
      await act((tx) => giveUpNode(tx, removal, clock.nowMs()));
      for (;;) {
        const { result } = await act((tx) => releaseInstances(tx, name as NodeName, clock.nowMs()));
        if (result.length === 0) break;
      }
      for (;;) {
        const { result } = await act((tx) => loseVolumes(tx, name as NodeName, clock.nowMs()));
        if (result.length === 0) break;
      }
      await act((tx) => removeNode(tx, removal, clock.nowMs()));
    },
    workload: (name) => store.snapshot().named('workload', name),
    instances: (name) => store.snapshot().instancesOfWorkload(name),
    operations: (name) =>
      store
        .snapshot()
        .list('operation')
        .filter(({ workload }) => workload === name),
    async close() {
      ending.abort(new Error('the control plane is closing'));
      await Promise.all([observer.ended, reconciler.close()]);
      await store.close();
    },
  };
}
