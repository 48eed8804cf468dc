import type { WorkloadSpec } from '#shared/model.ts';
import { formatCpu, formatDuration, formatMib } from '#shared/units.ts';
import {
  carries,
  changes,
  type Finding,
  isOfCluster,
  namesOf,
  obstructs,
  type PortabilityInput,
  targetsOf,
  when,
} from './portability-finding.ts';

/** What runs, how it is limited, and how it starts and ends. */
export const programFindings = (input: PortabilityInput): Finding[] => [
  hostName(input),
  ...program(input),
  ...user(input),
  ...files(input),
  ...limits(input),
  ...restart(input),
  ...ending(input),
  access(input),
];

function hostName({ instances }: PortabilityInput): Finding {
  const names = instances.map(({ spec }) => spec.displayName);
  return carries('host name', namesOf(names) || 'as its copies are called');
}

/** From 9.1 on a container's first program and its environment can be set. */
export function setsProgram({ to, versions, ...rest }: PortabilityInput): boolean {
  if (!isOfCluster(to)) return true;
  return targetsOf({ to, ...rest }).some(({ name }) => {
    const [major = 0, minor = 0] = (versions.get(name) ?? '').split('.').map(Number);
    return major > 9 || (major === 9 && minor >= 1);
  });
}

/** Root file systems are named by a scheme; all else is an image with a command of its own. */
const hasOwnCommand = ({ image }: WorkloadSpec): boolean => !/^(lxc|tar|https|proxmox):/.test(image);

function program(input: PortabilityInput): Finding[] {
  const { spec, to } = input;
  const words = spec.command.join(' ');
  const env = Object.keys(spec.env);
  const canSet = setsProgram(input);
  const subject = 'command and environment';
  const older = 'its nodes run 8.x or 9.0, where a container starts /sbin/init';
  const spaced = spec.command.some((word) => /[\s\0"'\\]/.test(word));
  return [
    ...when(words !== '' && canSet && !(isOfCluster(to) && spaced), () => carries(subject, words)),
    ...when(words !== '' && canSet && isOfCluster(to) && spaced, () =>
      obstructs(subject, words, 'words with spaces or quotes cannot be said there', 'put it into a script'),
    ),
    ...when(words !== '' && !canSet, () =>
      obstructs(subject, words, older, 'have an init in its root start it, and take command out'),
    ),
    ...when(env.length > 0 && canSet, () => carries(subject, `env ${namesOf(env)}`)),
    ...when(env.length > 0 && !canSet, () =>
      obstructs(subject, `env ${namesOf(env)}`, older, 'write it to a file in its root, and take env out'),
    ),
    ...when(words === '' && hasOwnCommand(spec) && isOfCluster(to), () =>
      obstructs(
        subject,
        'those of its image',
        canSet ? 'the cluster does not know them' : older,
        canSet ? 'say them in command and env' : 'have an init in its root',
      ),
    ),
    ...when(words === '' && !hasOwnCommand(spec), () => carries(subject, '/sbin/init')),
  ];
}

function user({ spec, to }: PortabilityInput): Finding[] {
  const said = [
    ...(spec.user === '' ? [] : [`user ${spec.user}`]),
    ...(spec.workingDir === '' ? [] : [`workingDir ${spec.workingDir}`]),
  ].join(', ');
  if (said === '') return [];
  return isOfCluster(to)
    ? [obstructs('user', said, 'its init starts as root, in /', 'take them out')]
    : [carries('user', said)];
}

function files({ to }: PortabilityInput): Finding[] {
  if (!isOfCluster(to))
    return [
      changes(
        'files inside',
        'the cluster writes its host name, interfaces and name servers',
        'what it wrote stays, and the same is set from outside',
      ),
    ];
  return [
    changes(
      'files inside',
      'host name, interfaces and name servers are set from outside',
      'the cluster writes them into its files at each start, and new SSH host keys once',
      'its distribution must be one that the cluster knows; tell those who know its SSH host keys',
    ),
  ];
}

function limits({ spec, to }: PortabilityInput): Finding[] {
  const { cpuMillicores, memoryMib, pids } = spec.resources;
  const cpu = `${formatCpu(cpuMillicores)} CPU`;
  const cores = Math.ceil(cpuMillicores / 1000);
  const toCluster = isOfCluster(to);
  return [
    ...when(cpuMillicores > 0, () =>
      toCluster ? carries('limits', cpu, `${cpu}, of ${cores} that it sees`) : carries('limits', cpu),
    ),
    ...when(memoryMib > 0, () => carries('limits', `${formatMib(memoryMib)} of memory, no swap`)),
    ...when(memoryMib === 0 && toCluster, () =>
      changes('limits', 'no limit of memory', '512MiB', 'set resources.memory to what it needs'),
    ),
    toCluster
      ? changes('limits', `${pids} processes`, 'no limit of processes')
      : changes('limits', 'no limit of processes', `${pids} processes`),
  ];
}

function restart({ spec, to }: PortabilityInput): Finding[] {
  const { policy } = spec.restart;
  if (policy === 'never') return [carries('restart', 'never')];
  const byAgent = `${policy}, by its agent, also while the control plane is away`;
  const byPlane = `${policy}, by the control plane, after 10s and then ever later; by HA where that has it`;
  const advice = 'exit codes are not told: every end counts as a failure';
  if (!isOfCluster(to)) return [changes('restart', byPlane, byAgent)];
  return [changes('restart', byAgent, byPlane, policy === 'on-failure' ? advice : '')];
}

const ending = ({ spec }: PortabilityInput): Finding[] => [
  carries('stop', `asked to end, and killed after ${formatDuration(spec.stopGraceMs)}`),
  ...when(spec.startOrder > 0, () => carries('start order', `${spec.startOrder}`)),
];

function access({ to }: PortabilityInput): Finding {
  const all = 'exec, logs, console, kill and pause';
  const some = 'the console; kill with TERM, KILL and INT';
  return isOfCluster(to) ? changes('access', all, some, 'log in by SSH') : changes('access', some, all);
}
