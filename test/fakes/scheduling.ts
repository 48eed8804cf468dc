import type { NodeName } from '#shared/model.ts';
import type { Demand, NodeView, PoolView } from '../../control-plane/scheduler/plugin.ts';

/** A demand that fits on `nodeView()`, but for what a test changes. */
export const demand = (changes: Partial<Demand> = {}): Demand => ({
  workload: 'web',
  runtime: 'crun',
  image: '',
  resources: { cpuMillicores: 500, memoryMib: 512, diskMib: 1024, pids: 4096 },
  placement: { require: [], strategy: 'spread' },
  storage: [{ pool: '', mib: 1024, isNew: true }],
  anchor: undefined,
  features: [],
  devices: [],
  ports: [],
  holder: '',
  ...changes,
});

export const demandOf = (resources: Partial<Demand['resources']>): Demand =>
  demand({
    resources: { ...demand().resources, ...resources },
    storage: [{ pool: '', mib: resources.diskMib ?? demand().resources.diskMib, isNew: true }],
  });

/** Runtimes that can do nothing special. */
export const runtimes = (...names: string[]): NodeView['runtimes'] =>
  new Map(names.map((name) => [name, new Set()]));

/** A usable pool with 100 GiB free, but for what a test changes. */
export const pool = (changes: Partial<PoolView> = {}): PoolView => ({
  name: 'local',
  unusableBecause: '',
  fullBecause: '',
  freeMib: 102_400,
  ...changes,
});

/** An empty, ready node with 4 cores, 8 GiB of memory and 100 GiB of disk, but for what a test changes. */
export const nodeView = (name: string, changes: Partial<NodeView> = {}): NodeView => ({
  name: name as NodeName,
  ready: true,
  notReadyBecause: '',
  cordoned: false,
  runtimes: runtimes('crun'),
  labels: {},
  cpuMillicores: 4000,
  memoryMib: 8192,
  cpuFreeMillicores: 4000,
  memoryFreeMib: 8192,
  pools: [pool()],
  allowedDevices: new Set(),
  allowsPrivileged: false,
  ports: [],
  copies: new Map(),
  images: new Set(),
  ...changes,
});
