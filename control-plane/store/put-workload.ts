import { DroverError } from '#shared/errors.ts';
import type { Workload } from '#shared/model.ts';
import type { Change } from '#shared/wire/fleet.ts';
import { ownRecord } from '#shared/wire/checks.ts';
import type { WorkloadDocument } from '#shared/wire/workload.ts';
import { isSameData } from './canonical.ts';
import { checkClaims } from './check-claims.ts';
import { runningOperation } from './finish-operation.ts';
import { keptResolution, sameTemplate } from './instance-template.ts';
import { newMetadata } from './new-metadata.ts';
import { putOperation } from './put-operation.ts';
import { spareAdopted } from './spare-adopted.ts';
import type { Transaction } from './store.ts';

/** Ids are drawn before the transaction, which may run more than once. */
export interface PutWorkload {
  readonly document: WorkloadDocument;
  /** UUIDv7, for a workload that is new. */
  readonly workloadId: string;
  /** UUIDv7. */
  readonly operationId: string;
  readonly caller: string;
  /** The revision of the plan that is applied; zero: none. */
  readonly planRevision: number;
  /** Guests that were adopted go with their disks. */
  readonly destroyAdopted?: boolean;
}

export interface PutResult {
  readonly workloadId: string;
  readonly change: Change;
  /** The one under way, where this change adds nothing to it. Empty where there is nothing to carry out. */
  readonly operationId: string;
}

/**
 * Makes a workload as one document says; a document that changes nothing writes nothing. The generation
 * grows when the spec changes, and with labels alone nothing has to be carried out. aborted: the workload
 * is not at the revision that was expected; failed-precondition: it is being deleted; reason adopted: fewer
 * copies than guests of it that were there before Drover, or more.
 */
export function putWorkload(tx: Transaction, put: PutWorkload, nowMs: number): PutResult {
  const { document, caller } = put;
  const { project, name } = document;
  const before = tx.named('workload', name, project);
  checkExpectations(before, put);
  if (before === undefined) return createWorkload(tx, put, nowMs);

  const { id } = before.metadata;
  const { labels, annotations, spec } = document;
  const isSameSpec = isSameData(before.spec, spec);
  const isSameHead = isSameData([before.metadata.labels, before.metadata.annotations], [labels, annotations]);
  const underWay = isSameSpec ? (runningOperation(tx, name, project)?.id ?? '') : '';
  if (isSameSpec && isSameHead) return { workloadId: id, change: 'unchanged', operationId: underWay };

  const metadata = { ...before.metadata, labels, annotations };
  if (isSameSpec) {
    tx.put('workload', id, { ...before, metadata }, project);
    tellChange(tx, before, 'labels or annotations', caller, nowMs);
    return { workloadId: id, change: 'changed', operationId: underWay };
  }
  const workload = withSpec({ ...before, metadata }, spec);
  checkClaims(tx, { workload: name, project }, spec.volumes);
  const { replicas } = spec;
  spareAdopted(tx, { project, name, replicas, destroyAdopted: put.destroyAdopted ?? false }, nowMs);
  tx.put('workload', id, workload, project);
  const operation = { id: put.operationId, kind: 'apply', caller, total: spec.replicas } as const;
  putOperation(tx, workload, operation, nowMs);
  tellChange(tx, workload, `generation ${workload.metadata.generation}`, caller, nowMs);
  return { workloadId: id, change: 'changed', operationId: put.operationId };
}

/**
 * The workload with another spec, as its next generation. What image and runtime stand for is found out
 * once for each generation that replaces copies; a change of replicas or of limits alone keeps it.
 */
export function withSpec(workload: Workload, spec: Workload['spec']): Workload {
  const generation = workload.metadata.generation + 1;
  const isSame = sameTemplate(workload.spec, spec);
  const known = keptResolution(workload, spec);
  const before = { generation: workload.metadata.generation, spec: workload.spec };
  return {
    ...workload,
    spec,
    previous: isSame ? workload.previous : before,
    ...dropClaims(workload, spec),
    metadata: { ...workload.metadata, generation },
    resolved: known === undefined ? workload.resolved : { ...known, generation },
    resolveMessage: '',
  };
}

/** Volumes of a claim that goes are kept, or not, as it said last. */
function dropClaims(
  { spec: { volumes: before }, droppedClaims = {} }: Workload,
  { volumes: after }: Workload['spec'],
): Pick<Workload, 'droppedClaims'> {
  const isThere = (name: string): boolean => after.some((claim) => claim.name === name);
  const said = [
    ...Object.entries(droppedClaims),
    ...before.map(({ name, keep }) => [name, { keep }] as const),
  ].filter(([name]) => !isThere(name));
  return said.length === 0 ? {} : { droppedClaims: ownRecord(said) };
}

/** As its first document says. */
export const newWorkload = (
  { project, name, labels, annotations, spec }: WorkloadDocument,
  id: string,
  nowMs: number,
): Workload => ({
  metadata: newMetadata({ project, name, id, labels, annotations }, nowMs),
  spec,
  resolved: undefined,
  deletingSinceMs: undefined,
  resolveMessage: '',
});

function createWorkload(
  tx: Transaction,
  { document, workloadId, operationId, caller }: PutWorkload,
  nowMs: number,
): PutResult {
  const { project, name, spec } = document;
  const workload = newWorkload(document, workloadId, nowMs);
  // Volumes of an earlier workload of the name, which were kept.
  checkClaims(tx, { workload: name, project }, spec.volumes);
  tx.put('workload', workloadId, workload, project);
  putOperation(tx, workload, { id: operationId, kind: 'apply', caller, total: spec.replicas }, nowMs);
  const message = `${name} was created by ${caller}`;
  tx.event(
    { atMs: nowMs, type: 'workload.created', severity: 'info', subject: { workload: name }, message },
    project,
  );
  return { workloadId, change: 'created', operationId };
}

function checkExpectations(before: Workload | undefined, { document, planRevision }: PutWorkload): void {
  const { name, expectedRevision } = document;
  const revision = before?.metadata.revision ?? 0;
  const context = { subject: { workload: name }, nextStep: 'read it anew, then decide again' };
  if (expectedRevision > 0 && revision !== expectedRevision) {
    const found = before === undefined ? 'there is no such workload' : `it is at ${revision}`;
    throw new DroverError('aborted', `${name} was expected at revision ${expectedRevision}, but ${found}`, {
      ...context,
      reason: 'revision-changed',
    });
  }
  if (planRevision > 0 && revision > planRevision) {
    throw new DroverError('aborted', `${name} has changed since the plan of revision ${planRevision}`, {
      ...context,
      reason: 'plan-outdated',
      nextStep: 'plan again',
    });
  }
  if (before?.deletingSinceMs !== undefined) throw beingDeleted(name);
}

/** What a change of a workload that is going away gets. */
export const beingDeleted = (name: string): DroverError =>
  new DroverError('failed-precondition', `${name} is being deleted`, {
    subject: { workload: name },
    reason: 'being-deleted',
    nextStep: 'wait until it is gone, then apply again',
  });

/** Tells people that somebody changed a workload. */
export function tellChange(
  tx: Transaction,
  { metadata: { name, project } }: Workload,
  what: string,
  caller: string,
  nowMs: number,
): void {
  const message = `${name} was changed by ${caller}: ${what}`;
  tx.event(
    { atMs: nowMs, type: 'workload.changed', severity: 'info', subject: { workload: name }, message },
    project,
  );
}
