import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { readText } from './cgroup-files.ts';
import { visitGroups } from './cgroup-tree.ts';

/** Above this it costs less to ask every process of the host where it is. No honest guest has so many. */
const mostGroups = 1000;

/** What lives in a group and in those in it. `place` is the group as processes call it: "/drover-1a2b/ID". */
export function processesBelow(group: string, place: string): number[] {
  if (!existsSync(group)) return [];
  const pids: number[] = [];
  const isWhole = visitGroups(
    group,
    (each) => {
      const lines = (readText(path.join(each, 'cgroup.procs')) ?? '').split('\n');
      for (const line of lines) if (line !== '') pids.push(Number(line));
    },
    mostGroups,
  );
  return isWhole ? pids : processesWithin(place);
}

function processesWithin(place: string): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => isWithin(pid, place) && !isEnded(pid)).map(Number);
}

/** "4:memory:/a/b"; a path that is too long is cut off behind. */
const isWithin = (pid: string, place: string): boolean =>
  readOf(pid, 'cgroup')
    .split('\n')
    .map((line) => line.split(':').slice(2).join(':'))
    .some((found) => found === place || found.startsWith(`${place}/`));

const isEnded = (pid: string): boolean => /^\d+ \(.*\) [ZX]/s.test(readOf(pid, 'stat'));

/** Empty for one that has gone. */
function readOf(pid: string, file: string): string {
  try {
    return readText(`/proc/${pid}/${file}`) ?? '';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return '';
    throw error;
  }
}
