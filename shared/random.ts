import { randomBytes, randomInt, randomUUID, randomUUIDv7 } from 'node:crypto';

/** Random is the only way to chance, so that a simulation can own it. */
export interface Random {
  /** UUIDv7, sorts by time. */
  uuidV7(): string;
  uuidV4(): string;
  /** At least 0 and below 1. For jitter, never for secrets. */
  fraction(): number;
  /** Cryptographically strong. */
  bytes(count: number): Uint8Array;
}

export const systemRandom: Random = {
  uuidV7: () => randomUUIDv7(),
  uuidV4: () => randomUUID(),
  fraction: () => randomInt(0, 2 ** 32) / 2 ** 32,
  bytes: (count) => new Uint8Array(randomBytes(count)),
};
