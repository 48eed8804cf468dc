import type { Adoptable, ClusterBackend, GuestMove } from '../../control-plane/backends/cluster-backend.ts';
import {
  claimGuest,
  forgetGuest,
  patchGuest,
  settleAdoptedGuest,
} from '../../control-plane/store/put-cluster-guest.ts';
import { claimTemplate, patchTemplate } from '../../control-plane/store/put-cluster-template.ts';
import { putClusterNode } from '../../control-plane/store/put-cluster-node.ts';
import type { Store } from '../../control-plane/store/store.ts';
import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type {
  ClusterGuestView,
  ClusterRight,
  ClusterSpec,
  ClusterStatus,
  InstanceId,
  InstanceSpec,
  NodeFacts,
  NodeName,
  RuntimeFacts,
  WorkloadSpec,
} from '#shared/model.ts';
import { simpleSpec } from '../simulation/control-plane.ts';
import { createFakeFleet, type FakeFleet } from './backend.ts';

/** A guest of a cluster in memory. */
export interface FakeGuest {
  view: ClusterGuestView;
  /** What it would be as a workload. */
  spec: WorkloadSpec;
  notes: string[];
  macs: string[];
  obstacles: string[];
  snapshots: string[];
  /** Changes with every change of its configuration. */
  digest: string;
  /** Why it cannot move; empty: it can. */
  stuckBecause: string;
}

type Method = 'adopt' | 'release' | 'migrate' | 'test' | 'inspect';

/** Clusters in memory, on top of nodes in memory: guests of theirs become ours, move, and stop being so. */
export interface FakeClusters {
  readonly backend: ClusterBackend;
  readonly fleet: FakeFleet;
  /** Every cluster spec that was tried, newest last. */
  readonly tried: readonly ClusterSpec[];
  /** What test() finds beside the nodes. */
  found: Partial<ClusterStatus>;
  /** Members of a cluster that was added, connected. */
  join(cluster: string, ...nodes: string[]): Promise<NodeName[]>;
  addGuest(guest: Partial<ClusterGuestView> & Pick<ClusterGuestView, 'vmid' | 'node'>): FakeGuest;
  guest(cluster: string, vmid: number): FakeGuest | undefined;
  failNext(method: Method, error: Error): void;
  /** Called in the middle of the next call of the method. */
  during(method: Method, act: () => Promise<void>): void;
}

const capabilities = [
  'pause',
  'update',
  'stats',
  'console',
  'snapshots',
  'network-none',
  'network-bridged',
  'mounts',
  'vztmpl',
  'import',
  'iso',
];
const runtime = (name: string): RuntimeFacts => ({
  name,
  version: '8.4.21',
  healthy: true,
  detail: '',
  capabilities,
});
const right = (privilege: string, granted = true): ClusterRight => ({
  privilege,
  path: '/vms',
  granted,
  optional: false,
  neededFor: `what ${privilege} is for`,
});
export const allRights = ['VM.Allocate', 'VM.Audit', 'VM.Console'].map((one) => right(one));
export const missingRight = right('VM.Migrate', false);

