/** What others have on a host beside Drover, and what must look the same whatever Drover does. */
import { mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import path from 'node:path';
import type { FleetHost } from '../../scripts/fleet.ts';
import { inNetwork } from './host-traces.ts';
import { isAlive, readText } from './guests.ts';

export interface Canaries {
  /** After a reboot their owner makes those again that do not outlive one. */
  plantAgain(): void;
  /** Text that stays the same as long as nobody touched any. */
  look(): Promise<string>;
  remove(): void;
}

const bridge = 'br-foreign';
const dataset = 'tank/foreign';
/** Among our own, too: below what is ours not everything is. */
const guest = 'tank/drover/data/foreign';

export async function plantCanaries({ host, stateDir }: FleetHost): Promise<Canaries> {
  const { zfs, pid } = host;
  const incarnation = readText(path.join(stateDir, 'incarnation')).trim().slice(0, 8);
  const group = path.join('/sys/fs/cgroup/pids', `drover-${incarnation}-foreign`);
  mkdirSync(group);
  const sleeper = spawn('sleep', ['3600'], { stdio: 'ignore', detached: true });
  writeFileSync(path.join(group, 'cgroup.procs'), `${sleeper.pid}`);
  await zfs?.ask('zfs', 'create', '-o', 'org.example:whose=somebody', dataset);
  await zfs?.ask('zfs', 'snapshot', `${dataset}@kept`);
  await zfs?.ask('zfs', 'hold', 'somebody', `${dataset}@kept`);
  await zfs?.ask('zfs', 'create', guest);
  plantNetwork(pid);
  const listed = async (): Promise<string | undefined> =>
    zfs?.ask('zfs', 'list', '-H', '-r', '-t', 'all', '-o', 'name,userrefs', dataset, guest);
  return {
    plantAgain: () => plantNetwork(pid),
    look: async () =>
      [
        await listed(),
        isAlive(sleeper.pid ?? 0) && readText(path.join(group, 'cgroup.procs')).trim() === `${sleeper.pid}`,
        inNetwork(pid, 'ip', '-br', 'addr', 'show', 'dev', bridge).replaceAll(/\s+/g, ' '),
        inNetwork(pid, 'nft', 'list', 'table', 'inet', 'foreign'),
      ].join('\n'),
    remove() {
      sleeper.kill('SIGKILL');
      removeWhenEmpty(group);
      inNetwork(pid, 'ip', 'link', 'delete', bridge);
      inNetwork(pid, 'nft', 'delete', 'table', 'inet', 'foreign');
    },
  };
}

function plantNetwork(pid: number): void {
  inNetwork(pid, 'ip', 'link', 'add', bridge, 'type', 'bridge');
  inNetwork(pid, 'ip', 'addr', 'add', '10.99.0.1/24', 'dev', bridge);
  inNetwork(pid, 'nft', 'add table inet foreign');
  inNetwork(pid, 'nft', 'add chain inet foreign input { type filter hook input priority 0; }');
  inNetwork(pid, 'nft', 'add rule inet foreign input tcp dport 9 drop');
}

function removeWhenEmpty(group: string): void {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    try {
      return rmdirSync(group);
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}
