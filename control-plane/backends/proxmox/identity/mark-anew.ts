import type { InstanceId } from '#shared/model.ts';
import type { ClusterTools } from '../cluster-memory.ts';
import type { Look } from '../life/look.ts';
import type { OwnGuests } from '../life/own-guests.ts';
import type { Work } from '../life/work.ts';
import type { Marking } from './marking.ts';

/** Completes our mark on a guest, when its turn has come; nothing where it is not ours any more by then. */
export type MarkAnew = (id: InstanceId) => Promise<void>;

export const createMarkAnew =
  (
    { signal }: Pick<ClusterTools, 'signal'>,
    parts: {
      readonly own: OwnGuests;
      readonly look: Look;
      readonly marking: Marking;
      readonly work: Work;
    },
  ): MarkAnew =>
  (id) => {
    const { own, look, marking, work } = parts;
    return work.alone(id, async () => {
      const record = own.record(id);
      if (record === undefined || record.intent === 'removed') return;
      await marking.complete(record, await look.config(record, signal), signal);
    });
  };
