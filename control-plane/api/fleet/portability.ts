import type {
  ExplainPortabilityRequest,
  ExplainPortabilityResponse,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { buildNodeViews } from '../../node-views.ts';
import { portability } from '../../planner/portability.ts';
import { runtimeOf } from '../../scheduler/choose-runtime.ts';
import { storedRouting } from '../../store/put-routing.ts';
import type { HandlerDeps } from '../handler.ts';
import { findWorkload, parseProject } from '../resolve-name.ts';

export async function explainPortability(
  { project: text, workload: name, runtime: to }: ExplainPortabilityRequest,
  { store, view }: HandlerDeps,
): Promise<ExplainPortabilityResponse> {
  const snapshot = store.snapshot();
  const project = parseProject(text);
  const workload = findWorkload(snapshot, name, project);
  const from = workload.resolved?.runtime ?? runtimeOf(workload, storedRouting(snapshot)).runtime;
  const { spec } = workload;
  const findings = portability({
    spec,
    from,
    to,
    instances: snapshot.instancesOfWorkload(name, project),
    networks: spec.networks.flatMap(({ network }) => snapshot.named('network', network, project) ?? []),
    nodes: buildNodeViews(snapshot, view.nodes()),
  });
  return { from, to, findings };
}
