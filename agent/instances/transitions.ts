import type { Digest, ExitStatus, InstanceId, InstanceSpec, Order, SnapshotId } from '#shared/model.ts';
import { plainGuestConfig } from '#shared/wire/guest-config.ts';
import { emptyAssignment } from '#shared/wire/network.ts';
import type { GuestState } from '../drivers/driver.ts';
import { formerVolumes } from './data-volumes.ts';
import type { Housing } from './housing.ts';
import { differInLimitsAlone, remember } from './orders.ts';
import type { IdRange } from '../volumes/volume-driver.ts';
import { present } from './present.ts';
import type { HeldVolume, InstanceRecord, RememberedOrder } from './record.ts';
import { afterExit, type RestartDecision } from './supervise.ts';

/** Every way in which a record changes. All pure; the caller writes what comes out. */

type Seen = GuestState | 'absent' | undefined;

/** A first or a newer generation. What ran for the older one is stopped with that one's grace. */
export function ensured(
  order: Order,
  spec: InstanceSpec,
  body: string,
  now: {
    readonly record: InstanceRecord | undefined;
    readonly housing: Housing;
    readonly volumes: readonly HeldVolume[];
    readonly adopt: boolean;
    readonly atMs: number;
  },
): InstanceRecord {
  const { record, housing, adopt, atMs } = now;
  const { rootPool, range, imageAsIs } = housing;
  const graceMs = record?.spec.stopGraceMs ?? spec.stopGraceMs;
  const fresh: InstanceRecord = {
    id: order.instanceId,
    generation: order.generation,
    spec,
    range,
    imageAsIs,
    rootPool,
    imageDigest: record?.imageDigest,
    volumes: joined(now.volumes, record?.volumes ?? []),
    networked: adopt || record?.networked === true || spec.assigned.attachments.length > 0,
    replaced: record && replacedBy(record, spec),
    limitsPending: false,
    rollback: record?.rollback,
    rolledBack: record?.rolledBack,
    intent: 'run',
    orders: record?.orders ?? [],
    run: adopt ? 'started' : 'pending',
    bootId: record?.bootId ?? '',
    startedAtMs: adopt ? atMs : 0,
    exit: record?.exit,
    final: false,
    restarts: 0,
    attempts: 0,
    nextStartAtMs: 0,
    stopping: record === undefined ? undefined : (record.stopping ?? { deadlineMs: atMs + graceMs, graceMs }),
  };
  return answered(fresh, { order, body, guest: undefined });
}

/** The guest is gone and its volumes are as they were, or as they could be. */
export function rolledBack(record: InstanceRecord, snapshotId: SnapshotId, error: string): InstanceRecord {
  const runs = record.intent === 'run';
  return {
    ...record,
    rollback: undefined,
    rolledBack: { snapshotId, error },
    run: runs ? 'pending' : 'ended',
    final: !runs,
    stopping: undefined,
  };
}

/** A newer generation whose limits alone are others: the run goes on. */
export function adjusted(
  order: Order,
  spec: InstanceSpec,
  body: string,
  { record, guest }: { readonly record: InstanceRecord; readonly guest: GuestState },
): InstanceRecord {
  const { generation } = order;
  const next: InstanceRecord = { ...record, generation, spec, limitsPending: true, restarts: 0, attempts: 0 };
  return answered(next, { order, body, guest });
}

/** Nothing but limits changes, or there was no run yet: then there is nothing to keep of before. */
function replacedBy(record: InstanceRecord, next: InstanceSpec): InstanceRecord['replaced'] {
  const { replaced, bootId, generation, spec } = record;
  if (replaced !== undefined) return replaced;
  return bootId === '' || differInLimitsAlone(spec, next) ? undefined : { generation, spec };
}

function joined(volumes: readonly HeldVolume[], former: readonly HeldVolume[]): HeldVolume[] {
  const kept = former.filter((old) => !volumes.some(({ id, pool }) => id === old.id && pool === old.pool));
  return [...volumes, ...kept];
}

function answered(
  record: InstanceRecord,
  now: { readonly order: Order; readonly body: string; readonly guest: GuestState | undefined },
): InstanceRecord {
  const { order, body, guest } = now;
  const answer = present({ ...bare(record.id), record, guest });
  const orders = remember(record.orders, { requestId: order.requestId, bodyDigest: body, answer });
  return { ...record, orders };
}

