import type { Instance, Network, WorkloadSpec } from '#shared/model.ts';
import type { NodeView } from '../scheduler/plugin.ts';

/** What becomes of one thing of a workload under another runtime. */
export interface Finding {
  /** "id map", "hostname", "image". */
  readonly subject: string;
  readonly outcome: 'carries over' | 'changes' | 'stands in the way';
  /** For people. */
  readonly detail: string;
}

export interface PortabilityInput {
  readonly spec: WorkloadSpec;
  readonly from: string;
  readonly to: string;
  /** Its copies, with what is their own. */
  readonly instances: readonly Pick<Instance, 'metadata' | 'spec' | 'node'>[];
  /** Those that its spec names. */
  readonly networks: readonly Network[];
  /** All nodes. */
  readonly nodes: readonly NodeView[];
}

/** Containers with an init and a root of their own, of a plain host and of a cluster. */
export const isOfCluster = (runtime: string): boolean => runtime === 'proxmox-lxc';

export const targetsOf = ({ nodes, to }: Pick<PortabilityInput, 'nodes' | 'to'>): NodeView[] =>
  nodes.filter(({ runtimes }) => runtimes.has(to));

/** None where it is not so. */
export const found = (
  subject: string,
  outcome: Finding['outcome'],
  detail: string,
  isSo: boolean | string = true,
): Finding[] => (isSo === false || isSo === '' ? [] : [{ subject, outcome, detail }]);
