import { isKind, wordsOf } from '#shared/errors.ts';
import type { ClusterSpec, ClusterStatus } from '#shared/model.ts';
import { clusterNodeName } from '../../store/put-cluster-node.ts';
import type { OpenClusterApi } from './cluster-api.ts';
import { parseMembership, parseResources, parseVersion } from './observe/listings.ts';
import { rightsMessage, rightsOf } from './observe/rights.ts';

/** Tries a way in and changes nothing. */
export async function tryCluster(
  name: string,
  spec: ClusterSpec,
  openApi: OpenClusterApi,
  signal: AbortSignal,
): Promise<ClusterStatus> {
  const api = openApi(name, spec);
  try {
    const version = parseVersion(await api.call('GET /version', {}, { signal }));
    // A credential without rights may ask this alone; it is to hear of all that it lacks.
    const permissions = await api.call('GET /access/permissions', {}, { signal });
    const [options, status, list] = await Promise.all([
      whereAllowed(api.call('GET /cluster/options', {}, { signal })),
      whereAllowed(api.call('GET /cluster/status', {}, { signal })),
      whereAllowed(api.call('GET /cluster/resources', {}, { signal })),
    ]);
    const rights = rightsOf(permissions, version, options);
    const membership = parseMembership(status);
    return {
      name,
      clusterName: membership.name,
      version,
      connected: true,
      quorate: membership.quorate,
      endpoints: await tryEach(name, spec, openApi, signal),
      nodes: membership.nodes.map(({ node }) => clusterNodeName(name, node)),
      guests: parseResources(list).guests.length,
      ownGuests: 0,
      lastSeenAtMs: 0,
      message: rightsMessage(rights),
      rights,
    };
  } finally {
    await api.close();
  }
}

const whereAllowed = (call: Promise<unknown>): Promise<unknown> =>
  call.catch((error: unknown) => {
    if (isKind(error, 'permission-denied')) return [];
    throw error;
  });

/** Every address by itself: the first that answers says nothing of the others. */
const tryEach = (
  name: string,
  spec: ClusterSpec,
  openApi: OpenClusterApi,
  signal: AbortSignal,
): Promise<ClusterStatus['endpoints']> =>
  Promise.all(
    spec.endpoints.map(async (address) => {
      const api = openApi(name, { ...spec, endpoints: [address] });
      try {
        await api.call('GET /version', {}, { signal });
        return { address, problem: '' };
      } catch (error) {
        return { address, problem: wordsOf(error) };
      } finally {
        await api.close();
      }
    }),
  );
