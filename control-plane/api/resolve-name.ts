import { closest, distance } from 'fastest-levenshtein';
import { DroverError } from '#shared/errors.ts';
import type { Instance, Network, Operation, Workload } from '#shared/model.ts';
import { checkProject, parseOne, show } from '#shared/wire/checks.ts';
import type { Snapshot } from '../store/store.ts';

const mostNames = 5;
/** What tells the names that there are. */
const listedBy: Readonly<Record<string, string>> = {
  workload: 'drover get workloads',
  network: 'drover get networks',
  instance: 'drover get instances',
  'instance or workload': 'drover get instances',
  operation: 'drover get operations',
  volume: 'drover get volumes',
  cluster: 'drover cluster list',
};

/** The project of a request. invalid-argument. */
export const parseProject = (project: string): string =>
  parseOne('request', (faults) => checkProject(project, 'project', faults));

/** not-found, with the nearest name there is. */
export function findWorkload(snapshot: Snapshot, name: string, project: string): Workload {
  const found = snapshot.named('workload', name, project);
  if (found !== undefined) return found;
  const names = snapshot.list('workload', project).map(({ metadata }) => metadata.name);
  throw notFound('workload', name, names);
}

/** not-found, with the nearest name there is. */
export function findNetwork(snapshot: Snapshot, name: string, project: string): Network {
  const found = snapshot.named('network', name, project);
  if (found !== undefined) return found;
  const names = snapshot.list('network', project).map(({ metadata }) => metadata.name);
  throw notFound('network', name, names);
}

/** By full id, or by what people call it. not-found, with the nearest name there is. */
export function findInstance(snapshot: Snapshot, idOrName: string, project: string): Instance {
  const found = snapshot.get('instance', idOrName, project) ?? snapshot.named('instance', idOrName, project);
  if (found !== undefined) return found;
  const own = instanceNamesOf(snapshot, idOrName, project);
  if (own.length > 0)
    throw new DroverError('not-found', `${show(idOrName)} is a workload, where an instance was wanted`, {
      subject: { instance: idOrName },
      nextStep: `name one of its instances: ${own.join(', ')}`,
    });
  const names = snapshot.list('instance', project).map(({ metadata }) => metadata.name);
  throw notFound('instance', idOrName, names);
}

/** Some of those of a workload; none where there is no such workload. */
function instanceNamesOf(snapshot: Snapshot, workload: string, project: string): readonly string[] {
  if (snapshot.named('workload', workload, project) === undefined) return [];
  const instances = snapshot.instancesOfWorkload(workload, project);
  return instances.slice(0, mostNames).map(({ metadata }) => metadata.name);
}

/** One instance, or all of a workload, by what people call it. not-found, with the nearest name there is. */
export function findTargets(snapshot: Snapshot, target: string, project: string): readonly Instance[] {
  const instance = snapshot.get('instance', target, project) ?? snapshot.named('instance', target, project);
  if (instance !== undefined) return [instance];
  if (snapshot.named('workload', target, project) !== undefined)
    return snapshot.instancesOfWorkload(target, project);
  throw noSuchTarget(snapshot, target, project);
}

/** not-found, with the nearest name there is. */
export const noSuchTarget = (snapshot: Snapshot, target: string, project: string): DroverError =>
  notFound('instance or workload', target, [
    ...snapshot.list('instance', project).map(({ metadata }) => metadata.name),
    ...snapshot.list('workload', project).map(({ metadata }) => metadata.name),
  ]);

/** not-found. */
export function findOperation(snapshot: Snapshot, id: string): Operation {
  const found = snapshot.get('operation', id);
  if (found === undefined) throw notFound('operation', id, []);
  return found;
}

/** What a name that nobody has gets: the nearest name, where one is near enough to be meant, or the list. */
export function notFound(kind: string, name: string, names: readonly string[]): DroverError {
  const nearest = nearestName(name, names);
  const list = listedBy[kind];
  const nextStep = nearest === undefined ? list && `see \`${list}\`` : `did you mean "${nearest}"?`;
  return new DroverError('not-found', `there is no ${kind} ${show(name)}`, {
    subject: { [kind]: name.slice(0, 80) },
    ...(nextStep !== undefined && { nextStep }),
  });
}

function nearestName(name: string, names: readonly string[]): string | undefined {
  if (names.length === 0 || name.length > 80) return undefined;
  const nearest = closest(name, names);
  return distance(name, nearest) <= Math.max(2, Math.floor(name.length / 3)) ? nearest : undefined;
}
