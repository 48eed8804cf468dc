import type { Filter } from '../plugin.ts';

export const nodeReady: Filter = {
  name: 'node-ready',
  outcome: 'not ready',
  fits: (_demand, node) => node.ready,
  reason: (_demand, node) => `not ready: ${node.notReadyBecause}`,
};
