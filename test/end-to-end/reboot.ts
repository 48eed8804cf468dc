import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { FleetHost } from '../../scripts/fleet.ts';
import { guestGroups, linksOf, monitorsOf, mountsUnder, removeGroup } from '../../scripts/sweep.ts';

/**
 * What is left of a host when its power comes back: its disk, its pools, and nothing else. Processes, cgroups,
 * mounts, interfaces, rules and /run are gone, and it is another boot. The agent must have been ended before,
 * and is not started.
 */
export async function reboot({ host, stateDir, agent }: FleetHost): Promise<void> {
  if (agent !== undefined) throw new Error('an agent still runs');
  for (const group of guestGroups(stateDir)) removeGroup(group);
  for (const pid of monitorsOf(stateDir)) killOrGone(pid);
  await host.zfs?.kill();
  const inside = ['-t', `${host.pid}`, '-m', '-n', '--'];
  for (const target of mountsUnder(stateDir, host.pid))
    execFileSync('nsenter', [...inside, 'umount', '-l', target]);
  for (const link of linksOf(host.pid)) {
    const name = link.slice('interface '.length);
    // The other end of a pair goes with the first.
    if (linksOf(host.pid).includes(link)) execFileSync('nsenter', [...inside, 'ip', 'link', 'delete', name]);
  }
  execFileSync('nsenter', [...inside, 'nft', 'flush', 'ruleset']);
  const run = path.join(host.folder, 'run');
  for (const name of readdirSync(run)) rmSync(path.join(run, name), { recursive: true, force: true });
  host.renewBootId();
  await host.zfs?.start();
}

function killOrGone(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {}
}

/** In ticks since the machine began: who has less was there before. */
export const startTime = (pid: number): number =>
  Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[19] ?? 0);
