import type {
  GetFleetResponse,
  GetWorkloadRequest,
  GetWorkloadResponse,
  ListWorkloadsRequest,
  Workload,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { matches } from '#shared/selector.ts';
import { version, wireMinor } from '#shared/version.ts';
import { parseSelectors } from '#shared/wire/workload.ts';
import { callerName, type HandlerContext, type HandlerDeps } from '../handler.ts';
import { presentMoment, workloadMessage } from '../messages.ts';
import { findWorkload, parseProject } from '../resolve-name.ts';

export async function getFleet(
  { caller }: HandlerContext,
  { store }: HandlerDeps,
): Promise<GetFleetResponse> {
  const snapshot = store.snapshot();
  const [fleet] = snapshot.list('fleet');
  return {
    fleetId: fleet?.fleetId ?? '',
    fleetEpoch: BigInt(fleet?.epoch ?? 0),
    version,
    wireMinor,
    revision: BigInt(snapshot.revision),
    caller: callerName(caller),
  };
}

export async function getWorkload(
  { name, project }: GetWorkloadRequest,
  deps: HandlerDeps,
): Promise<GetWorkloadResponse> {
  const moment = presentMoment(deps);
  const workload = findWorkload(moment.snapshot, name, parseProject(project));
  return { workload: workloadMessage(workload, moment) };
}

export async function* listWorkloads(
  request: ListWorkloadsRequest,
  deps: HandlerDeps,
): AsyncGenerator<Workload> {
  const project = parseProject(request.project);
  const selectors = parseSelectors(request.selectors);
  const moment = presentMoment(deps);
  const chosen = moment.snapshot
    .list('workload', project)
    .filter(({ metadata }) => selectors.every((selector) => matches(selector, metadata.labels)))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const workload of chosen) yield workloadMessage(workload, moment);
}
