import { systemClock } from '#shared/clock.ts';
import type { NodeName } from '#shared/model.ts';
import { backendConformance } from '../conformance/backend.ts';
import { createFakeClusters } from './cluster-backend.ts';
import { openFakeStore } from './cluster-records.ts';

backendConformance('fake clusters', async () => {
  const world = await openFakeStore({ clusters: ['lab'] });
  const clusters = createFakeClusters({ clock: systemClock, storeOf: () => world.store });
  const [name = '' as NodeName] = await clusters.join('lab', 'pve1');
  const node = clusters.fleet.nodes.get(name);
  return {
    backend: clusters.backend,
    node: name,
    cut: async () => node?.disconnect(),
    restore: async () => node?.connect(),
    [Symbol.asyncDispose]: async () => {
      await clusters.backend.close();
      await world[Symbol.asyncDispose]();
    },
  };
});
