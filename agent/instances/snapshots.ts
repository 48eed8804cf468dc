import { DroverError } from '#shared/errors.ts';
import type { InstanceId, Snapshot, SnapshotId, SnapshotKind } from '#shared/model.ts';
import type { InstanceRecord } from './record.ts';

export interface NewSnapshot {
  readonly id: SnapshotId;
  readonly name: string;
  readonly kind: SnapshotKind;
}

/**
 * Snapshots of whole instances: all its volumes under one id, at one moment. What the pools hold is the
 * truth; a whole set is found again from its parts, and half ones are garbage. Every call but list of all
 * throws unavailable while a pool of the instance does not answer.
 */
export interface Snapshots {
  /**
   * The same id again gives the same. already-exists: the name is taken, or the id by another instance;
   * unimplemented: a pool cannot; resource-exhausted; failed-precondition: the instance is being removed.
   */
  take(record: InstanceRecord, wanted: NewSnapshot, signal: AbortSignal): Promise<Snapshot>;
  /** Of one instance or of all, oldest first; of all only those in pools that answer. */
  list(of: InstanceRecord | undefined, signal: AbortSignal): Promise<Snapshot[]>;
  /** Sets back every volume that it holds and the instance still has. They are released. not-found. */
  setBack(record: InstanceRecord, id: SnapshotId, signal: AbortSignal): Promise<void>;
  /** Succeeds when there is none. failed-precondition: something was cloned from it. */
  remove(record: InstanceRecord, id: SnapshotId, signal: AbortSignal): Promise<void>;
  /** Whether the guest stands still for a snapshot of it, and will go on by itself. */
  isFreezing(id: InstanceId): boolean;
  /** Gives up what is under way for an instance that is being removed. */
  abandon(id: InstanceId): Promise<void>;
  /** Resolves when nothing is under way and every guest goes on; only after the lifetime's end. */
  idle(): Promise<void>;
  /** After a crash: lets go on what was frozen, and removes half of a set. Says what it cannot do. */
  recover(signal: AbortSignal): Promise<void>;
}

export const noSuchSnapshot = (instance: InstanceId, id: SnapshotId): DroverError =>
  new DroverError('not-found', `there is no snapshot ${id} of ${instance}`, {
    subject: { instance, snapshot: id },
  });
