import type {
  CreateTemplateRequest,
  CreateTemplateResponse,
  ListTemplatesRequest,
  RemoveTemplateRequest,
  RemoveTemplateResponse,
  Template,
} from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { ClusterGuestView, ClusterTemplate } from '#shared/model.ts';
import { checkName, parseOne } from '#shared/wire/checks.ts';
import { parseClusterName } from '#shared/wire/cluster.ts';
import { checkNotRemoving } from '../../store/put-cluster.ts';
import type { HandlerContext } from '../handler.ts';
import { parseProject } from '../resolve-name.ts';
import { checkSnapshotName, refuseAsSource, sourceOf } from './copy-source.ts';
import { type ClusterDeps, findCluster } from './deps.ts';

/** Makes a template of a guest, which stays as it is. */
export async function createTemplate(
  request: CreateTemplateRequest,
  { signal }: HandlerContext,
  { store, clusters }: ClusterDeps,
): Promise<CreateTemplateResponse> {
  const { name, snapshot } = request;
  const project = parseProject(request.project);
  parseOne('template name', (faults) => {
    checkName(name, 'name', faults);
    if (/^[0-9]+$/.test(name)) faults.add('name', `"${name}" would be taken for a number`);
  });
  checkSnapshotName(snapshot);
  const before = store.snapshot();
  const { cluster, vmid } = sourceOf(before, request.source, project);
  checkNotRemoving(findCluster(before, cluster));
  const { guest } = await clusters.inspectGuest(cluster, vmid, signal);
  refuseAsSource(guest, snapshot);
  const made = await clusters.createTemplate(cluster, { vmid, name, snapshot }, signal);
  const row = clusters.guests(cluster).find((each) => each.vmid === made.vmid);
  return { template: templateMessage(made, row) };
}

/** A cluster's own list may be older than what we know. */
const listLagMs = 60_000;
const gone = {
  state: 'gone',
  message: 'it is not in its cluster any more: remove it here, or create it again',
} as const;

export async function* listTemplates(
  request: ListTemplatesRequest,
  { store, clusters, clock }: ClusterDeps,
): AsyncGenerator<Template> {
  const snapshot = store.snapshot();
  const only = request.cluster === '' ? undefined : parseClusterName(request.cluster);
  if (only !== undefined) findCluster(snapshot, only);
  const guests = clusters.guests(only);
  const own = snapshot
    .list('cluster-template')
    .filter(({ cluster }) => only === undefined || cluster === only);
  const rows = new Map(guests.filter(({ template }) => template).map((guest) => [keyOf(guest), guest]));
  const rowOf = (record: ClusterTemplate): ClusterGuestView | undefined => {
    const row = rows.get(keyOf(record));
    return row?.name === record.name ? row : undefined;
  };
  const isListed = ({ cluster }: ClusterTemplate): boolean => {
    const status = clusters.status(cluster);
    return status?.connected === true && status.quorate;
  };
  const ownRows = new Set(own.map(rowOf));
  const others = [...rows.values()].filter((guest) => !ownRows.has(guest));
  const ours = own.map((each) => {
    const row = rowOf(each);
    const isOld = clock.nowMs() - each.changedAtMs > listLagMs;
    const isGone = each.state === 'ready' && row === undefined && isOld && isListed(each);
    return templateMessage(isGone ? { ...each, ...gone } : each, row);
  });
  const all = [...ours, ...others.map(messageOf)];
  yield* all.toSorted((a, b) => a.cluster.localeCompare(b.cluster) || a.vmid - b.vmid);
}

export async function removeTemplate(
  request: RemoveTemplateRequest,
  { signal }: HandlerContext,
  { store, clusters }: ClusterDeps,
): Promise<RemoveTemplateResponse> {
  const cluster = parseClusterName(request.cluster);
  findCluster(store.snapshot(), cluster);
  const gone = await clusters.removeTemplate(cluster, request.template, signal);
  return { template: templateMessage(gone, undefined) };
}

const keyOf = ({ cluster, vmid }: { readonly cluster: string; readonly vmid: number }): string =>
  `${cluster}/${vmid}`;

/** `row`: as its cluster lists it; undefined: not yet, or not any more. */
function templateMessage(
  own: Omit<ClusterTemplate, 'state'> & { readonly state: string },
  row: ClusterGuestView | undefined,
): Template {
  const { cluster, vmid, kind, name, state, message } = own;
  const seen = { node: row?.node ?? '', diskMib: row?.diskMib ?? 0, tags: [...(row?.tags ?? [])] };
  return { cluster, vmid, kind, name, ...seen, own: true, state, message };
}

const messageOf = ({ cluster, vmid, kind, name, node, diskMib, tags }: ClusterGuestView): Template => ({
  cluster,
  vmid,
  kind,
  name,
  node,
  diskMib,
  tags: [...tags],
  own: false,
  state: 'ready',
  message: '',
});
