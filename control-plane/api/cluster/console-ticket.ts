import { DroverError } from '#shared/errors.ts';
import type {
  GetConsoleTicketRequest,
  GetConsoleTicketResponse,
} from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { InstanceId } from '#shared/model.ts';
import { nodeOfRunning } from '../fleet/instances.ts';
import type { HandlerContext } from '../handler.ts';
import { presentMoment } from '../messages.ts';
import { findInstance, parseProject } from '../resolve-name.ts';
import type { ClusterDeps } from './deps.ts';

export async function getConsoleTicket(
  { project, instance }: GetConsoleTicketRequest,
  { signal }: HandlerContext,
  deps: ClusterDeps,
): Promise<GetConsoleTicketResponse> {
  const moment = presentMoment(deps);
  const found = findInstance(moment.snapshot, instance, parseProject(project));
  const node = nodeOfRunning(found, moment);
  const { id, name, generation } = found.metadata;
  if (moment.snapshot.named('node', node)?.cluster === undefined)
    throw new DroverError('unimplemented', `${name} is no guest of a cluster: its console has no address`, {
      subject: { instance: name, node },
      nextStep: `drover console ${name}`,
    });
  const order = { node, instanceId: id as InstanceId, generation, requestId: deps.random.uuidV4() };
  const { url, kind, websocketUrl, ticket, user } = await deps.clusters.consoleTicket(order, signal);
  return { url, kind, websocketUrl, ticket, user };
}
