import { expect, it } from 'vitest';
import { afterEnd } from './restarts.ts';

const always = { policy: 'always', maxAttempts: 0 } as const;
it.each([
  {
    name: 'never',
    restart: { policy: 'never', maxAttempts: 0 } as const,
    attempts: 0,
    delayMs: 0,
    final: true,
  },
  { name: 'the first time', restart: always, attempts: 0, delayMs: 10_000, final: false },
  { name: 'the third time', restart: always, attempts: 2, delayMs: 40_000, final: false },
  { name: 'at last every five minutes', restart: always, attempts: 40, delayMs: 300_000, final: false },
  {
    name: 'after a failure, as every end may be one',
    restart: { policy: 'on-failure', maxAttempts: 0 } as const,
    attempts: 0,
    delayMs: 10_000,
    final: false,
  },
  {
    name: 'after all its attempts',
    restart: { policy: 'always', maxAttempts: 2 } as const,
    attempts: 2,
    delayMs: 0,
    final: true,
  },
])('waits, or does not: $name', ({ restart, attempts, delayMs, final }) => {
  expect(afterEnd(restart, 1000, attempts, 0.5)).toMatchObject({ delayMs, final });
});

it('forgets what was before a good run', () => {
  expect(afterEnd(always, 700_000, 9, 0.5)).toEqual({ final: false, delayMs: 10_000, attempts: 1 });
});

it('spreads the waits by a fifth', () => {
  expect([0, 1].map((fraction) => afterEnd(always, 0, 0, fraction).delayMs)).toEqual([8000, 12_000]);
});
