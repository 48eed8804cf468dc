import { closeSync, constants, openSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { childrenOf } from './cgroup-files.ts';

/** The kernel takes no path above 4096, and a guest may make groups in its own as deep as it likes. */
const longestPlace = 2000;

/** Is given a path that is good during the call alone. */
type Visit = (place: string) => void;

interface Step {
  readonly place: string;
  /** From the group that it is in: what can be removed. */
  readonly entry: string;
  /** Holds the place where its whole path would be too long. */
  readonly descriptor: number | undefined;
  readonly children: string[];
}

/** The group and all groups in it, the outer ones first. One that goes meanwhile is left out. */
export const visitGroups = (top: string, visit: Visit): void => walk(top, { before: visit });

/** Removes all of it that is empty. Whether nothing is left; else the last reason why not. */
export function removeGroups(top: string): 'gone' | string {
  let reason = 'gone';
  walk(top, {
    after(entry) {
      try {
        rmdirSync(entry);
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException;
        reason = code === 'ENOENT' ? reason : code;
      }
    },
  });
  return reason;
}

/** Without recursion, for the same reason. */
function walk(top: string, visits: { readonly before?: Visit; readonly after?: Visit }): void {
  const trail: Step[] = [];
  const enter = (entry: string): void => {
    const step = open(entry);
    if (step === undefined) return;
    trail.push(step);
    visits.before?.(step.place);
  };
  try {
    enter(top);
    for (let step = trail.at(-1); step !== undefined; step = trail.at(-1)) {
      const child = step.children.pop();
      if (child !== undefined) enter(path.join(step.place, child));
      else {
        trail.pop();
        close(step);
        visits.after?.(step.entry);
      }
    }
  } finally {
    for (const step of trail) close(step);
  }
}

function open(entry: string): Step | undefined {
  if (entry.length <= longestPlace)
    return { entry, place: entry, descriptor: undefined, children: childrenOf(entry) };
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  let descriptor: number;
  try {
    descriptor = openSync(entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
  const place = `/proc/self/fd/${descriptor}`;
  return { entry, place, descriptor, children: childrenOf(place) };
}

function close({ descriptor }: Step): void {
  if (descriptor !== undefined) closeSync(descriptor);
}
