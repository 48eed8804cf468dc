import type {
  ExplainPortabilityRequest,
  ExplainPortabilityResponse,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import type { Workload } from '#shared/model.ts';
import { checkName, parseOne } from '#shared/wire/checks.ts';
import { buildNodeViews } from '../../node-views.ts';
import { portabilityReport } from '../../planner/portability.ts';
import { runtimeOf } from '../../scheduler/choose-runtime.ts';
import { storedRouting } from '../../store/put-routing.ts';
import type { Snapshot } from '../../store/store.ts';
import type { HandlerDeps } from '../handler.ts';
import { findWorkload, parseProject } from '../resolve-name.ts';

export async function explainPortability(
  request: ExplainPortabilityRequest,
  { store, view }: HandlerDeps,
): Promise<ExplainPortabilityResponse> {
  const snapshot = store.snapshot();
  const project = parseProject(request.project);
  const to = parseOne('runtime', (faults) => checkName(request.runtime, 'runtime', faults));
  const workload = findWorkload(snapshot, request.workload, project);
  const { name } = workload.metadata;
  const from = runtimeNow(workload, snapshot);
  const { findings, steps } = portabilityReport({
    workload: name,
    spec: workload.spec,
    from,
    to,
    instances: snapshot.instancesOfWorkload(name, project),
    networks: workload.spec.networks.flatMap(
      ({ network }) => snapshot.named('network', network, project) ?? [],
    ),
    nodes: buildNodeViews(snapshot, view.nodes()),
    versions: versionsOf(to, snapshot),
  });
  return { from, to, findings: [...findings], steps: [...steps] };
}

/** What its copies have, while a change of it is not resolved yet. */
const runtimeNow = (workload: Workload, snapshot: Snapshot): string =>
  workload.resolved?.runtime ?? runtimeOf(workload, storedRouting(snapshot)).runtime;

const versionsOf = (runtime: string, snapshot: Snapshot) =>
  new Map(
    snapshot.list('node').flatMap(({ facts }) => {
      const found = facts?.runtimes.find(({ name }) => name === runtime);
      return found === undefined || facts === undefined ? [] : [[facts.name, found.version] as const];
    }),
  );
