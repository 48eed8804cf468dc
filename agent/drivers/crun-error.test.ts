import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ErrorKind } from '#shared/errors.ts';
import { kindOfCrunMessage, messageOfCrun } from './crun-error.ts';

const golden = path.join(import.meta.dirname, '../../test/golden/crun-1.8.1');

describe('the words of crun 1.8.1', () => {
  const rows: readonly (readonly [string, ErrorKind])[] = [
    ['already-exists', 'already-exists'],
    ['start-absent', 'not-found'],
    ['state-absent', 'not-found'],
    ['kill-absent', 'not-found'],
    ['missing-program', 'invalid-argument'],
    ['exec-missing', 'invalid-argument'],
    ['started-twice', 'failed-precondition'],
    ['delete-running', 'failed-precondition'],
  ];
  it.each(rows)('%s is %s', (name, kind) => {
    const message = messageOfCrun(readFileSync(path.join(golden, `${name}.txt`), 'utf8'));
    expect({ message, kind: kindOfCrunMessage(message) }).toEqual({ message, kind });
    expect(message).not.toMatch(/[{}\n]/);
  });

  it('keeps what it cannot read on one line, short and without control characters', () => {
    const message = messageOfCrun(`kill\u0001 {{{ \u001b[31m\n"quoted"\n${'x'.repeat(5000)}`);
    expect(kindOfCrunMessage(message)).toBe('internal');
    expect(message).not.toMatch(/\p{Cc}/u);
    expect(message.length).toBeLessThanOrEqual(1000);
  });
});
