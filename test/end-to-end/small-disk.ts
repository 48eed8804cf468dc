/** Gives a fleet's control plane a disk so small that it can be filled. */
import { execFileSync } from 'node:child_process';
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Fleet } from '../../scripts/fleet.ts';
import { systemRandom } from '#shared/random.ts';
import { until } from '../until.ts';
import { nodesReady, specText } from './drive.ts';

export interface SmallDisk extends AsyncDisposable {
  /** Until not one byte more goes in. */
  fill(): void;
  makeRoom(): void;
}

export async function moveToSmallDisk(fleet: Fleet): Promise<SmallDisk> {
  const stateDir = path.join(fleet.folder, 'control-plane');
  const filler = path.join(stateDir, 'filler');
  await change(fleet, stateDir, ['mount', '-t', 'tmpfs', '-o', 'size=8M', 'drover', stateDir]);
  return {
    fill: () => fill(filler),
    makeRoom: () => rmSync(filler, { force: true }),
    async [Symbol.asyncDispose]() {
      rmSync(filler, { force: true });
      await change(fleet, stateDir, ['umount', stateDir]);
    },
  };
}

/** Changes what lies below the directory while nobody uses it, and keeps the content. */
async function change(
  fleet: Fleet,
  stateDir: string,
  [tool = '', ...args]: readonly string[],
): Promise<void> {
  await fleet.stopControlPlane();
  const kept = `${stateDir}.kept`;
  const filter = (file: string): boolean => path.basename(file) !== 'sessions';
  cpSync(stateDir, kept, { recursive: true, filter });
  execFileSync(tool, args);
  cpSync(kept, stateDir, { recursive: true });
  rmSync(kept, { recursive: true });
  await fleet.startControlPlane();
  await nodesReady(fleet, fleet.hosts.length);
}

function fill(file: string): void {
  for (const size of [65_536, 4096, 1]) {
    try {
      for (;;) writeFileSync(file, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
}

/**
 * Workloads of no replicas, one after another, until one does not fit; the answer is what the command line
 * said then, as JSON.
 */
export const applyUntilRefused = (fleet: Fleet, image: string): Promise<string> =>
  until(
    async () => {
      const name = `full-${systemRandom.uuidV4().slice(0, 8)}`;
      const input = specText(name, image, { replicas: 0, env: { NAME: 'x'.repeat(20_000) } });
      const applied = await fleet.drover(['apply', '-f', '-', '--detach', '-o', 'json'], { input });
      return applied.code === 0 ? undefined : applied.stderr;
    },
    { what: 'the disk to be full', deadlineMs: 30_000 },
  );
