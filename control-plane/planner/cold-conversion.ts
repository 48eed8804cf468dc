import { formatDuration } from '#shared/units.ts';
import { isOfCluster, namesOf, type PortabilityInput } from './portability-finding.ts';

/** One step of turning the copies of a workload into guests of another runtime, one copy after the other. */
export interface ConversionStep {
  /** "stop". */
  readonly name: string;
  /** What is done, for people. */
  readonly does: string;
  /** What is lost by it, or out of reach from here on. Empty: nothing. */
  readonly lost: string;
}

/**
 * How a conversion would go that keeps the old copy until the new one is ready. Nothing runs twice: what is
 * moved is stopped first. Pure.
 */
export function conversionSteps(input: PortabilityInput): ConversionStep[] {
  const { spec, to, from } = input;
  const toCluster = isOfCluster(to);
  const data = spec.volumes.length === 0 ? 'its root' : 'its root and its data volumes';
  const kept = spec.volumes.filter(({ keep }) => keep).map(({ name }) => name);
  return [
    {
      name: 'stop',
      does: `ask its init to end, and kill what is left after ${formatDuration(spec.stopGraceMs)}`,
      lost: 'processes and memory; it is out of service from here until the new one is ready',
    },
    { name: 'snapshot', does: `take a snapshot of ${data}, to go back to`, lost: '' },
    stream(input, data),
    {
      name: 'create',
      does: toCluster
        ? 'make the container from it under a number of its own, with the addresses that it has'
        : 'make the guest from it, with the addresses that it has',
      lost: toCluster ? 'SSH host keys; ids above 65535' : 'ids above 65535',
    },
    {
      name: 'start',
      does: `start it, and wait until it has run for ${formatDuration(spec.update.readyAfterMs)}`,
      lost: '',
    },
    {
      name: 'keep the old copy',
      does: `leave it stopped under ${from} until a person says that the new one is good; else go back to it`,
      lost: 'nothing yet; what the new one writes is not in the old one',
    },
    {
      name: 'remove the old copy',
      does: 'remove it, and what was copied for the way',
      lost: `its snapshots${kept.length === 0 ? '' : `; the volumes ${namesOf(kept)} stay as they were`}`,
    },
  ];
}

/** A cluster's API takes files of a container in, and hands none out. */
function stream({ to }: PortabilityInput, data: string): ConversionStep {
  const lost = 'device files and sockets; the snapshots that it has';
  if (isOfCluster(to))
    return {
      name: 'stream',
      does: `stream ${data} as a tarball, with owners as they are inside, to a storage for templates`,
      lost,
    };
  return {
    name: 'stream',
    does:
      `have the cluster back ${data} up (vzdump, as a tarball) to a storage that the node can read, ` +
      'and shift owners to its range while unpacking it',
    lost,
  };
}
