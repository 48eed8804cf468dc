import type {
  GetNetworkRequest,
  GetNetworkResponse,
  ListNetworksRequest,
  Network as WireNetwork,
  RemoveNetworkRequest,
  RemoveNetworkResponse,
} from '#shared/gen/drover/fleet/v1/fleet.ts';
import { removeNetwork as remove } from '../../store/remove-network.ts';
import { callerName, type HandlerContext, type HandlerDeps } from '../handler.ts';
import { networkMessage } from '../messages.ts';
import { findNetwork, parseProject } from '../resolve-name.ts';

export async function* listNetworks(
  request: ListNetworksRequest,
  { store }: Pick<HandlerDeps, 'store'>,
): AsyncGenerator<WireNetwork> {
  const snapshot = store.snapshot();
  const networks = snapshot
    .list('network', parseProject(request.project))
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const network of networks) yield networkMessage(network, snapshot);
}

export async function getNetwork(
  { name, project }: GetNetworkRequest,
  { store }: Pick<HandlerDeps, 'store'>,
): Promise<GetNetworkResponse> {
  const snapshot = store.snapshot();
  const network = findNetwork(snapshot, name, parseProject(project));
  return { network: networkMessage(network, snapshot, { withHeld: true }) };
}

export async function removeNetwork(
  request: RemoveNetworkRequest,
  { caller }: HandlerContext,
  { store, clock }: Pick<HandlerDeps, 'store' | 'clock'>,
): Promise<RemoveNetworkResponse> {
  const project = parseProject(request.project);
  const { name } = findNetwork(store.snapshot(), request.name, project).metadata;
  await store.transact((tx) => remove(tx, { project, name, caller: callerName(caller) }, clock.nowMs()));
  return {};
}
