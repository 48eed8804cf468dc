import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { Log } from '#shared/log.ts';
import type { InstanceId, NodeName } from '#shared/model.ts';
import type { Random } from '#shared/random.ts';
import type { Store } from '../../store/store.ts';
import type { ClusterBackend } from '../cluster-backend.ts';
import { createObservationQueue } from '../observation-queue.ts';
import { fingerprintOf } from './api/certificates.ts';
import { type LiveCluster, openApiOf, type Surroundings } from './cluster.ts';
import type { OpenClusterApi } from './cluster-api.ts';
import { followClusters } from './follow-clusters.ts';
import { guestKinds } from './guests/kinds.ts';
import { type Pace, usualPace } from './observe/poll.ts';
import { createTemplateFiles } from './images/template-file.ts';
import { tryCluster } from './try-cluster.ts';

export interface ProxmoxOptions {
  readonly store: Store;
  readonly fleet: { readonly fleetId: string; readonly fleetEpoch: number };
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** For tests: over HTTPS where left out. */
  readonly openApi?: OpenClusterApi;
  /** How often clusters are looked at; the usual where left out. */
  readonly pace?: Pace;
  /** Directories of this host whose files may be brought to clusters; none where left out. */
  readonly templateRoots?: readonly string[];
}

/**
 * Reaches the nodes of all Proxmox clusters that the store knows, through their own API. Follows the store: a
 * cluster that is added is opened, one that changes is opened anew, one that goes is closed.
 */
export function proxmoxBackend(options: ProxmoxOptions): ClusterBackend {
  const { store, fleet, clock, random, log, pace = usualPace } = options;
  const queue = createObservationQueue();
  const openApi = options.openApi ?? openApiOf({ clock, random });
  const surroundings: Surroundings = {
    store,
    ...fleet,
    clock,
    random,
    log,
    pace,
    openApi,
    templateFiles: createTemplateFiles(options.templateRoots ?? []),
    put: (observation) => void queue.put(observation),
  };
  const live = followClusters(surroundings);
  const { clusters } = live;

  const clusterOf = (node: NodeName): LiveCluster => {
    const name = store.snapshot().named('node', node)?.cluster;
    const cluster = name === undefined ? undefined : clusters.get(name);
    if (cluster !== undefined) return cluster;
    throw new DroverError('unavailable', `node ${node} is of no cluster that answers`, {
      subject: { node, acted: 'no' },
    });
  };

  /** Any node of a cluster serves it all, but a node that takes no part has nothing that could be asked. */
  const onNode = (node: NodeName) => {
    const cluster = clusterOf(node);
    return { cluster, node: cluster.orders.reach(node).node };
  };

  const cannot = (node: NodeName, instance: InstanceId | string, what: string): never => {
    const { orders } = clusterOf(node);
    orders.reach(node);
    const { kind } = orders.record({ instanceId: instance as InstanceId });
    const { runtime } = guestKinds[kind];
    throw new DroverError('unimplemented', `${runtime} has no ${what}: its cluster offers no way`, {
      subject: { instance },
    });
  };

  return {
    name: 'proxmox',
    watch(signal) {
      const observations = queue.read(signal);
      for (const cluster of clusters.values()) cluster.nodes.tellAll();
      return observations;
    },
    ensureInstance: async (order, spec, signal) => clusterOf(order.node).orders.ensure(order, spec, signal),
    stopInstance: async (order, graceMs, signal) => clusterOf(order.node).orders.stop(order, graceMs, signal),
    removeInstance: async (order, graceMs, signal) =>
      clusterOf(order.node).orders.remove(order, graceMs, signal),
    signalInstance: async (order, number, signal) => clusterOf(order.node).orders.send(order, number, signal),
    pauseInstance: async (order, signal) => clusterOf(order.node).orders.pause(order, signal),
    resumeInstance: async (order, signal) => clusterOf(order.node).orders.resume(order, signal),
    async resolveImage(name, reference, credential, signal, runtime) {
      const { cluster, node } = onNode(name);
      const kind = Object.values(guestKinds).find((each) => each.runtime === runtime)?.kind;
      const about = kind === undefined ? { credential } : { credential, kind };
      const digest = await cluster.images.resolve(node, reference, about, signal);
      return { digest, platforms: [] };
    },
    async *listImages(name, signal) {
      const { cluster, node } = onNode(name);
      yield* cluster.images.list(node, signal);
    },
    async *pullImage(name, image, signal) {
      const { cluster, node } = onNode(name);
      yield* cluster.images.pull(node, image, signal);
    },
    async removeImage(name, digest, signal) {
      const { cluster, node } = onNode(name);
      return cluster.images.remove(node, digest, signal);
    },
    freezeInstance: async (order, signal) => clusterOf(order.node).freezing.freeze(order, signal),
    thawInstance: async (order, signal) => clusterOf(order.node).freezing.thaw(order, signal),
    async *stats(node, instanceId, intervalMs, signal) {
      yield* clusterOf(node).stats(node, instanceId, intervalMs, signal);
    },
    createSnapshot: async (order, snapshot, signal) =>
      clusterOf(order.node).snapshots.take(order, snapshot, signal),
    async *listSnapshots(node, instanceId, signal) {
      const { orders, own, snapshots } = clusterOf(node);
      orders.reach(node);
      const records =
        instanceId === undefined
          ? own.records().filter((each) => each.made === true && own.nodeOf(each) === node)
          : [orders.record({ instanceId })];
      for (const record of records) yield* await snapshots.list(record, signal);
    },
    rollbackSnapshot: async (order, snapshot, signal) =>
      clusterOf(order.node).snapshots.rollBack(order, snapshot, signal),
    removeSnapshot: async (order, snapshot, signal) =>
      clusterOf(order.node).snapshots.remove(order, snapshot, signal),
    async *listVolumes(node) {
      yield* clusterOf(node).volumes.list(node);
    },
    removeVolume: async (node, volume) => clusterOf(node).volumes.remove(node, volume),
    exec: async (node, start, _caller, signal) => {
      const { orders, run } = clusterOf(node);
      orders.reach(node);
      return run(orders.record({ instanceId: start.instance as InstanceId }), start, signal);
    },
    console: async (node, { instance, size }, _caller, signal) => {
      const { orders, openTerminal } = clusterOf(node);
      orders.reach(node);
      return openTerminal(orders.record({ instanceId: instance as InstanceId }), size, signal);
    },
    // eslint-disable-next-line require-yield
    async *logs(node, instanceId) {
      cannot(node, instanceId, 'logs');
    },
    disconnect(node, reason) {
      const name = store.snapshot().named('node', node)?.cluster;
      if (name !== undefined) clusters.get(name)?.nodes.disconnect(node, reason);
    },
    ...clusterMethods(clusters, options, openApi),
    migrate: async (order, target, signal) => clusterOf(order.node).moves.migrate(order, target, signal),
    planMove: async (order, target, signal) => clusterOf(order.node).moves.plan(order, target, signal),
    consoleTicket: async (order, signal) => clusterOf(order.node).openConsole(order, signal),
    async close() {
      await live.close();
      queue.close();
    },
  };
}

