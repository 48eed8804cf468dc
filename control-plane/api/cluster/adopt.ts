import { asDroverError, DroverError, isKind, wordsOf } from '#shared/errors.ts';
import type { Adoption, AdoptGuestsRequest } from '#shared/gen/drover/fleet/v1/cluster.ts';
import type { ClusterGuestView, Instance, InstanceId } from '#shared/model.ts';
import { formatAdoption, formatGuest, parseClusterName, parseVmid } from '#shared/wire/cluster.ts';
import { checkName, parseOne } from '#shared/wire/checks.ts';
import { parseWorkloadDocument } from '#shared/wire/workload.ts';
import type { Adoptable } from '../../backends/cluster-backend.ts';
import { changesOfAdopted } from '../../planner/adoption.ts';
import { adoptGuest, type AdoptGuest, takeBackAdoption } from '../../store/adopt-guest.ts';
import { checkNotRemoving } from '../../store/put-cluster.ts';
import { forgetGuest } from '../../store/put-cluster-guest.ts';
import { scratchTransaction } from '../../store/scratch.ts';
import type { Snapshot } from '../../store/store.ts';
import { callerName, type HandlerContext } from '../handler.ts';
import { type ClusterDeps, findCluster } from './deps.ts';
import { byNumber, guestMessage } from './guests.ts';
import { suggestDocument } from './suggest-document.ts';

/** Also where the caller has hung up: nothing is left half done. */
const markTimeoutMs = 60_000;
const attempts = 3;

interface Wish {
  readonly cluster: string;
  /** Empty: made from the guest's. */
  readonly name: string;
  readonly dryRun: boolean;
  readonly caller: string;
}

export async function* adoptGuests(
  request: AdoptGuestsRequest,
  { caller, signal }: HandlerContext,
  deps: ClusterDeps,
): AsyncGenerator<Adoption> {
  const { name, dryRun } = request;
  const cluster = parseClusterName(request.cluster);
  const vmid = parseVmid(request.vmid);
  if (name !== '') parseOne('workload name', (faults) => checkName(name, 'name', faults));
  if (name !== '' && vmid === 0)
    throw new DroverError('invalid-argument', 'a name is for one guest, and all are to be adopted', {
      subject: { field: 'name' },
    });
  checkNotRemoving(findCluster(deps.store.snapshot(), cluster));
  const wish: Wish = { cluster, name, dryRun, caller: callerName(caller) };
  if (vmid !== 0) {
    const adoption = await adoptAnew(vmid, wish, signal, deps);
    if (adoption.skipped !== '' && !dryRun)
      throw new DroverError(
        'failed-precondition',
        `${cluster}/${vmid} cannot be adopted: ${adoption.skipped}`,
        {
          subject: { cluster, vmid: `${vmid}` },
          reason: 'not-adoptable',
        },
      );
    yield adoption;
    return;
  }
  for (const guest of deps.clusters.guests(cluster).toSorted(byNumber)) {
    if (signal.aborted) return;
    yield await adoptOrTell(guest, wish, signal, deps);
  }
}

async function adoptOrTell(
  guest: ClusterGuestView,
  wish: Wish,
  signal: AbortSignal,
  deps: ClusterDeps,
): Promise<Adoption> {
  try {
    return await adoptAnew(guest.vmid, wish, signal, deps, guest);
  } catch (caught) {
    const { kind } = asDroverError(caught);
    const message = guestMessage(guest, deps.store.snapshot());
    return formatAdoption(message, { skipped: wordsOf(caught), errorKind: kind });
  }
}

/** Somebody may change it while it is being adopted: then what it would be is found out once more. */
async function adoptAnew(...asked: Parameters<typeof adoptOne>): Promise<Adoption> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await adoptOne(...asked);
    } catch (caught) {
      if (!isKind(caught, 'aborted') || attempt === attempts) throw caught;
    }
  }
}

