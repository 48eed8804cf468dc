import { DroverError } from '#shared/errors.ts';
import type { InstanceId } from '#shared/model.ts';

/** Work on the snapshots of an instance: one piece at a time for each. */
export interface SnapshotTurns {
  /** Begins when what was there before is over; its signal aborts also with end and with the agent. */
  next<T>(id: InstanceId, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
  /** Gives up all work for the instance, which is being removed, and resolves when it is over. */
  end(id: InstanceId): Promise<void>;
  /** Resolves when all work is over; only after the lifetime's end. */
  idle(): Promise<void>;
}

interface Turn {
  readonly last: Promise<unknown>;
  readonly ending: AbortController;
}

export function createSnapshotTurns(lifetime: AbortSignal): SnapshotTurns {
  const turns = new Map<InstanceId, Turn>();
  return {
    next(id, signal, work) {
      const before = turns.get(id);
      const ending = before?.ending ?? new AbortController();
      const own = AbortSignal.any([signal, ending.signal, lifetime]);
      const run = async () => {
        await before?.last;
        own.throwIfAborted();
        return work(own);
      };
      const mine = run();
      const last = mine
        .catch(() => undefined)
        .finally(() => {
          if (turns.get(id)?.last === last) turns.delete(id);
        });
      turns.set(id, { last, ending });
      return mine;
    },
    async end(id) {
      const turn = turns.get(id);
      turn?.ending.abort(isLeaving(id));
      await turn?.last;
    },
    async idle() {
      await Promise.all([...turns.values()].map(({ last }) => last));
    },
  };
}

export const isLeaving = (id: InstanceId): DroverError =>
  new DroverError('failed-precondition', `instance ${id} is being removed from this node`, {
    subject: { instance: id },
    reason: 'removed',
  });
