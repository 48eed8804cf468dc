/** What several do to one template at a time: each counts what the others did since it looked. */
import { describe, expect, it } from 'vitest';
import { createFakeClock } from '../../test/fakes/clock.ts';
import { createMemoryJournal } from './memory.ts';
import { openStore } from './open-store.ts';
import {
  beginTemplateRemoval,
  claimTemplate,
  patchTemplate,
  type TemplateClaim,
} from './put-cluster-template.ts';

const key = 'lab/golden';
const claim = (goneVmid?: number): TemplateClaim => ({
  cluster: 'lab',
  name: 'golden',
  kind: 'lxc',
  source: { node: 'pve1', vmid: 100, snapshot: '' },
  goneVmid,
  chooseVmid: (claimed) => [900, 901, 902].find((vmid) => !claimed.has(vmid)) ?? 0,
});

async function world() {
  const store = await openStore({ journal: createMemoryJournal(), clock: createFakeClock() });
  return {
    run: async <T>(body: Parameters<typeof store.transact<T>>[0]) => (await store.transact(body)).result,
    now: () => store.snapshot().get('cluster-template', key),
    [Symbol.asyncDispose]: () => store.close(),
  };
}

const ready = { state: 'ready', message: '' } as const;

describe('a template that somebody removed in the cluster', () => {
  it('has one new number, though two found it gone', async () => {
    await using one = await world();
    await one.run((tx) => claimTemplate(tx, claim(), 1));
    await one.run((tx) => patchTemplate(tx, key, 'making', ready, 2));
    const first = await one.run((tx) => claimTemplate(tx, claim(900), 3));
    expect(first).toMatchObject({ vmid: 901, state: 'making' });
    const second = await one.run((tx) => claimTemplate(tx, claim(900), 4));
    expect(second).toMatchObject({ vmid: 901, state: 'making' });
    await one.run((tx) => patchTemplate(tx, key, 'making', ready, 5));
    await expect(one.run((tx) => claimTemplate(tx, claim(900), 6))).rejects.toMatchObject({
      kind: 'already-exists',
    });
  });

  it('is not made again while it is being removed here', async () => {
    await using one = await world();
    await one.run((tx) => claimTemplate(tx, claim(), 1));
    await one.run((tx) => patchTemplate(tx, key, 'making', ready, 2));
    await one.run((tx) => beginTemplateRemoval(tx, key, 3));
    await expect(one.run((tx) => claimTemplate(tx, claim(900), 4))).rejects.toMatchObject({
      kind: 'already-exists',
    });
    expect(one.now()).toMatchObject({ state: 'removing', wasReady: true });
  });
});

describe('a template that is to be removed', () => {
  it.each(['ready', 'failed', 'making'] as const)('stays so when its making ends as %s', async (state) => {
    await using one = await world();
    await one.run((tx) => claimTemplate(tx, claim(), 1));
    await one.run((tx) => beginTemplateRemoval(tx, key, 2));
    expect(
      await one.run((tx) => patchTemplate(tx, key, 'making', { state, message: '' }, 3)),
    ).toBeUndefined();
    expect(one.now()).toMatchObject({ state: 'removing', wasReady: false });
    await one.run((tx) => patchTemplate(tx, key, 'removing', { state: 'failed', message: 'held' }, 4));
    expect(one.now()).toMatchObject({ state: 'failed', message: 'held' });
    expect(one.now()).not.toHaveProperty('wasReady');
  });
});