/** A stop or a removal. The first one's grace goes on; a removal is never taken back. */
export function ended(
  kind: 'stop' | 'remove',
  record: InstanceRecord,
  order: Order,
  ask: { readonly graceMs: number | undefined; readonly body: string; readonly atMs: number },
): InstanceRecord {
  const graceMs = ask.graceMs ?? record.spec.stopGraceMs;
  const asked: RememberedOrder = { requestId: order.requestId, bodyDigest: ask.body, answer: undefined };
  return {
    ...record,
    generation: Math.max(record.generation, order.generation),
    intent: record.intent === 'remove' ? 'remove' : kind,
    stopping: record.stopping ?? { deadlineMs: ask.atMs + graceMs, graceMs },
    orders: remember(record.orders, asked),
  };
}

/** Written before the start, so that a guest is never started twice for one run. */
export function started(
  record: InstanceRecord,
  made: { readonly bootId: string; readonly atMs: number; readonly imageDigest: Digest | undefined },
): InstanceRecord {
  const { bootId, atMs, imageDigest } = made;
  const again = record.run === 'ended' ? 1 : 0;
  return {
    ...record,
    imageDigest,
    volumes: record.volumes.filter((one) => !formerVolumes(record).includes(one)),
    replaced: undefined,
    limitsPending: false,
    run: 'started',
    bootId,
    startedAtMs: atMs,
    final: false,
    restarts: record.restarts + again,
    attempts: record.attempts + again,
    nextStartAtMs: 0,
    stopping: undefined,
  };
}

export const adopted = (record: InstanceRecord, guest: GuestState, bootId: string): InstanceRecord => ({
  ...record,
  run: 'started',
  bootId,
  startedAtMs: guest.startedAtMs,
  final: false,
  nextStartAtMs: 0,
  stopping: undefined,
});

/** An end that nobody ordered. */
export function exited(
  record: InstanceRecord,
  seen: Seen,
  now: { readonly bootId: string; readonly atMs: number; readonly fraction: number },
): { record: InstanceRecord; decision: RestartDecision } {
  const exit = exitOf(seen, now.atMs);
  const rebooted = record.bootId !== now.bootId;
  const ranMs = exit.unknown ? 0 : exit.atMs - record.startedAtMs;
  const end = { exit, ranMs, rebooted };
  const decision = afterExit(record.spec.restart, end, record.attempts, now.fraction);
  const { final, attempts, delayMs } = decision;
  const nextStartAtMs = final ? 0 : now.atMs + delayMs;
  return { decision, record: { ...record, run: 'ended', exit, final, attempts, nextStartAtMs } };
}

/** The end that was ordered: orders that waited for it get their answer. */
export function stopped(record: InstanceRecord, seen: Seen, atMs: number): InstanceRecord {
  const exit = record.run === 'started' ? exitOf(seen, atMs) : record.exit;
  const { id } = record;
  const next: InstanceRecord = {
    ...record,
    run: 'ended',
    exit,
    final: true,
    nextStartAtMs: 0,
    stopping: undefined,
  };
  const answer = present({ ...bare(id), record: next, guest: 'absent' });
  return { ...next, orders: next.orders.map((order) => ({ ...order, answer: order.answer ?? answer })) };
}

/** Stands in for a record that is lost or damaged, so that what it spoke of can be stopped and removed. */
export function standIn(
  id: InstanceId,
  runtime: string,
  { range, rootPool = '' }: { readonly range?: IdRange | undefined; readonly rootPool?: string } = {},
): InstanceRecord {
  const resources = { cpuMillicores: 0, memoryMib: 0, diskMib: 0, pids: 4096 };
  const spec: InstanceSpec = {
    runtime,
    image: '',
    command: [],
    env: {},
    resources,
    network: 'none',
    restart: { policy: 'never', maxAttempts: 0 },
    stopGraceMs: 10_000,
    displayName: '',
    workload: '',
    user: '',
    workingDir: '',
    imageCredential: '',
    ...plainGuestConfig,
    assigned: emptyAssignment,
  };
  return {
    id,
    generation: 0,
    spec,
    range,
    imageAsIs: range !== undefined,
    rootPool,
    imageDigest: undefined,
    volumes: [],
    networked: true,
    replaced: undefined,
    limitsPending: false,
    rollback: undefined,
    rolledBack: undefined,
    intent: 'stop',
    orders: [],
    run: 'started',
    bootId: '',
    startedAtMs: 0,
    exit: undefined,
    final: false,
    restarts: 0,
    attempts: 0,
    nextStartAtMs: 0,
    stopping: undefined,
  };
}

/** A code that is lost stays lost. */
function exitOf(seen: Seen, atMs: number): ExitStatus {
  const known = seen === undefined || seen === 'absent' ? undefined : seen.exit;
  return known ?? { code: 0, unknown: true, outOfMemory: false, atMs };
}

const bare = (id: InstanceId) => ({
  id,
  failure: undefined,
  limitsFailure: '',
  notEnforced: [],
  addresses: [],
  damage: '',
});
