import { DroverError } from '#shared/errors.ts';
import type { Caller } from '#shared/model.ts';
import { anonymous } from './authenticate.ts';
import { callerName } from './handler.ts';

export type Who = Caller['role'] | typeof anonymous;

const people: readonly Who[] = ['viewer', 'operator', 'admin'];
const operators: readonly Who[] = ['operator', 'admin'];
const admins: readonly Who[] = ['admin'];
const strangers: readonly Who[] = [anonymous];
const certified: readonly Who[] = ['viewer', 'operator', 'admin', 'node'];
const everybody: readonly Who[] = [...certified, anonymous];

/** Who may use each method. What is not listed, nobody may. */
export const rolesOfMethod: ReadonlyMap<string, readonly Who[]> = new Map(
  Object.entries({
    'drover.fleet.v1.FleetService': {
      GetFleet: people,
      Apply: operators,
      Plan: people,
      GetWorkload: people,
      ListWorkloads: people,
      ScaleWorkload: operators,
      DeleteWorkload: operators,
      GetInstance: people,
      ListInstances: people,
      ExplainInstance: people,
      ExplainPortability: people,
      SignalInstance: operators,
      Exec: operators,
      StreamLogs: people,
      Watch: people,
      ListEvents: people,
      Console: operators,
      PauseInstance: operators,
      ResumeInstance: operators,
      FreezeInstance: operators,
      ThawInstance: operators,
      StreamStats: people,
      CreateSnapshot: operators,
      ListSnapshots: people,
      RollbackSnapshot: operators,
      RemoveSnapshot: operators,
      ListVolumes: people,
      RemoveVolume: operators,
      ListNetworks: people,
      GetNetwork: people,
      RemoveNetwork: operators,
      GetRouting: people,
      PutRouting: admins,
    },
    'drover.fleet.v1.NodeService': {
      CreateJoinToken: admins,
      Join: strangers,
      RenewCertificate: certified,
      ListNodes: people,
      GetNode: people,
      CordonNode: operators,
      UncordonNode: operators,
      RemoveNode: admins,
      DrainNode: operators,
      ListImages: people,
      PullImage: operators,
      RemoveImage: operators,
    },
    'drover.fleet.v1.OperationService': {
      ListOperations: people,
      GetOperation: people,
      WatchOperation: people,
    },
    'drover.fleet.v1.ClusterService': {
      ShowFingerprint: admins,
      AddCluster: admins,
      UpdateCluster: admins,
      TestCluster: operators,
      ListClusters: people,
      GetCluster: people,
      RemoveCluster: admins,
      ListGuests: people,
      AdoptGuests: operators,
      PlanClone: operators,
      CreateTemplate: operators,
      ListTemplates: people,
      RemoveTemplate: operators,
      ReleaseInstances: operators,
      GetConsoleTicket: operators,
    },
    'grpc.health.v1.Health': { Check: everybody, Watch: everybody },
    'grpc.reflection.v1.ServerReflection': { ServerReflectionInfo: certified },
  } satisfies Record<string, Record<string, readonly Who[]>>).flatMap(([service, methods]) =>
    Object.entries(methods).map(([method, who]) => [`/${service}/${method}`, who] as const),
  ),
);

/** unauthenticated for a stranger, permission-denied for everybody else who may not. */
export function authorize(method: string, caller: Caller | typeof anonymous): void {
  const allowed = rolesOfMethod.get(method) ?? [];
  if (caller === anonymous) {
    if (allowed.includes(anonymous)) return;
    throw new DroverError('unauthenticated', `${method} needs a client certificate`, {
      nextStep: 'choose a context with `drover context`',
    });
  }
  if (allowed.includes(caller.role)) return;
  const who = allowed.length === 0 ? 'nobody' : allowed.join(', ');
  throw new DroverError('permission-denied', `${callerName(caller)} may not use ${method}: ${who} may`);
}
