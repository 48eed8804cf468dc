import { createMemoryJournal } from '../../control-plane/store/memory.ts';
import { openStore } from '../../control-plane/store/open-store.ts';
import { addCluster } from '../../control-plane/store/put-cluster.ts';
import { putClusterNode } from '../../control-plane/store/put-cluster-node.ts';
import type { Store } from '../../control-plane/store/store.ts';
import { systemClock } from '#shared/clock.ts';
import type { ClusterGuest, ClusterSpec, InstanceId, Node, NodeName } from '#shared/model.ts';

/** A way into a cluster that nobody has. */
export const clusterSpec: ClusterSpec = {
  endpoints: ['10.0.0.11:8006'],
  trust: { kind: 'fingerprints', sha256: [Array.from({ length: 32 }, () => 'AB').join(':')] },
  credential: {
    kind: 'token',
    tokenId: 'drover@pve!fleet',
    secret: '5ec2e700-0000-4000-8000-0000000000ff',
  },
};

/** A plain host, as joining makes it. */
export const hostRecord = (name: string): Node => ({
  metadata: {
    project: 'default',
    name,
    id: `id-of-${name}`,
    labels: {},
    annotations: {},
    revision: 0,
    generation: 1,
    createdAtMs: 1,
  },
  cordoned: false,
  facts: undefined,
  incarnation: '',
  bootId: '',
  certificateSerial: '01',
});

export const guestRecord = (changes: Partial<ClusterGuest> = {}): ClusterGuest => ({
  instanceId: '00000000-0000-7000-8000-000000000001' as InstanceId,
  cluster: 'lab',
  vmid: 100,
  kind: 'lxc',
  node: 'lab-pve1' as NodeName,
  generation: 1,
  intent: 'run',
  specDigest: '',
  adopted: false,
  changedAtMs: 0,
  ...changes,
});

/** A store in memory with clusters and plain hosts in it. */
export async function openFakeStore(options: {
  readonly clusters?: readonly string[];
  readonly hosts?: readonly string[];
}) {
  const { clusters = [], hosts = [] } = options;
  const store: Store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  let drawn = 0;
  for (const name of clusters)
    await store.transact((tx) =>
      addCluster(tx, { name, spec: clusterSpec, id: `id-of-${name}`, caller: 'admin/root' }, 1),
    );
  await store.transact((tx) => {
    for (const name of hosts) tx.put('node', `id-of-${name}`, hostRecord(name));
  });
  return {
    store,
    spec: clusterSpec,
    /** The name that the node of the cluster has in the fleet. */
    async put(cluster: string, node: string): Promise<NodeName> {
      drawn += 1;
      const id = `node-${drawn}`;
      const { result } = await store.transact((tx) => putClusterNode(tx, { cluster, node, id }, 1));
      return result;
    },
    [Symbol.asyncDispose]: () => store.close(),
  };
}
