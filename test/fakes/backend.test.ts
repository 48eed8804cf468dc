import { systemClock } from '#shared/clock.ts';
import { backendConformance } from '../conformance/backend.ts';
import { createFakeFleet } from './backend.ts';

backendConformance('fake', async () => {
  const { backend, addNode } = createFakeFleet({ clock: systemClock });
  const node = addNode('h1');
  return {
    backend,
    node: node.name,
    cut: async () => node.disconnect(),
    restore: async () => node.connect(),
    [Symbol.asyncDispose]: () => backend.close(),
  };
});
