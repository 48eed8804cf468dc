import { expect, it } from 'vitest';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { ensureFleet } from './ensure-fleet.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';

it('keeps its id for life, and its epoch never falls', async () => {
  await using stack = new AsyncDisposableStack();
  const store = await openStore({ journal: createMemoryJournal(), clock: createFakeClock() });
  stack.defer(() => store.close());
  const ensure = async (id: string, least?: number) =>
    (await store.transact((tx) => ensureFleet(tx, id, least))).result;
  expect(await ensure('one')).toEqual({ fleetId: 'one', epoch: 1 });
  expect(await ensure('other', 3)).toEqual({ fleetId: 'one', epoch: 3 });
  expect(await ensure('other', 2)).toEqual({ fleetId: 'one', epoch: 3 });
  expect(await ensure('other')).toEqual({ fleetId: 'one', epoch: 3 });
});
