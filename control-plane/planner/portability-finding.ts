import type { Instance, Network, NodeName, WorkloadSpec } from '#shared/model.ts';
import type { NodeView } from '../scheduler/plugin.ts';

/** What becomes of one thing of a workload under another runtime. */
export interface Finding {
  /** "id map", "host name", "image". */
  readonly subject: string;
  readonly outcome: 'carries over' | 'changes' | 'stands in the way';
  /** As it is, for people. Empty: there is nothing of it. */
  readonly before: string;
  /** As it would be. Empty: there would be nothing of it. */
  readonly after: string;
  /** What a person does about it. Empty: nothing. */
  readonly advice: string;
}

export interface PortabilityInput {
  readonly workload: string;
  readonly spec: WorkloadSpec;
  readonly from: string;
  readonly to: string;
  /** Its copies, with what is their own. */
  readonly instances: readonly Pick<Instance, 'metadata' | 'spec' | 'node'>[];
  /** Those that its spec names, as far as there are such. */
  readonly networks: readonly Network[];
  /** All nodes. */
  readonly nodes: readonly NodeView[];
  /** Of the runtime that is asked about, by node: "9.2.11". */
  readonly versions: ReadonlyMap<NodeName, string>;
}

/** Containers of a cluster; the others are of a plain host. */
export const isOfCluster = (runtime: string): boolean => runtime === 'proxmox-lxc';

export const targetsOf = ({ nodes, to }: Pick<PortabilityInput, 'nodes' | 'to'>): NodeView[] =>
  nodes.filter(({ runtimes }) => runtimes.has(to));

export const carries = (subject: string, before: string, after = before, advice = ''): Finding => ({
  subject,
  outcome: 'carries over',
  before,
  after,
  advice,
});

export const changes = (subject: string, before: string, after: string, advice = ''): Finding => ({
  subject,
  outcome: 'changes',
  before,
  after,
  advice,
});

export const obstructs = (subject: string, before: string, after: string, advice: string): Finding => ({
  subject,
  outcome: 'stands in the way',
  before,
  after,
  advice,
});

/** None where it is not so. */
export const when = (isSo: boolean, finding: () => Finding): Finding[] => (isSo ? [finding()] : []);

/** "a, b, c, and 4 more". */
export function namesOf(names: readonly string[]): string {
  const shown = names.slice(0, 3).join(', ');
  return names.length > 3 ? `${shown}, and ${names.length - 3} more` : shown;
}
