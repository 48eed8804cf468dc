import { createHash } from 'node:crypto';
import { DroverError } from '#shared/errors.ts';
import type { Digest, Instance, InstanceId, InstanceState, NodeName, Workload } from '#shared/model.ts';
import type { WorkloadDocument } from '#shared/wire/workload.ts';
import { isPinned } from '#shared/wire/checks.ts';
import { bindInstance } from './bind-instance.ts';
import { checkClaims } from './check-claims.ts';
import { forgetGuestRecords } from './forget-guest-records.ts';
import { instanceTemplate, pinImage } from './instance-template.ts';
import { drawName, newInstance, putInstances } from './put-instances.ts';
import { forgetGuest, isBeingAdopted, reserveGuest } from './put-cluster-guest.ts';
import { newWorkload } from './put-workload.ts';
import type { Transaction } from './store.ts';

export interface AdoptGuest {
  /** One copy, with a runtime. */
  readonly document: WorkloadDocument;
  readonly guest: {
    readonly cluster: string;
    readonly vmid: number;
    readonly kind: 'lxc' | 'qemu';
    readonly node: NodeName;
  };
  /** The hardware addresses that it has, by its networks; empty: unknown. */
  readonly macs: readonly string[];
  readonly caller: string;
  /** A new UUIDv7 each time. */
  newId(): string;
}

/**
 * Makes a guest that runs already into a workload of one copy, bound to the node that it is on, as if all
 * that is to be done for it had been done: nothing is left for the reconciler. The guest has no mark yet;
 * until it has, its record says nothing of a spec that was taken in. already-exists: the name or the guest is
 * taken; failed-precondition, resource-exhausted: it cannot have what its spec says, as bindInstance.
 */
export function adoptGuest(tx: Transaction, adopt: AdoptGuest, nowMs: number): Instance {
  const { document, guest, caller } = adopt;
  const { name, project, spec } = document;
  if (tx.named('workload', name, project) !== undefined)
    throw new DroverError('already-exists', `there is a workload ${name} already`, {
      subject: { workload: name },
      nextStep: 'choose another name with --as',
    });
  checkClaims(tx, { workload: name, project }, spec.volumes);
  const workload: Workload = {
    ...newWorkload(document, adopt.newId(), nowMs),
    resolved: resolutionOf(document, guest),
  };
  tx.put('workload', workload.metadata.id, workload, project);

  const instance = createInstance(tx, workload, adopt, nowMs);
  const id = instance.metadata.id as InstanceId;
  const record = {
    ...guest,
    instanceId: id,
    generation: 1,
    intent: 'run',
    specDigest: '',
    adopted: true,
  } as const;
  reserveGuest(tx, record, nowMs);
  tell(
    tx,
    instance,
    { type: 'guest.adopted', message: `${guest.vmid} of ${guest.cluster}, by ${caller}` },
    nowMs,
  );
  return instance;
}

function createInstance(
  tx: Transaction,
  workload: Workload,
  { guest, macs, newId }: AdoptGuest,
  nowMs: number,
): Instance {
  const { project } = workload.metadata;
  const template = instanceTemplate(workload);
  if (template === undefined) throw new DroverError('internal', 'an adopted workload is not resolved');
  const drawn = drawName(tx, workload, new Set(), newId);
  putInstances(tx, [newInstance(workload, template, drawn, nowMs)], nowMs);
  const because = `it was adopted there: ${guest.vmid} of ${guest.cluster}`;
  bindInstance(tx, { id: drawn.id, project, node: guest.node, because, macs, newId }, nowMs);
  const bound = tx.get('instance', drawn.id, project) as Instance;
  const instance = { ...bound, observed: runningState(bound, nowMs) };
  tx.put('instance', drawn.id, instance, project);
  return instance;
}

/** The image stands for the guest itself: what is adopted is made from nothing, and nothing from it. */
export const adoptedIdentity = (cluster: string, vmid: number): Digest =>
  `sha256:${createHash('sha256').update(`${cluster}/${vmid}`).digest('hex')}` as Digest;

function resolutionOf(
  { spec }: WorkloadDocument,
  { cluster, vmid }: AdoptGuest['guest'],
): NonNullable<Workload['resolved']> {
  const digest = adoptedIdentity(cluster, vmid);
  return {
    generation: 1,
    image: isPinned(spec.image) ? spec.image : pinImage(spec.image, digest),
    digest,
    runtime: spec.runtime,
    runtimeBecause: 'named in the spec',
    reference: spec.image,
  };
}

/** As its backend saw it when it was asked; the next look says more. */
const runningState = ({ metadata, spec }: Instance, nowMs: number): InstanceState => ({
  instanceId: metadata.id as InstanceId,
  generation: metadata.generation,
  phase: 'running',
  pid: 0,
  startedAtMs: nowMs,
  exit: undefined,
  restarts: 0,
  nextStartAtMs: 0,
  message: '',
  limits: undefined,
  notEnforced: [],
  displayName: spec.displayName,
  addresses: [],
  rootPool: spec.rootPool,
});

/** Takes an adoption back whose mark was not written. Repeating it changes nothing. */
export function takeBackAdoption(tx: Transaction, id: InstanceId, because: string, nowMs: number): void {
  const guest = tx.get('cluster-guest', id);
  if (guest === undefined || !isBeingAdopted(guest)) return;
  const instance = tx.get('instance', id);
  forgetGuest(tx, id);
  if (instance === undefined) return;
  forgetGuestRecords(tx, instance, nowMs);
  tell(tx, instance, { type: 'guest.not-adopted', message: because }, nowMs);
}

/** After a start: nobody is adopting anything. */
export function takeBackAllAdoptions(tx: Transaction, nowMs: number): void {
  for (const { instanceId } of tx.list('cluster-guest'))
    takeBackAdoption(tx, instanceId, 'the control plane ended before its mark was written', nowMs);
}

function tell(
  tx: Transaction,
  { metadata: { id, name, project }, workload, node }: Instance,
  { type, message }: { readonly type: string; readonly message: string },
  nowMs: number,
): void {
  const subject = { instance: name, instanceId: id, workload, ...(node === undefined ? {} : { node }) };
  tx.event({ atMs: nowMs, type, severity: 'info', subject, message }, project);
}