type ClusterMethods = Pick<
  ClusterBackend,
  | 'test'
  | 'fingerprintOf'
  | 'status'
  | 'guests'
  | 'inspectGuest'
  | 'checkSnapshot'
  | 'createTemplate'
  | 'removeTemplate'
  | 'adopt'
  | 'release'
>;

/** What is asked of a cluster as a whole, and of guests that are not ours. */
function clusterMethods(
  clusters: ReadonlyMap<string, LiveCluster>,
  { store, clock }: Pick<ProxmoxOptions, 'store' | 'clock'>,
  openApi: OpenClusterApi,
): ClusterMethods {
  const called = (name: string): LiveCluster => {
    const cluster = clusters.get(name);
    if (cluster !== undefined) return cluster;
    throw new DroverError('not-found', `there is no cluster ${name}`, { subject: { cluster: name } });
  };

  return {
    test: (name, spec, signal) => tryCluster(name, spec, openApi, signal),
    fingerprintOf: (endpoint, signal) => fingerprintOf(endpoint, clock, signal),
    status: (name) => clusters.get(name)?.status(),
    guests: (name) => {
      const some =
        name === undefined
          ? [...clusters.values()]
          : [clusters.get(name)].filter((each) => each !== undefined);
      return some.flatMap((cluster) => cluster.adoptions.guests());
    },
    inspectGuest: async (name, vmid, signal) => called(name).adoptions.inspect(vmid, signal),
    checkSnapshot: async ({ cluster, ...guest }, snapshot, signal) =>
      called(cluster).checkSnapshot(guest, snapshot, signal),
    createTemplate: async (name, source, signal) => called(name).templates.create(source, signal),
    removeTemplate: async (name, template, signal) => called(name).templates.remove(template, signal),
    adopt: async ({ cluster, vmid, digest }, instance, signal) =>
      called(cluster).adoptions.adopt({ vmid, digest }, instance, signal),
    release: async (order, signal) => {
      const name = store.snapshot().get('cluster-guest', order.instanceId)?.cluster;
      await called(name ?? '').adoptions.release(order, signal);
    },
  };
}
