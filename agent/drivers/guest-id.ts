import { DroverError } from '#shared/errors.ts';

/**
 * The last check before an id becomes a path, a cgroup or an argument: crun deletes the parent of its state
 * directory for an id of "..", so nothing may come this far by another way.
 */
export function checkGuestId(id: string): void {
  if (!/^[a-z0-9][a-z0-9-]{0,40}$/.test(id)) {
    const wanted = 'wanted 1 to 41 of a-z, 0-9 and "-", not beginning with "-"';
    throw new DroverError('invalid-argument', `${JSON.stringify(id)} is no id of an instance; ${wanted}`);
  }
}
