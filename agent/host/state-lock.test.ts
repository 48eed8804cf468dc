import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { lockDirectory } from './state-lock.ts';

describe('the lock of a directory', () => {
  it('is held by one, and passes on', async () => {
    const directory = await mkdtemp(path.join(os.tmpdir(), `drover-lock-${'x'.repeat(90)}`));
    try {
      const release = await lockDirectory(directory, 'a');
      await expect(lockDirectory(directory, 'b')).rejects.toMatchObject({ kind: 'failed-precondition' });
      await release();
      await (await lockDirectory(directory, 'c'))();
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});
