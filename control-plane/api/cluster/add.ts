import { DroverError } from '#shared/errors.ts';
import type {
  AddClusterRequest,
  AddClusterResponse,
  TestClusterRequest,
  TestClusterResponse,
  UpdateClusterRequest,
  UpdateClusterResponse,
} from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { ClusterRight, ClusterSpec, ClusterStatus } from '#shared/model.ts';
import { parseOne } from '#shared/wire/checks.ts';
import {
  checkClusterName,
  formatCluster,
  formatClusterStatus,
  parseClusterChange,
  parseClusterName,
  parseClusterSpec,
} from '#shared/wire/cluster.ts';
import {
  addCluster as keepCluster,
  checkNoCluster,
  checkNotRemoving,
  updateCluster as keepChange,
} from '../../store/put-cluster.ts';
import { callerName, type HandlerContext } from '../handler.ts';
import { type ClusterDeps, findCluster } from './deps.ts';

/** All endpoints may have to be waited for, one after the other. */
const testTimeoutMs = 60_000;

export async function addCluster(
  request: AddClusterRequest,
  context: HandlerContext,
  deps: ClusterDeps,
): Promise<AddClusterResponse> {
  const { store, clock, random, wake } = deps;
  const name = parseOne('cluster', (faults) => checkClusterName(request.name, 'name', faults));
  const spec = parseClusterSpec(request);
  checkNoCluster(store.snapshot(), name);
  const status = await tryOut(name, spec, request.acceptMissingRights, context, deps);
  const put = { name, spec, id: random.uuidV7(), caller: callerName(context.caller) };
  const { result } = await store.transact((tx) => keepCluster(tx, put, clock.nowMs()));
  wake();
  return { cluster: formatCluster(result, status) };
}

export async function updateCluster(
  request: UpdateClusterRequest,
  context: HandlerContext,
  deps: ClusterDeps,
): Promise<UpdateClusterResponse> {
  const { store, clock, wake } = deps;
  const name = parseClusterName(request.name);
  const before = findCluster(store.snapshot(), name);
  checkNotRemoving(before);
  const spec = parseClusterChange(before.spec, request);
  const status = await tryOut(name, spec, request.acceptMissingRights, context, deps);
  const { generation: expectedGeneration } = before.metadata;
  const change = { name, spec, caller: callerName(context.caller), expectedGeneration };
  const { result } = await store.transact((tx) => keepChange(tx, change, clock.nowMs()));
  wake();
  return { cluster: formatCluster(result, status) };
}

export async function testCluster(
  request: TestClusterRequest,
  context: HandlerContext,
  { store, clusters, clock }: ClusterDeps,
): Promise<TestClusterResponse> {
  const name = parseClusterName(request.name);
  const { spec } = findCluster(store.snapshot(), name);
  const status = await clusters.test(name, spec, clock.timeout(testTimeoutMs, context.signal));
  return { status: formatClusterStatus(status) };
}

async function tryOut(
  name: string,
  spec: ClusterSpec,
  acceptMissingRights: boolean,
  context: HandlerContext,
  { clusters, clock }: ClusterDeps,
): Promise<ClusterStatus> {
  const status = await clusters.test(name, spec, clock.timeout(testTimeoutMs, context.signal));
  if (!status.connected)
    throw new DroverError('unavailable', `${name} does not answer: ${status.message || 'nobody says why'}`, {
      subject: { cluster: name },
      reason: 'cluster-away',
      nextStep: 'see whether its addresses can be reached from the control plane',
    });
  checkRights(name, spec, status.rights, acceptMissingRights);
  return status;
}

function checkRights(
  cluster: string,
  { credential }: ClusterSpec,
  rights: readonly ClusterRight[],
  acceptMissing: boolean,
): void {
  const needed = rights.filter(({ optional }) => !optional);
  const missing = needed.filter(({ granted }) => !granted);
  if (missing.length === 0) return;
  const isNothing = missing.length === needed.length;
  if (acceptMissing && !isNothing) return;
  const who = credential.kind === 'token' ? credential.tokenId : credential.user;
  const lacks = missing.map(({ privilege, path, neededFor }) => `${privilege} on ${path}, for ${neededFor}`);
  const message = isNothing ? `${who} may do nothing in ${cluster}` : `${who} lacks rights in ${cluster}`;
  const own = 'a token has no right of its user by itself; ';
  throw new DroverError('failed-precondition', `${message}\n  ${lacks.join('\n  ')}`, {
    subject: { cluster },
    reason: 'rights-missing',
    faults: missing.map(({ privilege, path, neededFor }) => ({
      field: `${path} ${privilege}`,
      message: neededFor,
    })),
    nextStep: isNothing
      ? `${credential.kind === 'token' ? own : ''}docs/proxmox.md has the lines that give them`
      : 'docs/proxmox.md has the lines that give them; or go on without: --accept-missing-rights',
  });
}
