import { DroverError } from '#shared/errors.ts';
import { knownRuntimes } from '../scheduler/check-routing.ts';
import { found, type Finding, isOfCluster, type PortabilityInput, targetsOf } from './portability-finding.ts';
import { networkFindings } from './portable-network.ts';
import { rightsFindings } from './portable-rights.ts';
import { storageFindings } from './portable-storage.ts';

/**
 * What would become of a workload under another runtime: what carries over, what changes, what stands in the
 * way; by subject. Pure. invalid-argument: there is no such runtime, or it has it already; unimplemented:
 * nothing moves between these two.
 */
export function portability(input: PortabilityInput): Finding[] {
  checkPair(input);
  return [
    ...placeFindings(input),
    ...rightsFindings(input),
    ...storageFindings(input),
    ...networkFindings(input),
    ...programFindings(input),
  ];
}

function checkPair({ from, to }: PortabilityInput): void {
  const subject = { field: 'runtime' };
  if (!(knownRuntimes as readonly string[]).includes(to))
    throw new DroverError(
      'invalid-argument',
      `there is no runtime "${to}"; wanted ${knownRuntimes.join(', ')}`,
      {
        subject,
      },
    );
  if (from === to) throw new DroverError('invalid-argument', `its runtime is ${to} already`, { subject });
  const pair = [from, to].toSorted().join(' ');
  if (pair === 'lxc proxmox-lxc') return;
  throw new DroverError('unimplemented', `nothing moves between ${from} and ${to}`, {
    subject,
    nextStep: 'apply the workload under another name with the other runtime, and copy its data yourself',
  });
}

function placeFindings(input: PortabilityInput): Finding[] {
  const { to, spec } = input;
  const targets = targetsOf(input);
  if (targets.length === 0) return found('nodes', 'stands in the way', `no node offers ${to}`);
  const names = targets.slice(0, 3).map(({ name }) => name);
  const more = targets.length > names.length ? ', …' : '';
  return [
    ...found('nodes', 'changes', `it would go to one of ${names.join(', ')}${more}`),
    ...found(
      'placement',
      'changes',
      `it asks for ${spec.placement.require.join('; ')}: see whether those nodes have such labels`,
      spec.placement.require.length > 0,
    ),
  ];
}

function programFindings({ spec, to, instances }: PortabilityInput): Finding[] {
  const toCluster = isOfCluster(to);
  const names = instances.map(({ metadata }) => metadata.name).join(', ');
  const isProgram = spec.command.length > 0 || Object.keys(spec.env).length > 0;
  return [
    ...found(
      'hostname',
      'changes',
      `a moved copy is another instance: ${names} would have another name`,
      names,
    ),
    ...found(
      'program',
      toCluster ? 'stands in the way' : 'carries over',
      toCluster
        ? 'command and env: a container of a cluster starts the init of its root; from 9.1 on they can be set'
        : 'command and env',
      isProgram,
    ),
    ...found(
      'program',
      'stands in the way',
      'user and workingDir: a container of a cluster starts its init as root in /',
      toCluster && (spec.user !== '' || spec.workingDir !== ''),
    ),
    ...found(
      'restart',
      'changes',
      'a cluster tells no exit codes: "on-failure" starts it again after every end',
      toCluster && spec.restart.policy === 'on-failure',
    ),
    ...found(
      'access',
      'changes',
      toCluster
        ? 'no exec, no logs, no console within Drover: drover console --url tells where its console is'
        : 'exec, logs and console work within Drover',
    ),
  ];
}