async function adoptOne(
  vmid: number,
  wish: Wish,
  signal: AbortSignal,
  deps: ClusterDeps,
  seen?: ClusterGuestView,
): Promise<Adoption> {
  const { clusters, store } = deps;
  const obvious = seen && whyNot(seen, store.snapshot());
  if (seen !== undefined && obvious !== undefined)
    return formatAdoption(guestMessage(seen, store.snapshot()), { skipped: obvious });

  const adoptable = await clusters.inspectGuest(wish.cluster, vmid, signal);
  const { guest } = adoptable;
  const snapshot = store.snapshot();
  const because = whyNot(guest, snapshot);
  if (because !== undefined) return formatAdoption(guestMessage(guest, snapshot), { skipped: because });
  const name = wish.name === '' ? freeName(guest, snapshot) : wish.name;
  const document = suggestDocument({ project: 'default', name }, { ...adoptable.spec, replicas: 1 });
  const notes = [...adoptable.notes];
  const message = formatGuest(guest, '');
  const skipped = adoptable.obstacles.join('; ');
  if (skipped !== '') return formatAdoption(message, { document, notes, skipped });

  const adopt: AdoptGuest = {
    document: parseWorkloadDocument(document),
    guest: { cluster: guest.cluster, vmid: guest.vmid, kind: guest.kind, node: guest.node },
    macs: adoptable.macs,
    caller: wish.caller,
    newId: () => deps.random.uuidV7(),
  };
  checkPlanIsEmpty(adopt, guest, deps);
  if (wish.dryRun) return formatAdoption(message, { adopted: true, document, notes });
  await letGoOfOrphan(guest, deps);
  const { metadata } = await takeOver(adopt, adoptable, deps);
  return formatAdoption(formatGuest(guest, metadata.name), {
    adopted: true,
    document,
    notes,
    instance: metadata.name,
  });
}

function whyNot({ instanceId, template, status }: ClusterGuestView, snapshot: Snapshot): string | undefined {
  const owner = instanceId === undefined ? undefined : snapshot.get('instance', instanceId);
  if (owner !== undefined) return `it is the instance ${owner.metadata.name} already`;
  if (template) return 'it is a template: an image, and no guest';
  // What is stopped would be started, and then it would not be as it was.
  if (status !== 'running') return `it is ${status}; start it first`;
  return undefined;
}

/** The guest's own name where that is one and is free; with its number otherwise. */
function freeName({ name, vmid }: ClusterGuestView, snapshot: Snapshot): string {
  const clean = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, 30)
    .replaceAll(/^-+|-+$/g, '');
  const isFree = (one: string): boolean => snapshot.named('workload', one) === undefined;
  if (clean !== '' && isFree(clean)) return clean;
  return clean === '' ? `guest-${vmid}` : `${clean}-${vmid}`;
}

/** Whatever an apply would change once it is ours would change a guest that nobody asked to change. */
function checkPlanIsEmpty(
  adopt: AdoptGuest,
  { instanceId }: ClusterGuestView,
  { store, view, clock }: ClusterDeps,
): void {
  const nowMs = clock.nowMs();
  const scratch = scratchTransaction(store.snapshot());
  if (instanceId !== undefined) forgetGuest(scratch, instanceId);
  adoptGuest(scratch, adopt, nowMs);
  const changes = changesOfAdopted(adopt.document, { snapshot: scratch, live: view.nodes(), nowMs });
  if (changes.length === 0) return;
  const { cluster, vmid } = adopt.guest;
  throw new DroverError('failed-precondition', `what it would be is not what it is: ${changes.join('; ')}`, {
    subject: { cluster, vmid: `${vmid}` },
    reason: 'plan-not-empty',
  });
}

/** A release that was begun and not ended left a mark and a record of nobody. */
async function letGoOfOrphan({ instanceId, node }: ClusterGuestView, deps: ClusterDeps): Promise<void> {
  if (instanceId === undefined) return;
  const { store, clusters, clock, random } = deps;
  const generation = store.snapshot().get('cluster-guest', instanceId)?.generation ?? 0;
  const order = { node, instanceId, generation, requestId: random.uuidV4() };
  await clusters.release(order, clock.timeout(markTimeoutMs)).catch((error: unknown) => {
    if (!isKind(error, 'not-found')) throw error;
  });
  await store.transact((tx) => forgetGuest(tx, instanceId));
}

/** Records first, then the mark; without the mark the records go again. */
async function takeOver(adopt: AdoptGuest, { digest }: Adoptable, deps: ClusterDeps): Promise<Instance> {
  const { store, clusters, clock, wake } = deps;
  const { result: instance } = await store.transact((tx) => adoptGuest(tx, adopt, clock.nowMs()));
  const { cluster, vmid } = adopt.guest;
  const id = instance.metadata.id as InstanceId;
  const { name: displayName, generation } = instance.metadata;
  try {
    const marked = { id, generation, displayName };
    await clusters.adopt({ cluster, vmid, digest }, marked, clock.timeout(markTimeoutMs));
  } catch (caught) {
    await store.transact((tx) => takeBackAdoption(tx, id, wordsOf(caught), clock.nowMs()));
    throw caught;
  } finally {
    wake();
  }
  return instance;
}