export function createFakeClusters(options: {
  readonly clock: Clock;
  /** Known once the control plane over the backend is there. */
  readonly storeOf: () => Store;
  readonly facts?: Partial<NodeFacts>;
}): FakeClusters {
  const { clock, storeOf } = options;
  const fleet = createFakeFleet({ clock });
  const guests: FakeGuest[] = [];
  const tried: ClusterSpec[] = [];
  const members = new Map<string, NodeName[]>();
  const faults: { readonly method: Method; readonly error: Error }[] = [];
  const interruptions: { readonly method: Method; readonly act: () => Promise<void> }[] = [];

  async function reach(method: Method): Promise<void> {
    const at = faults.findIndex((one) => one.method === method);
    const fault = at < 0 ? undefined : faults.splice(at, 1)[0];
    if (fault !== undefined) throw fault.error;
    const found = interruptions.findIndex((one) => one.method === method);
    if (found >= 0) await interruptions.splice(found, 1)[0]?.act();
  }

  const find = (cluster: string, vmid: number): FakeGuest | undefined =>
    guests.find(({ view }) => view.cluster === cluster && view.vmid === vmid);
  const own = (id: InstanceId): FakeGuest => {
    const guest = guests.find(({ view }) => view.instanceId === id);
    if (guest === undefined) throw new DroverError('not-found', `no guest is ${id}`);
    return guest;
  };
  const change = (guest: FakeGuest, patch: Partial<ClusterGuestView>): void => {
    guest.view = { ...guest.view, ...patch };
  };

  /** What keeps it, and how it would move. */
  function moveOf(guest: FakeGuest, target: NodeName) {
    if (guest.stuckBecause !== '') throw new DroverError('failed-precondition', guest.stuckBecause);
    const [from, to] = [fleet.nodes.get(guest.view.node), fleet.nodes.get(target)];
    const { instanceId } = guest.view;
    const { spec, state } = (instanceId && from?.instances.get(instanceId)) ?? {};
    if (spec === undefined || to === undefined) throw new DroverError('not-found', 'it is not there');
    const running = spec.runtime === 'proxmox-vm' ? 'live' : 'restarted';
    const way: GuestMove = state?.phase === 'running' ? running : 'stopped';
    return { from, to, spec, way };
  }

  async function inspect(cluster: string, vmid: number): Promise<Adoptable> {
    await reach('inspect');
    const guest = find(cluster, vmid);
    if (guest === undefined) throw new DroverError('not-found', `there is no guest ${vmid} in ${cluster}`);
    const { view, spec, macs, notes, obstacles, digest } = guest;
    return { guest: view, spec, macs, notes, obstacles, digest };
  }

  const statusOf = (name: string): ClusterStatus => ({
    name,
    clusterName: `${name}-itself`,
    version: '8.4.21',
    connected: true,
    quorate: true,
    endpoints: [{ address: '10.0.0.11:8006', problem: '' }],
    nodes: members.get(name) ?? [],
    guests: guests.filter(({ view }) => view.cluster === name).length,
    ownGuests: guests.filter(({ view }) => view.cluster === name && view.instanceId !== undefined).length,
    lastSeenAtMs: clock.nowMs(),
    message: '',
    rights: allRights,
    ...clusters.found,
  });

  const backend: ClusterBackend = {
    ...fleet.backend,
    name: 'fake-clusters',
    async test(name, spec) {
      tried.push(spec);
      await reach('test');
      return statusOf(name);
    },
    fingerprintOf: async (endpoint) => {
      if (endpoint.startsWith('nowhere'))
        throw new DroverError('unavailable', `${endpoint} does not answer`, { reason: 'no-endpoint' });
      return Array.from({ length: 32 }, () => 'AB').join(':');
    },
    status: (name) =>
      storeOf().snapshot().named('cluster', name) === undefined ? undefined : statusOf(name),
    guests: (name) =>
      guests.map(({ view }) => view).filter(({ cluster }) => name === undefined || cluster === name),
    inspectGuest: inspect,
    async checkSnapshot({ cluster, vmid }, snapshot) {
      const guest = find(cluster, vmid);
      if (guest === undefined) throw new DroverError('not-found', `there is no guest ${vmid} in ${cluster}`);
      checkSnapshot(guest, snapshot);
    },
    async createTemplate(cluster, { vmid, name, snapshot }) {
      const source = find(cluster, vmid);
      if (source === undefined) throw new DroverError('not-found', `there is no guest ${vmid} in ${cluster}`);
      checkSnapshot(source, snapshot);
      const { node, kind } = source.view;
      const chooseVmid = (): number => Math.max(9000, ...guests.map(({ view }) => view.vmid)) + 1;
      const wanted = { cluster, name, kind, source: { node, vmid, snapshot }, chooseVmid };
      const { result } = await storeOf().transact((tx) => {
        const { key } = claimTemplate(tx, wanted, clock.nowMs());
        return patchTemplate(tx, key, 'making', { state: 'ready', message: '' }, clock.nowMs());
      });
      if (result === undefined) throw new DroverError('internal', 'nothing is kept of it');
      clusters.addGuest({ vmid: result.vmid, node, cluster, kind, name, template: true, status: 'stopped' });
      return result;
    },
    async removeTemplate(cluster, called) {
      const records = storeOf().snapshot().list('cluster-template');
      const isCalled = ({ name, vmid }: { readonly name: string; readonly vmid: number }): boolean =>
        name === called || `${vmid}` === called;
      const record = records.find((each) => each.cluster === cluster && isCalled(each));
      const there = guests.findIndex(({ view }) => view.cluster === cluster && isCalled(view));
      if (record === undefined && there < 0)
        throw new DroverError('not-found', `there is no template ${called}`);
      if (record === undefined)
        throw new DroverError('failed-precondition', `Drover did not make ${called}`, { reason: 'not-ours' });
      if (there >= 0) guests.splice(there, 1);
      await storeOf().transact((tx) => tx.delete('cluster-template', record.key));
      return record;
    },
    async adopt({ cluster, vmid, digest }, { id, generation }) {
      await reach('adopt');
      const guest = find(cluster, vmid);
      if (guest === undefined) throw new DroverError('not-found', 'it is gone');
      if (guest.digest !== digest)
        throw new DroverError('aborted', 'its configuration was changed meanwhile');
      if (guest.view.instanceId !== undefined) throw new DroverError('already-exists', 'it is an instance');
      const instance = storeOf().snapshot().get('instance', id);
      const node = fleet.nodes.get(guest.view.node);
      if (instance === undefined || node === undefined)
        throw new DroverError('internal', 'nothing is kept of it');
      change(guest, { instanceId: id, tags: [...guest.view.tags, 'drover-mark'] });
      node.come(id, generation, instance.spec);
      await storeOf().transact((tx) => settleAdoptedGuest(tx, id, instance.spec, clock.nowMs()));
    },
    async release({ instanceId }) {
      await reach('release');
      const guest = own(instanceId);
      change(guest, { instanceId: undefined, tags: guest.view.tags.filter((tag) => tag !== 'drover-mark') });
      fleet.nodes.get(guest.view.node)?.leave(instanceId);
    },
    async planMove({ instanceId }, target) {
      await reach('migrate');
      return moveOf(own(instanceId), target).way;
    },
    async migrate({ instanceId, generation }, target) {
      await reach('migrate');
      const guest = own(instanceId);
      const { from, to, spec, way } = moveOf(guest, target);
      change(guest, { node: target });
      to.come(instanceId, generation, spec);
      from?.leave(instanceId);
      return way;
    },
    async consoleTicket({ instanceId }) {
      const { cluster, vmid } = own(instanceId).view;
      const url = `https://${cluster}.example:8006/?console=lxc&vmid=${vmid}`;
      const websocketUrl = `wss://${cluster}.example:8006/api2/json/nodes/x/lxc/${vmid}/vncwebsocket`;
      return { url, kind: 'terminal', websocketUrl, ticket: 'PVEVNC:one', user: 'drover@pve' };
    },
    async ensureInstance(order, spec, signal) {
      if (!guests.some(({ view }) => view.instanceId === order.instanceId)) await make(order, spec);
      return fleet.backend.ensureInstance(order, spec, signal);
    },
    async removeInstance(order, graceMs, signal) {
      await fleet.backend.removeInstance(order, graceMs, signal);
      const at = guests.findIndex(({ view }) => view.instanceId === order.instanceId);
      if (at >= 0) guests.splice(at, 1);
      await storeOf().transact((tx) => forgetGuest(tx, order.instanceId));
    },
  };

  async function make(
    { instanceId, node, generation }: Parameters<ClusterBackend['ensureInstance']>[0],
    spec: InstanceSpec,
  ): Promise<void> {
    const cluster = storeOf().snapshot().named('node', node)?.cluster ?? '';
    const chooseVmid = (claimed: ReadonlySet<number>): number =>
      Math.max(99, ...claimed, ...guests.map(({ view }) => view.vmid)) + 1;
    const claim = { instanceId, cluster, kind: 'lxc', node, generation, spec, chooseVmid } as const;
    const { result } = await storeOf().transact((tx) => {
      claimGuest(tx, claim, clock.nowMs());
      return patchGuest(tx, instanceId, { made: true }, clock.nowMs());
    });
    clusters.addGuest({ vmid: result?.vmid ?? 0, node, cluster, name: spec.displayName, instanceId });
  }

  const clusters: FakeClusters = {
    backend,
    fleet,
    tried,
    found: {},
    async join(cluster, ...nodes) {
      const names: NodeName[] = [];
      for (const node of nodes) {
        const id = `node-${cluster}-${node}`;
        const { result } = await storeOf().transact((tx) =>
          putClusterNode(tx, { cluster, node, id }, clock.nowMs()),
        );
        names.push(result);
        const runtimes = [runtime('proxmox-lxc'), runtime('proxmox-vm')];
        fleet.addNode(result, { facts: { runtimes, bridges: ['vmbr0'], labels: {}, ...options.facts } });
      }
      members.set(cluster, [...(members.get(cluster) ?? []), ...names]);
      return names;
    },
    addGuest(view) {
      const guest: FakeGuest = {
        view: {
          cluster: 'lab',
          kind: 'lxc',
          name: `ct${view.vmid}`,
          status: 'running',
          template: false,
          tags: [],
          cpuCount: 1,
          memoryMib: 128,
          diskMib: 1024,
          instanceId: undefined,
          haState: '',
          message: '',
          ...view,
        },
        spec: { ...simpleSpec, image: `proxmox:guest/${view.vmid}`, runtime: 'proxmox-lxc' },
        notes: [],
        macs: [],
        obstacles: [],
        snapshots: [],
        digest: 'first',
        stuckBecause: '',
      };
      guests.push(guest);
      return guest;
    },
    guest: find,
    failNext: (method, error) => void faults.push({ method, error }),
    during: (method, act) => void interruptions.push({ method, act }),
  };
  return clusters;
}

function checkSnapshot({ snapshots, view }: FakeGuest, snapshot: string): void {
  if (snapshot === '' || snapshots.includes(snapshot)) return;
  const there = snapshots.join(', ') || 'none';
  throw new DroverError('not-found', `guest ${view.vmid} has no snapshot ${snapshot}; there are ${there}`, {
    reason: 'snapshot',
  });
}
