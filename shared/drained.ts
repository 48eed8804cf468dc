import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** Resolves when the stream has room again, or never will have; leaves no listener behind. */
export async function drained(stream: Writable): Promise<void> {
  const settled = new AbortController();
  const options = { signal: settled.signal };
  try {
    await Promise.race([once(stream, 'drain', options), once(stream, 'close', options)]);
  } finally {
    settled.abort();
  }
}
