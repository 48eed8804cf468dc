import type { Cluster, ClusterServiceService } from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { Handlers } from '#shared/rpc-server.ts';
import { formatCluster, parseClusterName, parseEndpoint } from '#shared/wire/cluster.ts';
import { addCluster, testCluster, updateCluster } from './cluster/add.ts';
import { adoptGuests } from './cluster/adopt.ts';
import { planClone } from './cluster/clone.ts';
import { getConsoleTicket } from './cluster/console-ticket.ts';
import { type ClusterDeps, findCluster } from './cluster/deps.ts';
import { listGuests } from './cluster/guests.ts';
import { releaseInstances } from './cluster/release.ts';
import { removeCluster } from './cluster/remove.ts';
import { createTemplate, listTemplates, removeTemplate } from './cluster/templates.ts';
import type { HandlerContext } from './handler.ts';

const fingerprintTimeoutMs = 15_000;

/** What people ask about clusters; each promise is in the proto. */
export function clusterService(deps: ClusterDeps): Handlers<typeof ClusterServiceService, HandlerContext> {
  const { store, clusters, clock } = deps;
  const clusterNow = (name: string): Cluster => {
    const found = findCluster(store.snapshot(), name);
    return formatCluster(found, clusters.status(name));
  };
  return {
    async showFingerprint(request, { signal }) {
      const endpoint = parseEndpoint(request.endpoint);
      const fingerprint = await clusters.fingerprintOf(endpoint, clock.timeout(fingerprintTimeoutMs, signal));
      return { endpoint, fingerprint };
    },
    addCluster: (request, context) => addCluster(request, context, deps),
    updateCluster: (request, context) => updateCluster(request, context, deps),
    testCluster: (request, context) => testCluster(request, context, deps),
    async *listClusters() {
      const names = store
        .snapshot()
        .list('cluster')
        .map(({ metadata }) => metadata.name);
      yield* names.toSorted().map(clusterNow);
    },
    getCluster: async ({ name }) => ({ cluster: clusterNow(parseClusterName(name)) }),
    removeCluster: (request, context) => removeCluster(request, context, deps),
    listGuests: (request) => listGuests(request, deps),
    adoptGuests: (request, context) => adoptGuests(request, context, deps),
    planClone: (request, context) => planClone(request, context, deps),
    createTemplate: (request, context) => createTemplate(request, context, deps),
    listTemplates: (request) => listTemplates(request, deps),
    removeTemplate: (request, context) => removeTemplate(request, context, deps),
    releaseInstances: (request, context) => releaseInstances(request, context, deps),
    getConsoleTicket: (request, context) => getConsoleTicket(request, context, deps),
  };
}
