import { systemClock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Instance } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import type { ClusterDeps } from '../control-plane/api/cluster/deps.ts';
import { clusterService } from '../control-plane/api/cluster-service.ts';
import type { HandlerContext } from '../control-plane/api/handler.ts';
import { createMemoryJournal } from '../control-plane/store/memory.ts';
import { addCluster } from '../control-plane/store/put-cluster.ts';
import type { Store } from '../control-plane/store/store.ts';
import { createFakeClusters } from './fakes/cluster-backend.ts';
import { clusterSpec } from './fakes/cluster-records.ts';
import { startControlPlane } from './simulation/control-plane.ts';
import { until } from './until.ts';

/** A control plane over a cluster "lab" of pve1 and pve2 and a plain host h1, all in memory, in real time. */
export async function startClusterWorld() {
  const opened: { store?: Store } = {};
  const storeOf = (): Store => {
    if (opened.store === undefined) throw new DroverError('internal', 'the store is not open yet');
    return opened.store;
  };
  const clusters = createFakeClusters({ clock: systemClock, storeOf });
  const { backend, fleet } = clusters;
  const base = { clock: systemClock, random: systemRandom };
  const control = await startControlPlane({ ...base, backend, journal: createMemoryJournal() });
  const { store, view, reconciler } = control;
  opened.store = store;
  const spec = clusterSpec;
  const lab = { name: 'lab', spec, id: 'id-of-lab', caller: 'admin/root' };
  await store.transact((tx) => addCluster(tx, lab, 1));
  await clusters.join('lab', 'pve1', 'pve2');
  await control.enroll('h1');
  fleet.addNode('h1');
  await until(() => [...view.nodes().values()].filter(({ listed }) => listed).length === 3, {
    what: 'all nodes have told what they hold',
  });
  const deps: ClusterDeps = {
    ...base,
    store,
    view,
    wake: reconciler.wake,
    backendOf: () => backend,
    clusters: backend,
  };
  const calls = new AbortController();
  const context: HandlerContext = {
    signal: calls.signal,
    method: '/drover.fleet.v1.ClusterService/Any',
    peer: undefined,
    deadlineMs: undefined,
    caller: { role: 'admin', name: 'root' },
    certificateSerial: '',
  };
  const service = clusterService(deps);
  return {
    clusters,
    control,
    store,
    deps,
    service,
    context,
    adopt: (request: { vmid?: number; name?: string; dryRun?: boolean; cluster?: string }) =>
      Array.fromAsync(
        service.adoptGuests({ cluster: 'lab', vmid: 0, name: '', dryRun: false, ...request }, context),
      ),
    release: (target: string) => Array.fromAsync(service.releaseInstances({ project: '', target }, context)),
    /** The copies of a workload, all of them running. */
    async run(workload: string, replicas = 1, runtime = 'proxmox-lxc'): Promise<readonly Instance[]> {
      await control.apply(workload, { runtime, replicas, update: { readyAfterMs: 0 } });
      reconciler.wake();
      await until(
        () => {
          const copies = control.instances(workload);
          const running = copies.filter(
            ({ observed }) => typeof observed === 'object' && observed.phase === 'running',
          );
          return running.length === replicas && copies.length === replicas;
        },
        { what: `${replicas} of ${workload} run` },
      );
      return control.instances(workload);
    },
    /** Resolves when the reconciler has nothing to do; how many transactions it wrote until then. */
    async settle(): Promise<number> {
      const before = control.store.snapshot().revision;
      reconciler.wake();
      await reconciler.idle();
      return control.store.snapshot().revision - before;
    },
    async [Symbol.asyncDispose]() {
      calls.abort(new Error('the test has ended'));
      await control.close();
      await backend.close();
    },
  };
}
