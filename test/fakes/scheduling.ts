import type { NodeName } from '#shared/model.ts';
import type { Demand, NodeView } from '../../control-plane/scheduler/plugin.ts';

/** A demand that fits on `nodeView()`, but for what a test changes. */
export const demand = (changes: Partial<Demand> = {}): Demand => ({
  workload: 'web',
  runtime: 'crun',
  image: '',
  resources: { cpuMillicores: 500, memoryMib: 512, diskMib: 1024, pids: 4096 },
  placement: { require: [], strategy: 'spread' },
  ...changes,
});

export const demandOf = (resources: Partial<Demand['resources']>): Demand =>
  demand({ resources: { ...demand().resources, ...resources } });

/** An empty, ready node with 4 cores, 8 GiB of memory and 100 GiB of disk, but for what a test changes. */
export const nodeView = (name: string, changes: Partial<NodeView> = {}): NodeView => ({
  name: name as NodeName,
  ready: true,
  notReadyBecause: '',
  cordoned: false,
  runtimes: new Set(['crun']),
  labels: {},
  cpuMillicores: 4000,
  memoryMib: 8192,
  diskMib: 102_400,
  cpuFreeMillicores: 4000,
  memoryFreeMib: 8192,
  diskFreeMib: 102_400,
  copies: new Map(),
  images: new Set(),
  ...changes,
});
