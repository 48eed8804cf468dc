import type { Clock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';

const measureMs = 250;

export interface StallWatch {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** What grows while the work gets on; throws while there is nothing, for the work may wait its turn. */
  readonly measure: () => Promise<number>;
  readonly onMeasured: (measured: number) => void;
  /** Work that adds nothing for this long is ended. */
  readonly stallMs: number;
}

/**
 * Does the work, and ends it by its signal once nothing grows any more: a peer that keeps the connection and
 * sends nothing would hold it until the last deadline of all. deadline-exceeded when that was so.
 */
export async function unlessStalled<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { clock, signal, measure, onMeasured, stallMs }: StallWatch,
): Promise<T> {
  const stalled = new AbortController();
  let largest = -1;
  let grewAtMs = Infinity;

  function take(measured: number): void {
    onMeasured(measured);
    if (measured > largest) grewAtMs = clock.monotonicMs();
    largest = Math.max(largest, measured);
  }
  const stop = clock.every(measureMs, () => {
    measure().then(take, () => undefined);
    if (clock.monotonicMs() - grewAtMs < stallMs) return;
    const message = `nothing came for ${Math.round(stallMs / 1000)} s, after ${largest} bytes`;
    stalled.abort(new DroverError('deadline-exceeded', message));
  });
  try {
    return await work(AbortSignal.any([signal, stalled.signal]));
  } catch (error) {
    throw stalled.signal.aborted && !signal.aborted ? stalled.signal.reason : error;
  } finally {
    stop();
  }
}
