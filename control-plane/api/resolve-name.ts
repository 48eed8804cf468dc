import { closest, distance } from 'fastest-levenshtein';
import { DroverError } from '#shared/errors.ts';
import type { Instance, Network, Operation, Workload } from '#shared/model.ts';
import { checkProject, parseOne, show } from '#shared/wire/checks.ts';
import type { Snapshot } from '../store/store.ts';

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
  const names = snapshot.list('instance', project).map(({ metadata }) => metadata.name);
  throw notFound('instance', idOrName, names);
}

/** One instance, or all of a workload, by what people call it. not-found, with the nearest name there is. */
export function findTargets(snapshot: Snapshot, target: string, project: string): readonly Instance[] {
  const instance = snapshot.get('instance', target, project) ?? snapshot.named('instance', target, project);
  if (instance !== undefined) return [instance];
  if (snapshot.named('workload', target, project) !== undefined)
    return snapshot.instancesOfWorkload(target, project);
  throw notFound('instance or workload', target, [
    ...snapshot.list('instance', project).map(({ metadata }) => metadata.name),
    ...snapshot.list('workload', project).map(({ metadata }) => metadata.name),
  ]);
}

/** not-found. */
export function findOperation(snapshot: Snapshot, id: string): Operation {
  const found = snapshot.get('operation', id);
  if (found === undefined) throw notFound('operation', id, []);
  return found;
}

/** What a name that nobody has gets: the nearest name, where one is near enough to be meant. */
export function notFound(kind: string, name: string, names: readonly string[]): DroverError {
  const nearest = nearestName(name, names);
  return new DroverError('not-found', `there is no ${kind} ${show(name)}`, {
    subject: { [kind]: name.slice(0, 80) },
    ...(nearest === undefined ? {} : { nextStep: `did you mean "${nearest}"?` }),
  });
}

function nearestName(name: string, names: readonly string[]): string | undefined {
  if (names.length === 0 || name.length > 80) return undefined;
  const nearest = closest(name, names);
  return distance(name, nearest) <= Math.max(2, Math.floor(name.length / 3)) ? nearest : undefined;
}
