import { rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { type Clock, systemClock } from '#shared/clock.ts';
import { DroverError } from '#shared/errors.ts';
import type { SnapshotId } from '#shared/model.ts';
import { systemRandom } from '#shared/random.ts';
import { createAgentWorld, phaseOf, reach, runInstance } from '../../test/fakes/agent-world.ts';

const { signal } = new AbortController();

it('a guest that was left frozen goes on as soon as the list of them can be read', async () => {
  const after: Clock['after'] = (delayMs, work) => systemClock.after(Math.min(delayMs, 300), work);
  await using world = await createAgentWorld({ clock: { ...systemClock, after } });
  const instances = await world.open();
  const id = await runInstance(world, instances);
  await instances.close();
  const dying = await world.open((at) => {
    if (at === 'after guest.freeze') throw new Error('killed');
  });
  // What a killed agent never comes to.
  world.host.failNext('resume', new DroverError('deadline-exceeded', 'the tool hangs'));
  const wanted = { id: systemRandom.uuidV7() as SnapshotId, name: 'cut' };
  await expect(dying.createSnapshot(world.order(id, 0), wanted, signal)).rejects.toBeDefined();
  await dying.close();
  const frozen = path.join(world.folder, 'state/snapshots/frozen');
  await rename(frozen, `${frozen}.aside`);
  await writeFile(frozen, 'no directory');
  const next = await world.open();
  expect(phaseOf(next, id)).toBe('paused');
  await rm(frozen);
  await rename(`${frozen}.aside`, frozen);
  await reach(next, id, 'running');
});
