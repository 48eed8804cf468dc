import { describe, expect, it } from 'vitest';
import { ClusterServiceService } from '#shared/gen/drover/fleet/v1/cluster.ts';
import {
  FleetServiceService,
  NodeServiceService,
  OperationServiceService,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { RuntimeServiceService } from '#shared/gen/drover/runtime/v1/runtime.ts';
import { HealthService } from '#shared/gen/grpc/health/v1/health.ts';
import { ServerReflectionService } from '#shared/gen/grpc/reflection/v1/reflection.ts';
import { anonymous } from './authenticate.ts';
import { authorize, rolesOfMethod, type Who } from './authorize.ts';

const mounted = [
  FleetServiceService,
  NodeServiceService,
  OperationServiceService,
  ClusterServiceService,
  HealthService,
  ServerReflectionService,
].flatMap((service) => Object.values(service).map(({ path }) => path as string));
const everybody: readonly Who[] = ['admin', 'operator', 'viewer', 'node', anonymous];

const mayUse = (who: Who, method: string): boolean => {
  try {
    authorize(method, who === anonymous ? anonymous : { role: who, name: 'x' });
    return true;
  } catch {
    return false;
  }
};

/** The whole matrix, as it was decided: a letter for each of admin, operator, viewer, node, and - for a stranger. */
const matrix: Readonly<Record<string, string>> = {
  'FleetService/GetFleet': 'aov',
  'FleetService/Apply': 'ao',
  'FleetService/Plan': 'aov',
  'FleetService/GetWorkload': 'aov',
  'FleetService/ListWorkloads': 'aov',
  'FleetService/ScaleWorkload': 'ao',
  'FleetService/DeleteWorkload': 'ao',
  'FleetService/GetInstance': 'aov',
  'FleetService/ListInstances': 'aov',
  'FleetService/ExplainInstance': 'aov',
  'FleetService/ExplainPortability': 'aov',
  'FleetService/SignalInstance': 'ao',
  'FleetService/Exec': 'ao',
  'FleetService/StreamLogs': 'aov',
  'FleetService/Watch': 'aov',
  'FleetService/ListEvents': 'aov',
  'FleetService/Console': 'ao',
  'FleetService/PauseInstance': 'ao',
  'FleetService/ResumeInstance': 'ao',
  'FleetService/FreezeInstance': 'ao',
  'FleetService/ThawInstance': 'ao',
  'FleetService/StreamStats': 'aov',
  'FleetService/CreateSnapshot': 'ao',
  'FleetService/ListSnapshots': 'aov',
  'FleetService/RollbackSnapshot': 'ao',
  'FleetService/RemoveSnapshot': 'ao',
  'FleetService/ListVolumes': 'aov',
  'FleetService/RemoveVolume': 'ao',
  'FleetService/ListNetworks': 'aov',
  'FleetService/GetNetwork': 'aov',
  'FleetService/RemoveNetwork': 'ao',
  'FleetService/GetRouting': 'aov',
  'FleetService/PutRouting': 'a',
  'NodeService/CreateJoinToken': 'a',
  'NodeService/Join': '-',
  'NodeService/RenewCertificate': 'aovn',
  'NodeService/ListNodes': 'aov',
  'NodeService/GetNode': 'aov',
  'NodeService/CordonNode': 'ao',
  'NodeService/UncordonNode': 'ao',
  'NodeService/RemoveNode': 'a',
  'NodeService/DrainNode': 'ao',
  'NodeService/ListImages': 'aov',
  'NodeService/PullImage': 'ao',
  'NodeService/RemoveImage': 'ao',
  'OperationService/ListOperations': 'aov',
  'OperationService/GetOperation': 'aov',
  'OperationService/WatchOperation': 'aov',
  'ClusterService/ShowFingerprint': 'a',
  'ClusterService/AddCluster': 'a',
  'ClusterService/UpdateCluster': 'a',
  'ClusterService/TestCluster': 'ao',
  'ClusterService/ListClusters': 'aov',
  'ClusterService/GetCluster': 'aov',
  'ClusterService/RemoveCluster': 'a',
  'ClusterService/ListGuests': 'aov',
  'ClusterService/AdoptGuests': 'ao',
  'ClusterService/PlanClone': 'ao',
  'ClusterService/CreateTemplate': 'ao',
  'ClusterService/ListTemplates': 'aov',
  'ClusterService/RemoveTemplate': 'ao',
  'ClusterService/ReleaseInstances': 'ao',
  'ClusterService/GetConsoleTicket': 'ao',
  'Health/Check': 'aovn-',
  'Health/Watch': 'aovn-',
  'ServerReflection/ServerReflectionInfo': 'aovn',
};
const letters = { admin: 'a', operator: 'o', viewer: 'v', node: 'n', [anonymous]: '-' } as const;

describe('who may use what', () => {
  it('gives every method of every service its roles, and none that is not there', () => {
    expect([...rolesOfMethod.keys()].toSorted()).toEqual(mounted.toSorted());
  });

  it.each(mounted.flatMap((method) => everybody.map((who) => [who, method] as const)))(
    '%s: %s',
    (who, method) => {
      const wanted = matrix[method.replace(/^\/.*\.([A-Za-z]+\/)/, '$1')] ?? '';
      expect(mayUse(who, method)).toBe(wanted.includes(letters[who]));
    },
  );

  it('gives nobody what is not listed, an agent’s methods among it', () => {
    const unlisted = ['/drover.fleet.v1.FleetService/Nothing', 'constructor', ''];
    const agents = Object.values(RuntimeServiceService).map(({ path }) => path as string);
    for (const method of [...unlisted, ...agents]) {
      for (const who of everybody) expect(mayUse(who, method)).toBe(false);
    }
  });
});
