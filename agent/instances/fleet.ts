import { DroverError } from '#shared/errors.ts';
import { readIfThere, writeDurably } from '../host/durable-file.ts';

/** Whose orders this node takes, and the highest epoch that it has seen of that fleet. */
export interface Fleet {
  seen(): { readonly fleetId: string; readonly fleetEpoch: number };
  /** Resolves when the epoch is durable; a lower one changes nothing. */
  raise(epoch: number): Promise<void>;
}

/** data-loss: the file cannot be read, so an old control plane could not be told from the present one. */
export async function openFleet(file: string, fleetId: string): Promise<Fleet> {
  let { fleetEpoch } = await readEpoch(file, fleetId);
  let tail = Promise.resolve();

  async function write(epoch: number): Promise<void> {
    if (epoch <= fleetEpoch) return;
    await writeDurably(file, `${JSON.stringify({ fleetId, fleetEpoch: epoch })}\n`);
    fleetEpoch = epoch;
  }

  return {
    seen: () => ({ fleetId, fleetEpoch }),
    raise(epoch) {
      if (epoch <= fleetEpoch) return Promise.resolve();
      const mine = tail.then(() => write(epoch));
      tail = mine.catch(() => undefined); // The one who asked hears of it; those behind must not.
      return mine;
    },
  };
}

async function readEpoch(file: string, fleetId: string): Promise<{ fleetEpoch: number }> {
  const text = await readIfThere(file);
  if (text === undefined) return { fleetEpoch: 0 };
  try {
    const found = JSON.parse(text) as { fleetId: unknown; fleetEpoch: unknown };
    // Another fleet's epochs say nothing of this one's.
    if (found.fleetId !== fleetId) return { fleetEpoch: 0 };
    if (Number.isSafeInteger(found.fleetEpoch)) return { fleetEpoch: found.fleetEpoch as number };
  } catch {
    // Falls through to the same answer as any other content that is not ours.
  }
  throw new DroverError('data-loss', `${file} is not what an agent writes`, {
    nextStep: 'remove the file once it is certain that no older copy of the control plane runs',
  });
}
