import { DroverError } from '#shared/errors.ts';
import { demandOf } from '../demand.ts';
import { knownRuntimes } from '../scheduler/check-routing.ts';
import { schedule } from '../scheduler/schedule.ts';
import { type ConversionStep, conversionSteps } from './cold-conversion.ts';
import {
  changes,
  type Finding,
  isOfCluster,
  namesOf,
  obstructs,
  type PortabilityInput,
  targetsOf,
} from './portability-finding.ts';
import { networkFindings } from './portable-network.ts';
import { programFindings } from './portable-program.ts';
import { rightsFindings } from './portable-rights.ts';
import { storageFindings } from './portable-storage.ts';

export interface PortabilityReport {
  readonly findings: readonly Finding[];
  /** How its copies would be turned into others, one after the other. */
  readonly steps: readonly ConversionStep[];
}

/**
 * What would become of a workload under another runtime: what carries over, what changes, what stands in the
 * way; and how it would get there. Pure. invalid-argument: there is no such runtime, or it has it already;
 * unimplemented: nothing moves between these two.
 */
export function portabilityReport(input: PortabilityInput): PortabilityReport {
  checkPair(input);
  return {
    findings: [
      nodes(input),
      ...rightsFindings(input),
      ...storageFindings(input),
      ...networkFindings(input),
      ...programFindings(input),
    ],
    steps: conversionSteps(input),
  };
}

/** What keeps two runtimes from taking over each other's guests. */
const whyNot: Readonly<Record<string, string>> = {
  crun: 'crun makes its root from the image again for each copy: there is no root to take along',
  'proxmox-vm': 'a virtual machine has a kernel and disks of its own, a container a root of files',
};

function checkPair({ from, to }: PortabilityInput): void {
  const subject = { field: 'runtime' };
  if (!(knownRuntimes as readonly string[]).includes(to)) {
    const wanted = knownRuntimes.join(', ');
    throw new DroverError('invalid-argument', `there is no runtime "${to}"; wanted ${wanted}`, { subject });
  }
  if (from === to) throw new DroverError('invalid-argument', `its runtime is ${to} already`, { subject });
  const because = whyNot[from] ?? whyNot[to];
  if (because === undefined) return;
  throw new DroverError('unimplemented', `nothing moves from ${from} to ${to}: ${because}`, {
    subject,
    nextStep: `apply it under another name with "runtime: ${to}", and copy its data yourself`,
  });
}

/** As the scheduler would choose, were it asked for the workload as it is under the other runtime. */
function nodes(input: PortabilityInput): Finding {
  const { workload, spec, to, nodes: all, networks, instances } = input;
  const now = namesOf([...new Set(instances.flatMap(({ node }) => node ?? []))].toSorted());
  if (targetsOf(input).length === 0) {
    const advice = isOfCluster(to)
      ? 'drover cluster add a cluster whose nodes have containers'
      : 'drover node token, and have a host with LXC join';
    return obstructs('nodes', now, `no node offers ${to}`, advice);
  }
  const { cluster, ...rest } = spec;
  const asked = { ...rest, image: '', runtime: to, ...(isOfCluster(to) && cluster && { cluster }) };
  const demand = demandOf(
    { workload, spec: asked, placement: spec.placement },
    undefined,
    networks.map((network) => network.spec.bridge),
  );
  const decision = schedule(demand, all);
  const fits = decision.explain().filter((verdict) => verdict.fits);
  if (fits.length > 0) return changes('nodes', now, namesOf(fits.map(({ node }) => node)));
  const advice = 'see the other rows; what they leave over is room, labels or a node that is not ready';
  return obstructs('nodes', now, decision.summary(), advice);
}
