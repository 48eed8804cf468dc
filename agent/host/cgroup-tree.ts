import { closeSync, constants, opendirSync, openSync, rmdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { childrenOf } from './cgroup-files.ts';

/** The kernel takes no path above 4096, and a guest may make groups in its own as deep as it likes. */
const longestPlace = 2000;
/** Removing holds up everything else, and a guest may make as many groups in its own as it likes. */
const mostAtOnce = 2000;

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

interface Walk {
  readonly before?: Visit;
  readonly after?: Visit;
  /** Of a place. Undefined: it ends here. */
  childrenOf(place: string): string[] | undefined;
}

/**
 * The group and all groups in it, the outer ones first. One that goes meanwhile is left out. False: there are
 * more than `most`, and some of them were visited.
 */
export function visitGroups(top: string, visit: Visit, most = Infinity): boolean {
  let known = 1;
  return walk(top, {
    before: visit,
    childrenOf(place) {
      // One link for each, and two of its own.
      const count = (statSync(place, { throwIfNoEntry: false })?.nlink ?? 2) - 2;
      if (known + count > most) return undefined;
      const children = childrenOf(place);
      known += children.length;
      return known > most ? undefined : children;
    },
  });
}

/**
 * Removes what is empty, of thousands a part. 'gone': nothing is left. 'more': it is to be called again. Else
 * the last reason why something stays.
 */
export function removeGroups(top: string): string {
  let reason = 'gone';
  let removed = 0;
  const isWhole = walk(top, {
    childrenOf: (place) => (removed < mostAtOnce ? someChildrenOf(place) : undefined),
    after(entry) {
      try {
        rmdirSync(entry);
        removed += 1;
      } catch (error) {
        const { code = '' } = error as NodeJS.ErrnoException;
        reason = code === 'ENOENT' ? reason : code;
      }
    },
  });
  return !isWhole || (removed >= mostAtOnce && reason !== 'gone') ? 'more' : reason;
}

function someChildrenOf(place: string): string[] {
  if (statSync(place, { throwIfNoEntry: false })?.nlink === 2) return [];
  const found: string[] = [];
  try {
    using directory = opendirSync(place);
    for (let entry = directory.readSync(); entry !== null; entry = directory.readSync()) {
      if (entry.isDirectory() && found.push(entry.name) === mostAtOnce) break;
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return found;
}

/** Without recursion: deep is deep. False: it was ended. */
function walk(top: string, visits: Walk): boolean {
  const trail: Step[] = [];
  const enter = (entry: string): boolean => {
    const step = open(entry, visits);
    if (step === undefined) return true;
    if (step === 'ended') return false;
    trail.push(step);
    visits.before?.(step.place);
    return true;
  };
  try {
    if (!enter(top)) return false;
    for (let step = trail.at(-1); step !== undefined; step = trail.at(-1)) {
      const child = step.children.pop();
      if (child === undefined) {
        trail.pop();
        close(step.descriptor);
        visits.after?.(step.entry);
      } else if (!enter(path.join(step.place, child))) return false;
    }
    return true;
  } finally {
    for (const step of trail) close(step.descriptor);
  }
}

function open(entry: string, visits: Walk): Step | 'ended' | undefined {
  const descriptor = entry.length <= longestPlace ? undefined : openDirectory(entry);
  if (descriptor === 'gone') return undefined;
  const place = descriptor === undefined ? entry : `/proc/self/fd/${descriptor}`;
  const children = visits.childrenOf(place);
  if (children !== undefined) return { entry, place, descriptor, children };
  close(descriptor);
  return 'ended';
}

function openDirectory(entry: string): number | 'gone' {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  try {
    return openSync(entry, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) return 'gone';
    throw error;
  }
}

function close(descriptor: number | undefined): void {
  if (descriptor !== undefined) closeSync(descriptor);
}
