/**
 * What it costs to watch a Proxmox cluster: requests and processor time of one poll of 16 nodes and 2,000
 * guests, half of them ours, and what 10,000 guests take up in memory. The cluster is the server for tests, in
 * a process of its own.
 */
import v8 from 'node:v8';
import vm from 'node:vm';
import { systemClock } from '#shared/clock.ts';
import { silentLog } from '#shared/log.ts';
import type { Cluster, ClusterGuest, InstanceId, NodeName } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { proxmoxBackend } from '../../control-plane/backends/proxmox/index.ts';
import { createMemoryJournal } from '../../control-plane/store/memory.ts';
import { openStore } from '../../control-plane/store/open-store.ts';
import type { Store } from '../../control-plane/store/store.ts';
import { until } from '../until.ts';
import type { Figure } from './parts/figure.ts';
import { openProcess } from './parts/instance-child.ts';
import { firstVmid, idOf, type ServerAccess } from './parts/proxmox-server.ts';

const polls = 30;
const everyMs = 200;
const pollName = 'GET /cluster/resources';

const clusterOf = ({ endpoints, authorityPem, tokenId, secret }: ServerAccess): Cluster => ({
  metadata: {
    project: 'default',
    name: 'lab',
    id: systemRandom.uuidV7(),
    labels: {},
    annotations: {},
    revision: 0,
    generation: 1,
    createdAtMs: 0,
  },
  spec: {
    endpoints: endpoints.slice(0, 1),
    trust: { kind: 'authority', pem: authorityPem },
    credential: { kind: 'token', tokenId, secret },
  },
  removingSinceMs: undefined,
});

const guestOf = (vmid: number): ClusterGuest => ({
  instanceId: idOf(vmid) as InstanceId,
  cluster: 'lab',
  vmid,
  kind: vmid % 4 === firstVmid % 4 ? 'qemu' : 'lxc',
  node: 'lab-pve1' as NodeName,
  generation: 1,
  intent: 'run',
  specDigest: 'as it was',
  adopted: false,
  changedAtMs: 0,
  made: true,
  appliedGeneration: 1,
});

async function openWorld(nodes: number, guests: number, ours: number) {
  const server = openProcess<ServerAccess & { readonly requests: readonly string[] }>(
    './proxmox-server.ts',
    `${nodes} ${guests} ${ours}`,
  );
  const access = await server.ask({ ask: 'access' });
  const store = await openStore({ journal: createMemoryJournal(), clock: systemClock });
  for (let from = 0; from < ours; from += 100)
    await store.transact((tx) => {
      for (let place = from; place < Math.min(ours, from + 100); place += 1) {
        const guest = guestOf(firstVmid + place);
        tx.put('cluster-guest', guest.instanceId, guest);
      }
    });
  return { server, access, store };
}

function watch(store: Store) {
  const backend = proxmoxBackend({
    store,
    fleet: { fleetId: '0192aaaa-0000-7000-8000-000000000001', fleetEpoch: 1 },
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    pace: { busyMs: everyMs, idleMs: everyMs, detailsMs: 3_600_000 },
  });
  const ending = new AbortController();
  let complete = 0;
  const reading = (async () => {
    for await (const { kind } of backend.watch(ending.signal)) if (kind === 'complete') complete += 1;
  })();
  return {
    backend,
    completed: () => complete,
    async close() {
      ending.abort();
      await reading;
      await backend.close();
    },
  };
}

async function measurePoll(): Promise<Figure[]> {
  const { server, access, store } = await openWorld(16, 2000, 1000);
  const watching = watch(store);
  try {
    await store.transact((tx) => tx.put('cluster', 'lab', clusterOf(access)));
    await until(() => watching.completed() >= 16, { what: 'the first listing', deadlineMs: 60_000 });
    const ask = async (): Promise<string[]> => [...(await server.ask({ ask: 'count' })).requests];
    const pollsOf = (requests: readonly string[]): number =>
      requests.filter((each) => each.startsWith(pollName)).length;
    await until(async () => pollsOf(await ask()) >= 15, { what: 'polls before', deadlineMs: 60_000 });
    await server.ask({ ask: 'reset' });
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, polls * everyMs));
    const used = process.cpuUsage(before);
    const requests = await ask();
    const seen = pollsOf(requests);
    const cpuMs = (used.user + used.system) / 1000 / seen;
    return [
      {
        name: 'requests',
        value: Math.round((requests.length / seen) * 100) / 100,
        unit: 'requests/poll',
        goal: { atMost: 3 },
      },
      { name: 'own-cpu-ms', value: Math.round(cpuMs * 10) / 10, unit: 'ms/poll', goal: { atMost: 50 } },
      { name: 'polls', value: seen, unit: 'polls' },
    ];
  } finally {
    await watching.close();
    await store.close();
    await server.end();
  }
}

/** What is left after the collector has been. */
function heapMib(): number {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc') as () => void;
  collect();
  return process.memoryUsage().heapUsed / 1024 ** 2;
}

async function measureMemory(): Promise<Figure[]> {
  const { server, access, store } = await openWorld(16, 10_000, 5000);
  const before = heapMib();
  const watching = watch(store);
  try {
    await store.transact((tx) => tx.put('cluster', 'lab', clusterOf(access)));
    await until(() => watching.completed() >= 16, { what: 'the first listing', deadlineMs: 120_000 });
    const value = Math.round((heapMib() - before) * 10) / 10;
    return [{ name: 'memory-10000-guests', value, unit: 'MiB' }];
  } finally {
    await watching.close();
    await store.close();
    await server.end();
  }
}

export const run = async (): Promise<readonly Figure[]> => [
  ...(await measurePoll()),
  ...(await measureMemory()),
];
